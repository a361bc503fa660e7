"""``make bench-census``: the census of a simulated archive over ten years, killed in the middle and continued."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.generated_archive import AE_TITLE, Population

STUDIES, YEARS_OF_DAYS = 1_000_000, 3652
SITE = "bench"
LIMIT = 200
_RESULTS = Path(__file__).resolve().parent / "results" / "census.json"
_SECRET = "5f0c" * 16
console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Measured:
    """One census of all days. ``early`` and ``late`` are the resident set at a tenth and at the end of the longest
    process, in MiB."""

    seconds: float
    early: float
    late: float
    asked: dict[str, int]


class Archive:
    """A generated archive in a process of its own."""

    def __init__(self, studies: int, days: int, limit: int) -> None:
        command = [sys.executable, "-m", "benchmarks.generated_archive", str(studies), str(days), str(limit)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self) -> dict[str, int]:
        """End it; how often it was asked what."""
        said, _ = self._process.communicate()
        asked: dict[str, int] = json.loads(said)
        return asked


@contextmanager
def _configuration(folder: Path, port: int, population: Population) -> Iterator[Path]:
    (folder / "secret").write_text(_SECRET)
    (folder / "secret").chmod(0o600)
    site = {
        "name": SITE,
        "timezone": "UTC",
        "start_date": population.days[0].isoformat(),
        "pacs": {"ae_title": AE_TITLE, "host": "127.0.0.1", "port": port},
    }
    file = folder / "pacs_pipeline.yaml"
    settings = {"project": "bench", "sites": [site], "bucket": {"name": "bench"}, "secret_file": "secret"}
    file.write_text(yaml.safe_dump(settings))
    yield file


def census(studies: int, days: int, limit: int, *, kill_at: float | None, show: Callable[[str], None]) -> Measured:
    """Take the census of every day in a process of its own; check that nothing is missing.

    ``kill_at`` is the part of the days after which the process is killed and another one continues.
    """
    population = Population(studies, days)
    with tempfile.TemporaryDirectory() as name:
        archive = Archive(studies, days, limit)
        with _configuration(Path(name), archive.port, population) as file:
            started = time.monotonic()
            killed = list(_census(file, population, stop_after=int(days * kill_at), show=show)) if kill_at else []
            samples = list(_census(file, population, show=show))
            seconds = time.monotonic() - started
            asked = archive.stop()
            _check(file, population, asked, len(killed) + len(samples), 1 if kill_at else 0)
    return Measured(seconds, samples[len(samples) // 10], samples[-1], asked)


def _census(
    file: Path, population: Population, *, stop_after: int | None = None, show: Callable[[str], None]
) -> Iterator[float]:
    """The resident set after each day, of a process that takes the census of the days that have none."""
    first, last = population.days[0].isoformat(), population.days[-1].isoformat()
    command = [sys.executable, "-m", "benchmarks.census", "--worker", str(file), first, last]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PACS_PIPELINE_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for done, line in enumerate(process.stdout, 1):
            if done % 20 == 0:
                show(f"{done} of {len(population.days)} days")
            yield float(line)
            if done == stop_after:
                process.kill()
                break
    if process.returncode and stop_after is None:
        raise SystemExit(f"the census ended with {process.returncode}")


def _check(file: Path, population: Population, asked: dict[str, int], done: int, killed: int) -> None:
    from pacs_pipeline import storage
    from pacs_pipeline.settings import load_settings

    settings = load_settings(file)
    manifests = list(storage.scan(settings.zones.root / "state"))
    for what, expected in (
        ("studies", population.studies),
        ("series", population.series),
        ("instances", population.instances),
    ):
        found = sum(manifest.counts[what] for manifest in manifests)
        if found != expected:
            raise SystemExit(f"the archive has {expected} {what}, the census {found}")
    days = len(population.days)
    if len(manifests) != days or not days <= asked["days"] <= days + killed or not days - killed <= done <= days:
        raise SystemExit(f"{days} days, {len(manifests)} of them stored, {asked['days']} times asked")


def worker(file: str, first: str, last: str) -> None:
    """Take the census of the days that have none; print the resident set in MiB after each."""
    import datetime as dt

    from pacs_pipeline.settings import load_settings
    from pacs_pipeline.stages.census import take_censuses
    from pacs_pipeline.stages.project import Project
    from pacs_pipeline.stages.sources import Source

    project = Project(load_settings(Path(file)))
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    days = (start + dt.timedelta(days=n) for n in range((end - start).days + 1))
    with Source.of(project, project.settings.site(SITE)).archive() as archive:
        for _ in take_censuses(project, SITE, days, archive, missing=True):
            status = Path("/proc/self/status").read_text()
            print(int(status.partition("VmRSS:")[2].split()[0]) / 1024, flush=True)


def main() -> None:
    """Run both variants and write what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.census", description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES, help="in all; the days shrink with them")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where a full run is written")
    parser.add_argument("--worker", nargs=3, metavar=("CONFIG", "FROM", "TO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    days = max(YEARS_OF_DAYS * options.studies // STUDIES, 10)
    measured = {}
    with console.status("") as status:
        for variant, limit, kill_at in (("all at once", 0, 0.5), (f"cut off at {LIMIT}", LIMIT, None)):
            measured[variant] = census(
                options.studies,
                days,
                limit,
                kill_at=kill_at,
                show=lambda text, v=variant: status.update(f"{v}: {text}"),
            )
    _report(options, days, measured)


def _report(options: argparse.Namespace, days: int, measured: dict[str, Measured]) -> None:
    table = Table(title=f"census of {options.studies:,} studies on {days:,} days", title_justify="left")
    for column in (
        "the archive gives",
        "seconds",
        "studies/s",
        "queries",
        "queries a day",
        "MiB at 10 %",
        "MiB at the end",
    ):
        table.add_column(column, justify="right")
    for variant, run in measured.items():
        queries = run.asked["STUDY"] + run.asked["SERIES"]
        table.add_row(
            variant,
            f"{run.seconds:,.0f}",
            f"{options.studies / run.seconds:,.0f}",
            f"{queries:,}",
            f"{queries / days:,.0f}",
            f"{run.early:.1f}",
            f"{run.late:.1f}",
        )
    console.print(table)
    whole, cut = measured.values()
    ratios: dict[str, Any] = {
        "census_memory_end_vs_start": max(run.late / run.early for run in measured.values()),
        "census_cut_off_vs_whole": cut.seconds / whole.seconds,
        "census_studies_per_second": options.studies / whole.seconds,
        "census_hours_per_million": whole.seconds / options.studies * 1e6 / 3600,
    }
    for name, value in ratios.items():
        print(f"RATIO {name} {value:.3f}")
    if options.studies >= STUDIES:
        result = {
            "machine": machine.describe(options.results.parent),
            "studies": options.studies,
            "days": days,
            "runs": {
                variant: {"seconds": round(run.seconds, 1), "mib": [run.early, run.late], "asked": run.asked}
                for variant, run in measured.items()
            },
            "ratios": {name: round(value, 3) for name, value in ratios.items()},
        }
        options.results.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
