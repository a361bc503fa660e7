"""WADO-RS beside a plain streaming HTTP read of the same study, out of Orthanc, in turn in every round.

The plain read is what ``http.client`` takes to read the study to its end, asked for without compression: into nothing,
and into one file. Nothing is told apart, checked, digested or flushed there. The project's retriever brings the
study's series one after the other and does all of that for each instance.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from rich.console import Console

from benchmarks import servers
from benchmarks.harvest import sources
from benchmarks.harvest.project import series_of
from pacs_pipeline.demo.ct_set import WrittenSlice, ct_set
from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.pacs import DicomwebRetriever, Landing
from pacs_pipeline.pacs.dicomweb import Service
from pacs_pipeline.pacs.dicomweb.retriever import ACCEPT

SLICES, ROUNDS = 400, 5
SIDES = ("project", "plain_read", "plain_read_to_file")
_PIECE = 1 << 18


def retrieve(url: str, items: Sequence[WrittenSlice], into: Path) -> float:
    """Seconds the project takes to land all ``items`` below ``into``, durable and checked."""
    wanted = series_of(items)
    landed = 0
    start = time.perf_counter()
    with DicomwebRetriever(Service("bench", url)) as retriever:
        for series, refs in wanted.items():
            landing = Landing(series, {ref.SOPInstanceUID for ref in refs}, into / series.SeriesInstanceUID)
            landed += len(retriever.retrieve(landing, refs).landed)
    seconds = time.perf_counter() - start
    if landed != len(items):
        raise Transient(f"{landed} of {len(items)} instances landed", fix="run again")
    return seconds


def read(url: str, studies: Sequence[str], sink: BinaryIO | None = None) -> float:
    """Seconds a plain streaming read of whole studies takes, into nothing or into ``sink``."""
    address = urlsplit(url)
    received = 0
    start = time.perf_counter()
    for study in studies:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity"}
        connection.request("GET", f"{address.path}/studies/{study}", headers=headers)
        answer = connection.getresponse()
        while piece := answer.read(_PIECE):
            received += len(piece)
            if sink is not None:
                sink.write(piece)
        connection.close()
        if answer.status != 200 or not received:
            raise Transient(f"Orthanc answered with HTTP status {answer.status}", fix="run again")
    return time.perf_counter() - start


def measure(console: Console, *, slices: int = SLICES, rounds: int = ROUNDS, folder: Path | None = None) -> dict:  # type: ignore[type-arg]
    """Seconds by side, one for each round, and the ratios; see the module. ``folder`` says on which disk."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-wado-") as name:
        work = Path(name)
        items = list(ct_set(work / "files", slices))
        studies = list(dict.fromkeys(item.StudyInstanceUID for item in items))
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        ports = servers.free_ports(work, "dicom", "web")
        files = [item.path for item in items]
        with sources.orthanc(work, files, (ports["dicom"], ports["web"]), {}) as source:
            url = source.dicomweb
            if not url:
                raise Permanent("Orthanc has no DICOMweb plugin", fix="apt-get install orthanc-dicomweb, and run again")
            for number in range(rounds + 1):
                order = SIDES if number % 2 else SIDES[::-1]  # the first may find other caches than the last
                taken = {side: _turn(side, url, items, studies, work / "into") for side in order}
                if number:  # the first round warms up
                    for side, value in taken.items():
                        seconds[side].append(value)
                    console.print(f"round {number}: " + ", ".join(f"{s} {taken[s]:.2f} s" for s in SIDES))
    median = {side: statistics.median(values) for side, values in seconds.items()}
    ratios = {
        "wado_rs_vs_plain_http": median["plain_read"] / median["project"],
        "wado_rs_vs_plain_http_to_file": median["plain_read_to_file"] / median["project"],
    }
    return {"slices": slices, "bytes": sum(item.size for item in items), "seconds": seconds, "ratios": ratios}


def _turn(side: str, url: str, items: Sequence[WrittenSlice], studies: Sequence[str], into: Path) -> float:
    into.mkdir()
    os.sync()
    try:
        if side == "project":
            return retrieve(url, items, into)
        if side == "plain_read":
            return read(url, studies)
        with (into / "study").open("wb", buffering=0) as sink:
            return read(url, studies, sink)
    finally:
        shutil.rmtree(into)


def main() -> None:
    """Measure, print the medians and one RATIO line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--folder", type=Path, help="where files are written; /dev/shm leaves the disk out")
    options = parser.parse_args()
    console = Console(highlight=False)
    result = measure(console, slices=options.slices, rounds=options.rounds, folder=options.folder)
    for side, values in result["seconds"].items():
        console.print(f"{side}: {result['bytes'] / 1e6 / statistics.median(values):,.0f} MB/s")
    for name, ratio in result["ratios"].items():
        print(f"RATIO {name} {ratio:.2f}")


if __name__ == "__main__":
    main()
