"""How long the staleness sensor takes to decide over ten years of thirty sites; see benchmarks/README.md."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.machine import describe
from pacs_pipeline import storage
from pacs_pipeline.defs.sensors import decide
from pacs_pipeline.errors import PipelineError
from pacs_pipeline.records import (
    Books,
    ContractResult,
    Manifest,
    Partition,
    RuleResult,
    Severity,
    Stage,
    TableRef,
    Verdict,
    VerdictStatus,
    fingerprint,
)
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.staleness import Fingerprints, deidentify_inputs, reconcile_inputs, stale_partitions
from pacs_pipeline.stages.states import partition_states

RESULTS = Path(__file__).parent / "results" / "staleness.json"
FIRST_DAY = dt.date(2014, 1, 1)
NOW = Fingerprints(profile=fingerprint("p"), contracts=fingerprint("c"), code="1", keys=fingerprint("k")[:32])
RULES = {"census": 16, "instances": 56, "series": 19, "studies": 16}  # as many as the project's contracts have
REASONS = ("burned-in-text-possible", "structured-report", "encapsulated-document")


@dataclass(frozen=True)
class Tick:
    """What one tick of the sensor took and found."""

    seconds: float
    stale: int
    requested: int
    peak_mib: float


def partitions(sites: int, years: int) -> Iterator[Partition]:
    for site in range(sites):
        for day in range(years * 365):
            yield Partition(f"site_{site:02d}", FIRST_DAY + dt.timedelta(days=day))


def write_records(root: Path, partition: Partition, instances: int) -> None:
    """The records of a day on which everything has been done, as the stages write them, without their flushes."""

    def tables(*names: str) -> dict[str, TableRef]:
        zone = f"landing/{partition.folder}"
        return {name: TableRef(f"{zone}/{name}.parquet", instances, fingerprint([name, instances])) for name in names}

    census = Manifest(
        Stage.CENSUS, partition, {}, tables("census"), {"studies": 40, "series": 160, "instances": instances}
    )
    harvest = Manifest(
        Stage.HARVEST,
        partition,
        {"census": census.digest},
        tables("harvest"),
        {"expected": instances, "landed": instances, "unavailable": 0, "unexpected": 0, "bytes": instances * 525_000},
    )
    quarantined = {f"quarantined: {reason}": 7 for reason in REASONS}
    deidentified = Manifest(
        Stage.DEIDENTIFY,
        partition,
        deidentify_inputs(harvest, NOW),
        tables("instances", "series", "studies", "actions", "outcomes", "quarantine"),
        {"landed": instances, "released": instances - 21, "quarantined": 21, "documents": 7, "bytes": 9, **quarantined},
    )
    verdict = Verdict(
        deidentified.digest,
        NOW.contracts,
        tuple(
            ContractResult(
                name,
                "1.0.0",
                VerdictStatus.PASSED,
                tuple(
                    RuleResult(
                        f"the column_{n} matches a pattern", f"column_{n}", Severity.ERROR, VerdictStatus.PASSED, 9, 0
                    )
                    for n in range(rules)
                ),
            )
            for name, rules in RULES.items()
        ),
    )
    published = Manifest(
        Stage.PUBLISH,
        partition,
        {"deidentify": deidentified.digest, "contracts": NOW.contracts},
        tables("published"),
        {"objects": instances - 21, "uploaded": 0, "bytes": 9},
    )
    books = Manifest(
        Stage.RECONCILE,
        partition,
        reconcile_inputs(deidentified, published, verdict),
        counts={
            "expected": instances,
            "published": instances - 21,
            "excluded": 0,
            "quarantined": 21,
            "unavailable": 0,
            "problems": 0,
        },
    )
    folder = root / partition.folder
    folder.mkdir(parents=True, exist_ok=True)
    for manifest in (census, harvest, deidentified, published, books):
        storage.write_manifest(folder, manifest)
    storage.write_verdict(folder, verdict)
    storage.write_books(folder, Books(partition, instances, instances - 21, 0, 21, 0))


def tick(root: Path, now: Fingerprints) -> Tick:
    """What the sensor does: read, decide, request."""
    sites = sorted(path.name.removeprefix("site=") for path in root.glob("site=*"))
    settings = SimpleNamespace(sites=[SimpleNamespace(name=site, protocol="c-get") for site in sites])
    project = cast(Project, SimpleNamespace(zones=storage.Zones(root.parent), settings=settings))
    damaged: list[PipelineError] = []
    start = time.perf_counter()
    stale = list(stale_partitions(partition_states(project, sites=sites, on_damaged=damaged.append), now))
    requests = decide(
        stale,
        jobs={site: f"{site}_chain" for site in sites},
        running=set(),
        today=dict.fromkeys(sites, dt.date(2025, 1, 1)),
    )
    seconds = time.perf_counter() - start
    if damaged:
        raise SystemExit(f"{len(damaged)} partitions are damaged: {damaged[0]}")
    return Tick(
        round(seconds, 3),
        len(stale),
        len(requests.runs),
        round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )


def in_a_process_of_its_own(root: Path, now: Fingerprints) -> Tick:
    """One tick in a fresh process, so that each has its own peak of memory and no warm interpreter."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.write(into, json.dumps(vars(tick(root, now))).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(into)
    with os.fdopen(out, "rb") as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("a tick failed")
    return Tick(**json.loads(said))


def flushes_nothing() -> None:
    """Writing the input flushes no file: it is made in minutes instead of hours, and read as it would be."""
    os.fsync = lambda _descriptor: None  # type: ignore[assignment]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sites", type=int, default=30)
    arguments.add_argument("--years", type=int, default=10)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--keep", type=Path, help="make the records here, or take those that are there")
    chosen = arguments.parse_args()
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="staleness-"))
    try:
        results = measure(folder, chosen.sites, chosen.years, chosen.rounds)
    finally:
        if not chosen.keep:
            shutil.rmtree(folder)
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def measure(folder: Path, sites: int, years: int, rounds: int) -> dict[str, Any]:
    root = folder / "state"
    everything = list(partitions(sites, years))
    flush = os.fsync
    flushes_nothing()
    if not root.exists():
        for done, partition in enumerate(everything):
            write_records(root, partition, 2_000)
            if done % 10_000 == 0:
                print(f"{done:,} of {len(everything):,} partitions written", file=sys.stderr)
    else:
        shutil.rmtree(root / "index", ignore_errors=True)
    time.sleep(3)  # records must have settled before they are remembered
    ticks: dict[str, list[Tick]] = {"cold": [in_a_process_of_its_own(root, NOW)], "warm": [], "changed": []}
    for number in range(rounds):
        ticks["warm"].append(in_a_process_of_its_own(root, NOW))
        for partition in everything[number::100]:
            write_records(root, partition, 2_001 + number)
        time.sleep(3)
        ticks["changed"].append(in_a_process_of_its_own(root, NOW))
    ticks["all_stale"] = [in_a_process_of_its_own(root, replace(NOW, profile="another")) for _ in range(rounds)]
    os.fsync = flush
    medians = {name: sorted(t.seconds for t in found)[len(found) // 2] for name, found in ticks.items()}
    for name, seconds in medians.items():
        print(f"RATIO staleness_seconds_{name} {seconds}")
    print(f"RATIO staleness_peak_mib {max(t.peak_mib for found in ticks.values() for t in found)}")
    return {
        "partitions": len(everything),
        "ticks": {name: [vars(t) for t in found] for name, found in ticks.items()},
        "machine": describe(folder),
    }


if __name__ == "__main__":
    main()
