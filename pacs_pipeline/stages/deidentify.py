"""De-identify: make what landed publishable, or set it aside with a reason. Staging gets clean instances only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from pacs_pipeline import storage
from pacs_pipeline.compute import Pool
from pacs_pipeline.deidentify import Deidentifier
from pacs_pipeline.records import Manifest, Partition, Stage
from pacs_pipeline.stages.landing_zone import DELETED, LANDED
from pacs_pipeline.stages.ledger import QUARANTINED, RELEASED, Ledger
from pacs_pipeline.stages.project import Progress, Project, silent
from pacs_pipeline.stages.staleness import DOCUMENTS, changed_inputs, deidentify_inputs

PRELOAD = ("pacs_pipeline.deidentify",)
"""What the workers of a pool inherit instead of importing it again."""

T = TypeVar("T")


def deidentify(project: Project, partition: Partition, pool: Pool, progress: Progress = silent) -> Manifest:
    """Run the engine over every landed instance of the partition.

    Writes the clean instances and their tables to staging, the mapping to the vault and the reasons to
    quarantine. Nothing is done again when everything that decides (harvest, profile, code, keys,
    identities, released documents) is that of the stored manifest.
    """
    zones = project.zones
    landing, staging = zones.landing.partition(partition), zones.staging.make_partition(partition)
    with project.lock(partition):
        harvest = project.require(partition, Stage.HARVEST)
        inputs = deidentify_inputs(harvest, project.fingerprints)
        previous = project.manifest(partition, Stage.DEIDENTIFY)
        if previous is not None and not changed_inputs(previous, inputs) and _staged(project, staging, previous):
            return previous
        project.verify_tables(harvest)
        landed = {
            landing / row["path"]: row
            for row in storage.read_rows(landing / "harvest.parquet")
            if row["status"] in (LANDED, DELETED) and row["path"]
        }
        ledger = Ledger(landed, project.keys, staging)
        identity = project.identity_at(partition.site)
        engine = Deidentifier(project.profile, project.keys, identity=identity, documents=project.documents)
        results = pool.imap(partial(engine.deidentify, out_dir=staging / "instances"), landed)
        released = ledger.released(_counted(results, len(landed), progress))
        vault, quarantine = zones.vault.make_partition(partition), zones.quarantine.make_partition(partition)
        write = project.write_table
        tables = {  # in this order: the first one runs the engine, the others tell what came out
            "instances": write(staging / "instances.parquet", released, storage.INSTANCES),
            "series": write(staging / "series.parquet", ledger.series, storage.SERIES),
            "studies": write(staging / "studies.parquet", ledger.studies, storage.STUDIES),
            "actions": write(staging / "actions.parquet", ledger.actions, storage.ACTIONS),
            "outcomes": write(vault / "outcomes.parquet", ledger.outcomes, storage.OUTCOMES),
            "quarantine": write(quarantine / "quarantine.parquet", ledger.quarantine, storage.QUARANTINE),
        }
        _remove_leftovers(staging / "instances", ledger.files)
        storage.make_durable(ledger.files)
        return project.commit(
            Manifest(
                stage=Stage.DEIDENTIFY,
                partition=partition,
                inputs=inputs,
                tables=tables,
                counts={
                    "landed": len(landed),
                    RELEASED: tables["instances"].rows,
                    QUARANTINED: tables["quarantine"].rows,
                    "bytes": ledger.bytes,
                    DOCUMENTS: ledger.documents,
                    **{f"{QUARANTINED}: {reason}": count for reason, count in sorted(ledger.reasons.items())},
                },
            )
        )


def _counted(results: Iterable[T], total: int, progress: Progress) -> Iterator[T]:
    progress("instances de-identified", 0, total)
    for done, result in enumerate(results, start=1):
        yield result
        progress("instances de-identified", done, total)


def _staged(project: Project, staging: Path, manifest: Manifest) -> bool:
    """Whether the files the manifest speaks of are still there with their sizes."""
    if not project.intact(manifest):
        return False
    rows = storage.read_rows(staging / "instances.parquet", ["path", "size"])
    return all((path := staging / row["path"]).is_file() and path.stat().st_size == row["size"] for row in rows)


def _remove_leftovers(folder: Path, wanted: set[Path]) -> None:
    """Delete what an earlier profile, a withdrawn instance or a killed run left in staging."""
    if not folder.exists():
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
