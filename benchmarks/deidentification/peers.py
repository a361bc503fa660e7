"""The project and the tools beside it. Each runs in a process of its own with bounded time, on the same files.

What a tool crashes on, or has not done when its time is over, counts as withheld, with the class of the error.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.deidentification.score import Output
from pacs_pipeline.deidentify import Deidentifier, Keys, load_profile
from pacs_pipeline.deidentify.burned_in import available
from pacs_pipeline.errors import SettingsError

TIME_LIMIT = 900.0
PROJECT = "project"
PROFILES = ("research", "basic-modified-dates")
"""The profile that is scored when none is named: the first of these that the project has."""
_ROOT = Path(__file__).resolve().parents[2]
_SECRET = b"a secret of the benchmark, which protects nobody"


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool by the name reports give it; ``missing`` says what it lacks here, or nothing."""

    name: str
    missing: Callable[[], str]
    version: Callable[[], str]


def _package(module: str, distribution: str) -> tuple[Callable[[], str], Callable[[], str]]:
    def missing() -> str:
        return "" if find_spec(module) else f"not installed (pip install {distribution})"

    def its_version() -> str:
        try:
            return version(distribution)
        except PackageNotFoundError:
            return ""

    return missing, its_version


def _no_gdcmanon() -> str:
    return "" if shutil.which("gdcmanon") else "not installed (apt-get install libgdcm-tools)"


def _gdcm_version() -> str:
    shown = subprocess.run(["gdcmanon", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return shown[2] if len(shown) > 2 else ""


PEERS = (
    Peer("deid", *_package("deid", "deid")),
    Peer("deid, our recipe", *_package("deid", "deid")),
    Peer("dicom-anonymizer", *_package("dicomanonymizer", "dicom-anonymizer")),
    Peer("dicognito", *_package("dicognito", "dicognito")),
    Peer("gdcmanon", _no_gdcmanon, _gdcm_version),
)


def default_profile() -> str:
    """The richest profile the project has."""
    for name in PROFILES:
        try:
            load_profile(name)
        except SettingsError:
            continue
        return name
    raise SettingsError("the project has none of the profiles that can be scored", fix="name one with --profile")


def run_project(profile: str, inputs: Mapping[str, Path], out: Path) -> dict[str, Output]:
    """The project through its public interface, in this process; pixels are cleaned where the extra is installed."""
    options = ("clean-pixel-data",) if available() else ()
    engine = Deidentifier(load_profile(profile, options=options), Keys.derive(_SECRET, "score"))
    outputs = {}
    for name, source in inputs.items():
        outcome = engine.deidentify(source, out)
        reason = "" if outcome.released else f"{outcome.reason}: {outcome.detail}"
        outputs[name] = Output(outcome.output, reason)
    return outputs


def run_peer(peer: Peer, profile: str, inputs: Mapping[str, Path], out: Path) -> dict[str, Output]:
    """A peer in a process of its own; the files it writes have neutral names, which we choose."""
    out.mkdir(parents=True, exist_ok=True)
    names = {str(number): name for number, name in enumerate(inputs)}
    out = out.resolve()
    jobs = [
        {"number": n, "source": str(inputs[name].resolve()), "target": str(out / f"{n}.dcm")}
        for n, name in names.items()
    ]
    job_file, done_file = out.parent / f"{out.name}.jobs.json", out.parent / f"{out.name}.done.jsonl"
    job_file.write_text(json.dumps(jobs))
    done_file.touch()
    command = [sys.executable, "-m", "benchmarks.deidentification.worker", peer.name, profile, job_file, done_file]
    ended = "the tool ended before this file"
    try:
        subprocess.run(
            command, cwd=_ROOT, timeout=TIME_LIMIT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        ended = "time limit"
    outputs = {name: Output(None, ended) for name in inputs}
    for line in done_file.read_text().splitlines():
        number, error = json.loads(line)
        target = out / f"{number}.dcm"
        reason = error or ("" if target.is_file() else "nothing written")
        outputs[names[number]] = Output(None if reason else target, reason)
    return outputs
