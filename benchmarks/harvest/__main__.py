"""``make bench-harvest``: instances out of dcmqrscp and Orthanc, by the project and by DCMTK in turn."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine, servers
from benchmarks.harvest import large, peers, project, sources
from benchmarks.harvest.sources import Source
from pacs_pipeline.demo.ct_set import WrittenSlice, ct_set
from pacs_pipeline.errors import PipelineError

INSTANCES, ROUNDS = 1_000, 5
GIGABYTES = 2.0
SOURCES = ("dcmqrscp", "orthanc")
_MEMORY = Path("/dev/shm")
_RESULTS = Path(__file__).resolve().parents[1] / "results" / "harvest.json"

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Contest:
    """One way out of an archive: the peer's and the project's, each given an empty folder; both return seconds.

    A line of the result is named ``<name>_vs_dcmtk_<source>``; the folders are emptied after each turn.
    """

    name: str
    peer: Callable[[Path], float]
    ours: Callable[[Path], float]


class Bench:
    """The folder and ports of a run."""

    def __init__(self, folder: Path, items: Sequence[WrittenSlice]) -> None:
        self.folder = folder
        self.items = items
        self.studies = list(dict.fromkeys(item.StudyInstanceUID for item in items))
        self.ports = servers.free_ports(folder, "dcmqrscp", "orthanc", "web", "dcmtk", "ours")
        self.destinations = {peers.AE_TITLE: self.ports["dcmtk"], project.AE_TITLE: self.ports["ours"]}

    @contextlib.contextmanager
    def source(self, name: str) -> Iterator[Source]:
        """One of the archives, filled."""
        files = [item.path for item in self.items]
        if name == "dcmqrscp":
            with sources.dcmqrscp(self.folder, files, self.ports["dcmqrscp"], self.destinations) as source:
                yield source
        else:
            ports = self.ports["orthanc"], self.ports["web"]
            with sources.orthanc(self.folder, files, ports, self.destinations) as source:
                yield source

    @contextlib.contextmanager
    def contests(self, source: Source) -> Iterator[list[Contest]]:
        """The contests that this archive can serve."""
        received = self.folder / "received"
        received.mkdir()
        n = len(self.items)

        def peer_move(_: Path) -> float:  # storescp runs all the time and has a folder of its own
            try:
                return peers.c_move(source, self.studies, received, n)
            finally:
                for file in received.iterdir():
                    file.unlink()

        with servers.storescp(self.folder, received, peers.AE_TITLE, self.ports["dcmtk"]):
            yield [
                Contest(
                    "c_move_receive",
                    peer_move,
                    lambda into: project.c_move(source, self.items, into, self.ports["ours"]),
                ),
                Contest(
                    "c_get",
                    lambda into: peers.c_get(source, self.studies, into, n),
                    lambda into: project.c_get(source, self.items, into),
                ),
            ]
        received.rmdir()

    def turn(self, take: Callable[[Path], float]) -> float:
        """One turn of one side."""
        into = self.folder / "into"
        into.mkdir()
        os.sync()
        try:
            return take(into)
        finally:
            shutil.rmtree(into)


def measure(bench: Bench, name: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by contest and side, one for each round, out of one archive."""
    seconds: dict[str, dict[str, list[float]]] = {}
    with bench.source(name) as source, bench.contests(source) as contests:
        for number in range(rounds + 1):
            for contest in contests:
                sides = seconds.setdefault(contest.name, {"peer": [], "ours": []})
                # who comes first alternates: the first may find other caches than the second
                order = ("peer", "ours") if number % 2 else ("ours", "peer")
                taken = {side: bench.turn(getattr(contest, side)) for side in order}
                if number:  # the first round warms up
                    for side, value in taken.items():
                        sides[side].append(value)
                    console.print(
                        f"{name} round {number}: {contest.name} "
                        f"DCMTK {taken['peer']:.2f} s, project {taken['ours']:.2f} s"
                    )
    return seconds


def table_of(results: dict[str, dict[str, dict[str, list[float]]]], items: Sequence[WrittenSlice]) -> Table:
    """The medians, as people read them."""
    size = sum(item.size for item in items) / 1e6
    table = Table("median of all rounds", title=f"{len(items):,} CT instances, {size:,.0f} MB", title_justify="left")
    for column in ("DCMTK, MB/s", "project, MB/s", "ms an instance", "ratio"):
        table.add_column(column, justify="right")
    for source, contests in results.items():
        for contest, sides in contests.items():
            peer, ours = statistics.median(sides["peer"]), statistics.median(sides["ours"])
            row = (f"{size / peer:,.0f}", f"{size / ours:,.0f}", f"{1000 * ours / len(items):.2f}")
            table.add_row(f"{contest} from {source}", *row, f"{peer / ours:.2f}")
    return table


def ratio_of(sides: dict[str, list[float]]) -> float:
    """Instances a second over the peer's."""
    return statistics.median(sides["peer"]) / statistics.median(sides["ours"])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harvest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often DCMTK and project take turns")
    parser.add_argument("--scale", type=float, default=1.0, help=f"times {INSTANCES:,} instances; 0.1 for a quick look")
    parser.add_argument("--source", choices=SOURCES, action="append", help="only this archive")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave the very large object out")
    parser.add_argument("--data", type=Path, default=_MEMORY, help="a file system in memory; emptied at the end")
    parser.add_argument("--out", type=Path, help="the result as JSON; by default kept for a full run only")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Table, dict[str, float]]:
    """All measurements: the result to keep, the table to show, the lines for scripts."""
    items = list(ct_set(folder / "ct", max(1, round(INSTANCES * options.scale))))
    bench = Bench(folder, items)
    results = {name: measure(bench, name, options.rounds) for name in options.source or SOURCES}
    ratios = {
        f"{contest}_vs_dcmtk_{name}": ratio_of(sides)
        for name, contests in results.items()
        for contest, sides in contests.items()
    }
    for contest in dict.fromkeys(contest for contests in results.values() for contest in contests):
        ratios[f"{contest}_vs_dcmtk"] = min(ratio_of(contests[contest]) for contests in results.values())
    memory = large.measure(folder, GIGABYTES) if options.memory else None
    if memory is not None:
        ratios["large_object_mib"] = memory["while_it_came"] - memory["before"]
    result = {
        "benchmark": "harvest",
        "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(folder),
        "instances": len(items),
        "bytes": sum(item.size for item in items),
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "seconds": results,
        "memory_mib": memory,
    }
    return result, table_of(results, items), ratios


def main(arguments: Sequence[str] | None = None, *, show: Callable[[str], None] = print) -> int:
    """Measure, show and keep the result; returns the exit status."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the data are deleted then too
    try:
        sources.require()
        with tempfile.TemporaryDirectory(prefix="bench-harvest-", dir=options.data, ignore_cleanup_errors=True) as name:
            result, table, ratios = run(options, Path(name))
    except PipelineError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the servers are stopped and the data are deleted")
        return 130
    out = options.out or (_RESULTS if options.scale == 1 and options.memory and not options.source else None)
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(table)
    for ratio, value in ratios.items():
        show(f"RATIO {ratio} {value:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
