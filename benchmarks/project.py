"""The project's side: its whole chain on one partition, as a command of its own.

``python -m benchmarks.project CONFIG SITE DATE`` writes lines of JSON to its standard output: progress, then the
result. Modules of the project are imported inside functions: its worker processes import this module, too, and
should hold what they hold in production.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.machine import MemoryWatch, Peak

STAGES = {
    "census": "take_census",
    "harvest": "harvest",
    "deidentify": "deidentify",
    "validate": "validate",
    "publish": "publish",
    "reconcile": "reconcile",
}
"""The functions of a partition's way in ``pacs_pipeline.stages.chain``, in order."""

RECEIVER = "BENCH_OURS"
SITE = "bench"
_SECRET = "5f0c" * 16
_PROGRESS_SECONDS = 0.2
# settings of whoever measures are not those of the benchmark, and an installed program has its bytecode cached
_NOT_INHERITED = ("PACS_PIPELINE_", "PYTHONDONTWRITEBYTECODE")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the chain. ``seconds`` is from the start of the command to its end, ``stages`` adds up to less."""

    seconds: float
    stages: dict[str, float]
    memory: Peak | None


def write_configuration(
    folder: Path,
    *,
    protocol: str,
    date: dt.date,
    pacs: tuple[str, int],
    receiver_port: int,
    bucket: str,
    prefix: str,
    endpoint_url: str,
    key_files: tuple[Path, Path],
) -> Path:
    """A project of one site whose zones and warehouse lie in ``folder``; everything else is the default."""
    folder.mkdir(mode=0o700)
    (folder / "secret").write_text(_SECRET)
    (folder / "secret").chmod(0o600)
    site: dict[str, Any] = {
        "name": SITE,
        "timezone": "UTC",
        "start_date": date.isoformat(),
        "protocol": protocol,
        "pacs": {"ae_title": pacs[0], "host": "127.0.0.1", "port": pacs[1]},
    }
    if protocol == "c-move":
        site["receiver"] = {"ae_title": RECEIVER, "port": receiver_port, "bind": "127.0.0.1"}
    content = {
        "project": "benchmark",
        "secret_file": "secret",
        "sites": [site],
        "bucket": {
            "name": bucket,
            "prefix": prefix,
            "endpoint_url": endpoint_url,
            "access_key_file": str(key_files[0]),
            "secret_key_file": str(key_files[1]),
        },
        "zones": {"root": "zones"},
        "warehouse": {"path": "warehouse.duckdb"},
        "contracts": str(Path(__file__).resolve().parents[1] / "data_contracts"),
    }
    path = folder / "pacs_pipeline.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def measure(configuration: Path, date: dt.date, expected: int, progress: Progress, *, memory: bool = False) -> Measured:
    """Run the chain in a fresh process and check that it published all ``expected`` instances.

    ``memory`` samples the memory of its processes, which costs a little time. Raises Permanent when anything
    was not published: a chain that does less than its work is not measured.
    """
    from pacs_pipeline.errors import Permanent

    log = configuration.with_name("chain.log")
    command = [sys.executable, "-m", "benchmarks.project", str(configuration), SITE, date.isoformat()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    with log.open("wb") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            cwd=Path(__file__).resolve().parents[1],
            start_new_session=True,
        )
    watch = MemoryWatch(process.pid)
    try:
        with watch if memory else contextlib.nullcontext():
            result = _follow(process, progress)
            status = process.wait()
        seconds = time.perf_counter() - start
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if status or result is None or result["published"] != expected:
        outcome = "it ended early" if result is None else json.dumps(result)
        said = log.read_text(errors="replace").strip().splitlines()[-8:]
        raise Permanent(
            f"the chain did not publish {expected} instances: {outcome}",
            fix="look at what it said:\n" + "\n".join(said),
        )
    return Measured(seconds, result["stages"], watch.peak if memory else None)


def _follow(process: subprocess.Popen[bytes], progress: Progress) -> dict[str, Any] | None:
    result = None
    for line in process.stdout or ():
        said = json.loads(line)
        if isinstance(said, list):
            progress(*said)
        else:
            result = said
    return result


def main(configuration: str, site: str, date: str) -> None:
    """Run the chain on one partition, timing each stage, and say what came of it."""
    from pacs_pipeline.settings import load_settings
    from pacs_pipeline.stages import chain
    from pacs_pipeline.stages.project import Project

    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log

    def say(value: object) -> None:
        print(json.dumps(value), file=said, flush=True)

    seconds: dict[str, float] = {}
    for stage, name in STAGES.items():
        setattr(chain, name, _timed(getattr(chain, name), stage, seconds, say))
    (result,) = chain.run_chain(
        Project(load_settings(Path(configuration))),
        site,
        [dt.date.fromisoformat(date)],
        now=lambda: dt.datetime.now(dt.UTC),
        progress=lambda _: _seldom(say),
    )
    say(
        {
            "published": result.books.published if result.books is not None and result.green else 0,
            "books": str(result.books),
            "verdict": result.verdict.status.value if result.verdict else "none",
            "failing": [f"{c.contract}: {r.rule}" for c in result.verdict.results for r in c.failing[:3]]
            if result.verdict
            else [],
            "error": str(result.error or ""),
            "stages": seconds,
        }
    )


def _timed(
    function: Callable[..., Any], stage: str, seconds: dict[str, float], say: Callable[[object], None]
) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        say([stage, 0, 1])
        start = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start

    return timed


def _seldom(say: Callable[[object], None]) -> Progress:
    """Progress a few times a second: as often as anybody can see."""
    last = 0.0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_SECONDS:
            last = now
            say([what, done, total])

    return progress


if __name__ == "__main__":
    main(*sys.argv[1:])
