"""``make bench-chain``: from a PACS to DuckDB and S3, beside the floor of plain tools, and the memory it takes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import floor, machine, project, servers
from pacs_pipeline.demo.ct_set import WrittenSlice, ct_set
from pacs_pipeline.demo.object_store import EmbeddedObjectStore
from pacs_pipeline.demo.plan import BASE_DATE
from pacs_pipeline.errors import PipelineError

INSTANCES, ROUNDS = 1_000, 3
MEMORY_FACTOR = 10
CONTENDERS = 2
"""How many numbers of upload threads are still tried after the first round."""
PROTOCOLS = ("c-move", "c-get")
DATE = BASE_DATE
_WARM_UP_DATE, _WARM_UP_INSTANCES = BASE_DATE + dt.timedelta(days=1), 10
BUCKET = "benchmark"
_ROOT = Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / "benchmarks" / "results" / "chain.json"
_INSTANCE_BYTES = 531_000
_COPIES = 5  # the set itself, landed, staged, in the bucket, and air

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round: the floor's two steps (uploads by number of threads) and the chain by protocol."""

    move: float
    uploads: dict[int, float]
    chains: dict[str, project.Measured]


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of all rounds."""

    move: float
    upload: float
    threads: int
    chains: dict[str, project.Measured]

    @classmethod
    def of(cls, rounds: Sequence[Round]) -> Figures:
        """Of the uploads, the number of threads that is fastest over all rounds counts."""
        uploads = {n: statistics.median(r.uploads[n] for r in rounds) for n in rounds[-1].uploads}
        threads = min(uploads, key=lambda n: uploads[n])
        chains = {}
        for protocol in PROTOCOLS:
            runs = [r.chains[protocol] for r in rounds]
            stages = {name: statistics.median(run.stages[name] for run in runs) for name in project.STAGES}
            chains[protocol] = project.Measured(statistics.median(run.seconds for run in runs), stages, None)
        return cls(statistics.median(r.move for r in rounds), uploads[threads], threads, chains)

    @property
    def floor(self) -> float:
        """One step after the other."""
        return self.move + self.upload

    @property
    def ratio(self) -> float:
        """The chain by C-MOVE, as the floor retrieves, over the floor."""
        return self.chains["c-move"].seconds / self.floor


class Bench:
    """The folder, the ports and the progress display that all measurements of a run share."""

    def __init__(self, folder: Path, progress: Progress, steps: int) -> None:
        self.folder = folder
        self.ports = servers.free_ports(folder, "pacs", "floor", "ours")
        self.destinations = {floor.AE_TITLE: self.ports["floor"], project.RECEIVER: self.ports["ours"]}
        self._progress = progress
        self._all = progress.add_task("all", total=steps)
        self._now = progress.add_task("", total=None)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[project.Progress]:
        """One step of the run; what it yields shows how far the step is."""
        self._progress.reset(self._now, description=name, total=None)

        def update(what: str, done: int, total: int) -> None:
            self._progress.update(self._now, description=f"{name}: {what}", completed=done, total=total)

        os.sync()  # nobody pays for what another one left to be written
        yield update
        self._progress.advance(self._all)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._progress.console.print(text)

    @contextlib.contextmanager
    def store(self, name: str) -> Iterator[EmbeddedObjectStore]:
        """A fresh S3 server with an empty bucket, deleted afterwards."""
        folder = self.folder / f"store-{name}"
        try:
            with EmbeddedObjectStore(folder) as store:
                floor.make_bucket(store, BUCKET)
                yield store
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def chain(
        self,
        name: str,
        store: EmbeddedObjectStore,
        protocol: str,
        expected: int,
        *,
        date: dt.date = DATE,
        memory: bool = False,
    ) -> project.Measured:
        """Run the project's chain with fresh zones and a fresh warehouse, deleted afterwards."""
        folder = self.folder / "project"
        configuration = project.write_configuration(
            folder,
            protocol=protocol,
            date=date,
            pacs=(servers.ARCHIVE, self.ports["pacs"]),
            receiver_port=self.ports["ours"],
            bucket=BUCKET,
            prefix=f"{protocol}/",
            endpoint_url=store.endpoint_url,
            key_files=(store.access_key_file, store.secret_key_file),
        )
        try:
            with self.step(f"{name}: the chain, {protocol}") as update:
                return project.measure(configuration, date, expected, update, memory=memory)
        finally:
            shutil.rmtree(folder)


def make_set(bench: Bench, n: int) -> list[WrittenSlice]:
    """Generate ``n`` CT slices of one study date."""
    written = []
    with bench.step("generating the CT set") as update:
        for number, item in enumerate(ct_set(bench.folder / "ct", n), start=1):
            written.append(item)
            if number % 20 == 0 or number == n:
                update("instances", number, n)
    return written


def link_set(bench: Bench, items: Sequence[WrittenSlice], name: str) -> Path:
    """A folder with just these instances, as hard links: the archives only read."""
    folder = bench.folder / name
    for item in items:
        path = folder / item.path.relative_to(bench.folder / "ct")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(item.path)
    return folder


def measure_speed(bench: Bench, items: Sequence[WrittenSlice], rounds: int) -> list[Round]:
    """Floor and project in turn, from the same archive to the same S3 server, which is new in each round."""
    landed = bench.folder / "floor"
    landed.mkdir()
    others = ct_set(bench.folder / "warm-up", _WARM_UP_INSTANCES, seed=2, study_date=_WARM_UP_DATE)
    files = [item.path for item in (*items, *others)]
    studies = list(dict.fromkeys(item.StudyInstanceUID for item in items))
    measured = []
    threads: Sequence[int] = floor.THREADS
    with (
        servers.dcmqrscp(bench.folder, files, bench.ports["pacs"], bench.destinations),
        servers.storescp(bench.folder, landed, floor.AE_TITLE, bench.ports["floor"]),
    ):
        with bench.store("warm-up") as store:  # the first run ever compiles Python's bytecode
            bench.chain("warm-up", store, "c-move", _WARM_UP_INSTANCES, date=_WARM_UP_DATE)
        for number in range(1, rounds + 1):
            name = f"round {number} of {rounds}"
            with bench.store(str(number)) as store:
                with bench.step(f"{name}: floor, movescu"):
                    move = floor.move(bench.ports["pacs"], studies, landed, len(items))
                received = sorted(landed.iterdir())
                uploads = {n: _upload(bench, name, store, received, n) for n in threads}
                threads = sorted(uploads, key=lambda n: uploads[n])[:CONTENDERS]
                for file in received:
                    file.unlink()
                chains = {protocol: bench.chain(name, store, protocol, len(items)) for protocol in PROTOCOLS}
            measured.append(Round(move, uploads, chains))
            spent = ", ".join(f"{protocol} {run.seconds:.1f} s" for protocol, run in chains.items())
            bench.say(f"{name}: floor {move:.1f} + {min(uploads.values()):.1f} s, chain {spent}")
    return measured


def _upload(bench: Bench, name: str, store: EmbeddedObjectStore, files: Sequence[Path], threads: int) -> float:
    with bench.step(f"{name}: floor, boto3 with {threads} threads"):
        return floor.upload(store, BUCKET, f"floor-{threads}/", files, threads)


def measure_memory(bench: Bench, items: Sequence[WrittenSlice]) -> machine.Peak:
    """The peak memory of the chain over ``items``, by C-MOVE from the demo's archive."""
    folder = link_set(bench, items, f"ct-{len(items)}")
    name = f"memory at {len(items):,}"
    with (
        servers.embedded_pacs(bench.folder, folder, bench.ports["pacs"], bench.destinations),
        bench.store(f"memory-{len(items)}") as store,
    ):
        run = bench.chain(name, store, "c-move", len(items), memory=True)
    if run.memory is None:
        raise AssertionError("asked for memory")
    bench.say(f"{name}: {run.memory.tree / 2**20:.0f} MiB, {run.seconds:.1f} s")
    return run.memory


def speed_table(figures: Figures, instances: int, size: int) -> Table:
    """The medians, as people read them."""
    table = Table(
        "median of all rounds", title=f"{instances:,} CT instances, {size / 1e6:,.0f} MB", title_justify="left"
    )
    for column in ("seconds", "instances/s", "MB/s", "of the floor"):
        table.add_column(column, justify="right")

    def row(name: str, seconds: float, *, moves: bool = True, share: bool = False, end: bool = False) -> None:
        rates = (f"{instances / seconds:,.0f}", f"{size / 1e6 / seconds:,.1f}") if moves else ("", "")
        of_floor = f"{seconds / figures.floor:.2f}" if share else ""
        table.add_row(name, f"{seconds:.2f}", *rates, of_floor, end_section=end)

    row("floor: movescu", figures.move)
    row(f"floor: boto3, {figures.threads} threads", figures.upload)
    row("floor", figures.floor, share=True, end=True)
    for protocol, run in figures.chains.items():
        for stage, seconds in run.stages.items():
            row(f"{protocol}: {stage}", seconds, moves=stage in ("harvest", "deidentify", "publish"))
        row(f"{protocol}: start and end", run.seconds - sum(run.stages.values()), moves=False)
        row(f"{protocol}", run.seconds, share=True, end=True)
    return table


def memory_table(peaks: dict[int, machine.Peak]) -> Table:
    """Peak memory by number of instances."""
    table = Table("instances", title="peak memory, MiB", title_justify="left")
    for column in ("at one moment", "own peaks, summed", "main process"):
        table.add_column(column, justify="right")
    for n, peak in peaks.items():
        table.add_row(f"{n:,}", *(f"{value / 2**20:,.0f}" for value in (peak.tree, peak.processes, peak.main)))
    return table


def short(n: int) -> str:
    """1000 as 1k."""
    return f"{n // 1000}k" if n % 1000 == 0 else str(n)


def run(options: argparse.Namespace, folder: Path, progress: Progress) -> tuple[dict[str, Any], list[Table], list[str]]:
    """All measurements; returns the result to keep, the tables to show and the lines for scripts."""
    instances = max(1, round(INSTANCES * options.scale))
    many = instances * MEMORY_FACTOR
    memory = options.memory and _has_room(folder, many)
    per_round = 1 + CONTENDERS + len(PROTOCOLS)
    steps = 2 + len(floor.THREADS) - CONTENDERS + options.rounds * per_round + 2 * memory
    bench = Bench(folder, progress, steps)
    items = make_set(bench, many if memory else instances)
    few = items[:instances]
    rounds = measure_speed(bench, few, options.rounds)
    figures = Figures.of(rounds)
    peaks = {len(part): measure_memory(bench, part) for part in (few, items)} if memory else {}
    size = sum(item.size for item in few)
    ratios = {"end_to_end_vs_floor": figures.ratio}
    tables = [speed_table(figures, instances, size)]
    if memory:
        ratios[f"peak_memory_{short(many)}_vs_{short(instances)}"] = peaks[many].tree / peaks[instances].tree
        tables.append(memory_table(peaks))
    result = {
        "benchmark": "chain",
        "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(folder),
        "instances": instances,
        "bytes": size,
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "medians": dataclasses.asdict(figures) | {"floor": figures.floor},
        "rounds": [dataclasses.asdict(r) for r in rounds],
        "peak_memory_bytes": {str(n): dataclasses.asdict(peak) for n, peak in peaks.items()},
    }
    return result, tables, [f"RATIO {name} {value:.2f}" for name, value in ratios.items()]


def _has_room(folder: Path, instances: int) -> bool:
    needed, free = _COPIES * instances * _INSTANCE_BYTES, shutil.disk_usage(folder).free
    if needed > free:
        console.print(
            f"peak memory is not measured: {instances:,} instances need {needed / 1e9:.0f} GB of disk and "
            f"{free / 1e9:.0f} GB are free; use --data on a larger disk, or --scale"
        )
    return needed <= free


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often floor and project take turns")
    parser.add_argument("--scale", type=float, default=1.0, help=f"times {INSTANCES:,} instances; 0.1 for a quick look")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave the memory out")
    parser.add_argument("--data", type=Path, default=_ROOT / "data", help="where there is room; emptied at the end")
    parser.add_argument("--out", type=Path, help="the result as JSON; by default kept for --scale 1 with memory only")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _orderly_end() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like Ctrl-C, so that every server is stopped and every file deleted."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before: dict[signal.Signals, Any] = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None, *, show: Callable[[str], None] = print) -> int:
    """Measure, show and keep the result; returns the exit status."""
    options = _options(arguments)
    columns = (TextColumn("{task.description:<60}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    options.data.mkdir(parents=True, exist_ok=True)
    try:
        servers.require_dcmtk()
        with (
            _orderly_end(),
            tempfile.TemporaryDirectory(prefix="bench-chain-", dir=options.data, ignore_cleanup_errors=True) as folder,
            Progress(*columns, console=console, transient=True) as progress,
        ):
            result, tables, lines = run(options, Path(folder), progress)
    except PipelineError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the servers are stopped and the data are deleted")
        return 130
    out = options.out or (_RESULTS if options.scale == 1 and options.memory else None)
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for table in tables:
        console.print(table)
    for line in lines:
        show(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
