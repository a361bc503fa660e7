"""``make bench-engine``: the engine beside pydicom, deid and gdcmanon on the same files, and its memory."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pydicom
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.deidentification.worker import certificate, deid_our_recipe
from benchmarks.engine import inputs
from benchmarks.engine.memory import memory
from benchmarks.engine.project import deidentify, engine
from pacs_pipeline.compute import Pool
from pacs_pipeline.deidentify import Deidentifier

SLICES, ROUNDS, OF_DEID = 400, 5, 20
GIGABYTES = 2.0
_RESULTS = Path(__file__).resolve().parents[1] / "results" / "engine.json"
console = Console(highlight=False)


def copy(files: Iterable[Path], out: Path) -> None:
    """Read and write, nothing else."""
    for number, file in enumerate(files):
        (out / f"{number}.dcm").write_bytes(file.read_bytes())


def with_pydicom(files: Iterable[Path], out: Path) -> None:
    """Read, edit a handful of attributes, save: what a script of five lines does, and far from a de-identification."""
    for number, file in enumerate(files):
        ds = pydicom.dcmread(file)
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = "ANONYMIZED", "1", ""
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.{number + 1}"
        ds.save_as(out / f"{number}.dcm")


def with_pydicom_to_the_end(files: Iterable[Path], out: Path) -> None:
    """Read, visit every element, save: a file whose elements nobody visits is copied by pydicom as it is."""
    for number, file in enumerate(files):
        ds = pydicom.dcmread(file)
        for element in ds.iterall():
            if element.VR == "PN":
                element.value = ""
        ds.save_as(out / f"{number}.dcm")


def with_deid(profile: str, files: Iterable[Path], out: Path) -> None:
    """deid executing the recipe files of the project, which hold the same table."""
    run = deid_our_recipe(profile)
    for number, file in enumerate(files):
        run(file, out / f"{number}.dcm")


def with_gdcmanon(certificate_file: Path, files: list[Path], out: Path) -> None:
    """One process for the whole folder; encrypts what it takes out."""
    command = ["gdcmanon", "-e", "-r", "-c", certificate_file, "-i", files[0].parents[2], "-o", out]
    subprocess.run(command, check=True, capture_output=True)


def seconds(run: Callable[[], None]) -> float:
    """Wall-clock time, after all that waits to be written was."""
    os.sync()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@contextmanager
def folder(parent: Path) -> Iterator[Path]:
    """An empty folder, deleted afterwards."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


def measured(work: Path, files: list[Path], run: Callable[[list[Path], Path], None]) -> float:
    """Milliseconds for a file."""
    with folder(work) as out:
        return 1000 * seconds(partial(run, files, out)) / len(files)


def speed(work: Path, profile: str, rounds: int, number: int) -> dict[str, float]:
    """Milliseconds per slice of each tool, the median of the rounds, in turn on the same files."""
    files = inputs.slices(work / "ct", number)
    tool = engine(profile)
    tools: dict[str, tuple[Callable[[list[Path], Path], None], list[Path]]] = {
        "copy": (copy, files),
        "pydicom": (with_pydicom, files),
        "engine": (partial(deidentify, tool), files),
        "deid": (partial(with_deid, profile), files[:OF_DEID]),
    }
    if shutil.which("gdcmanon"):
        nobody = work / "certificate.pem"
        nobody.write_bytes(certificate())
        tools["gdcmanon -e"] = (partial(with_gdcmanon, nobody), files)
    else:
        console.print("gdcmanon is not installed (apt-get install libgdcm-tools): left out")
    times: dict[str, list[float]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, (run, some) in tools.items():
            times[name].append(measured(work, some, run))
    return {name: statistics.median(taken) for name, taken in times.items()}


def many_elements(work: Path, profile: str, rounds: int) -> dict[str, float]:
    """Milliseconds for one multi-frame object with about 18,000 elements."""
    file = work / "multi-frame.dcm"
    elements = inputs.many_elements(file)
    taken: dict[str, list[float]] = {"pydicom": [], "engine": []}
    for _ in range(rounds):
        taken["pydicom"].append(measured(work, [file], with_pydicom_to_the_end))
        tool = engine(profile)  # a new one: it remembers nothing of this file
        taken["engine"].append(measured(work, [file], partial(deidentify, tool)))
    return {"elements": elements, **{name: statistics.median(times) for name, times in taken.items()}}


def cores(work: Path, profile: str, files: list[Path]) -> dict[str, float]:
    """Files in a second, with one worker and with one on each core."""
    tool = engine(profile)
    rates = {}
    for workers in (1, len(os.sched_getaffinity(0))):
        with folder(work) as out, Pool(workers, preload=("pacs_pipeline.deidentify",)) as pool:
            list(pool.imap(partial(tool.deidentify, out_dir=out), files[: 32 * workers]))  # the workers are there
            rates[str(workers)] = len(files) / seconds(partial(_in_pool, pool, tool, files, out))
    return rates


def _in_pool(pool: Pool, tool: Deidentifier, files: list[Path], out: Path) -> None:
    for _ in pool.imap(partial(tool.deidentify, out_dir=out), files):
        continue


def show(times: dict[str, float], frames: dict[str, float], rates: dict[str, float], peaks: dict[str, float]) -> None:
    """Tables for people, then the lines for scripts."""
    table = Table("525 KB CT", "ms a file", "engine / tool")
    for name, taken in times.items():
        table.add_row(name, f"{taken:.2f}", f"{times['engine'] / taken:.2f}")
    console.print(table)
    console.print(
        f"{frames['elements']:,.0f} elements: pydicom {frames['pydicom']:.0f} ms, engine {frames['engine']:.0f}"
    )
    console.print("files a second by workers: " + ", ".join(f"{n}: {rate:.0f}" for n, rate in rates.items()))
    console.print("peak memory: " + ", ".join(f"{what} {mib:.0f} MiB" for what, mib in peaks.items()))
    ratios = {
        "engine_vs_pydicom": times["engine"] / times["pydicom"],
        "deid_vs_engine": times["deid"] / times["engine"],
        "engine_vs_copy": times["engine"] / times["copy"],
        "many_elements_vs_pydicom": frames["engine"] / frames["pydicom"],
        "all_cores_vs_one": rates[max(rates, key=int)] / rates["1"],
        "memory_10k_vs_1k": peaks["10,000 files"] / peaks["1,000 files"],
        "large_object_mib": peaks["large"],
    }
    if "gdcmanon -e" in times:
        ratios["engine_vs_gdcmanon"] = times["engine"] / times["gdcmanon -e"]
    for name, ratio in ratios.items():
        print(f"RATIO {name} {ratio:.2f}")


def main() -> None:
    """Measure, show, and keep what a full run came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="research")
    parser.add_argument("--slices", type=int, default=SLICES, help=f"CT slices (default: {SLICES})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds (default: {ROUNDS})")
    parser.add_argument("--gigabytes", type=float, default=GIGABYTES, help="size of the large object")
    parser.add_argument("--folder", type=Path, help="where to work; needs about 5 GB")
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)  # deid warns of every field it does not know
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        work = Path(name)
        times = speed(work, chosen.profile, chosen.rounds, chosen.slices)
        frames = many_elements(work, chosen.profile, chosen.rounds)
        files = sorted((work / "ct").rglob("*.dcm"))
        rates = cores(work, chosen.profile, files)
        peaks = memory(work, chosen.profile, files, chosen.gigabytes)
    show(times, frames, rates, peaks)
    if (chosen.slices, chosen.rounds, chosen.gigabytes) == (SLICES, ROUNDS, GIGABYTES):
        result = {
            "machine": machine.describe(Path(tempfile.gettempdir())),
            "profile": chosen.profile,
            "milliseconds": times,
            "multi_frame": frames,
            "files_per_second": rates,
            "peak_mib": peaks,
        }
        _RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
