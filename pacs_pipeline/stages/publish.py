"""Publish: objects to the bucket, then rows to the warehouse, and only for data with a PASS verdict."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from pacs_pipeline import storage, warehouse
from pacs_pipeline.errors import NotAllowed
from pacs_pipeline.records import Manifest, Partition, Stage, Verdict, VerdictStatus
from pacs_pipeline.stages.project import Progress, Project, silent

REQUIRED_CONTRACTS = frozenset({"instances", "series", "studies"})
"""The tables that reach the warehouse: a verdict that says nothing of one of them opens no gate."""


def publish(project: Project, partition: Partition, *, now: dt.datetime, progress: Progress = silent) -> Manifest:
    """Upload and verify every staged instance, then replace the partition's rows in one transaction.

    Objects that are already there are not sent again. Raises NotAllowed without a stored PASS verdict of the
    contracts in force for exactly the staged manifest, Transient when the bucket or the warehouse is away:
    nothing is published by halves, since what has no row is not published.
    """
    with project.lock(partition):
        deidentified = project.require(partition, Stage.DEIDENTIFY)
        verdict = _passed(project, partition, deidentified)
        inputs = {"deidentify": deidentified.digest, "contracts": verdict.contracts_fingerprint}
        previous = project.manifest(partition, Stage.PUBLISH)
        counts = {"objects": 0, "uploaded": 0, "bytes": 0}
        if not deidentified.counts["released"] and previous is None:  # nothing, and nothing to replace
            return project.commit(Manifest(Stage.PUBLISH, partition, inputs, counts=counts))
        if previous is not None and dict(previous.inputs) == inputs and _in_warehouse(project, partition, previous):
            return previous
        project.verify_tables(deidentified)
        staging = project.zones.staging.partition(partition)
        total = deidentified.counts["released"]

        def published() -> Iterator[dict[str, Any]]:
            rows = storage.read_rows(
                staging / "instances.parquet",
                ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "sha256", "size", "path"],
            )
            for done, (row, put) in enumerate(project.bucket.put_rows(rows, staging), start=1):
                counts["objects"] += 1
                counts["uploaded"] += not put.skipped
                counts["bytes"] += row["size"]
                progress("objects in the bucket", done, total)
                yield {
                    "SOPInstanceUID": row["SOPInstanceUID"],
                    "SeriesInstanceUID": row["SeriesInstanceUID"],
                    "key": put.key,
                    "uri": put.uri,
                    "sha256": row["sha256"],
                    "size": row["size"],
                }

        project.bucket.ensure()
        progress("objects in the bucket", 0, total)
        table = project.write_table(staging / "published.parquet", published(), storage.PUBLISHED)
        warehouse.replace_partition(
            project.settings.warehouse.path,
            project.partition_id(partition),
            partition.site,
            tables={name: staging / f"{name}.parquet" for name in ("instances", "series", "studies")},
            published=staging / "published.parquet",
            manifest=deidentified,
            verdict=verdict,
            now=now,
        )
        return project.commit(Manifest(Stage.PUBLISH, partition, inputs, {"published": table}, counts))


def _in_warehouse(project: Project, partition: Partition, previous: Manifest) -> bool:
    """Whether the warehouse has exactly the rows that the stored manifest published."""
    rows = warehouse.published_instances(project.settings.warehouse.path, project.partition_id(partition))
    if "published" not in previous.tables:
        return not rows
    if not project.intact(previous):
        return False
    table = project.zones.root / previous.tables["published"].path
    return rows == {
        row["SOPInstanceUID"]: row["sha256"] for row in storage.read_rows(table, ["SOPInstanceUID", "sha256"])
    }


def _passed(project: Project, partition: Partition, deidentified: Manifest) -> Verdict:
    """The PASS verdict for exactly this manifest; raises NotAllowed."""
    verdict = storage.read_verdict(project.zones.state.partition(partition))
    again = f"materialise {partition.site}/validated for {partition.key} and look at its checks"
    if verdict is None or verdict.manifest_digest != deidentified.digest:
        raise NotAllowed(f"{partition}: there is no verdict on the staged data; nothing was published", fix=again)
    if verdict.contracts_fingerprint != project.fingerprints.contracts:
        raise NotAllowed(f"{partition}: the contracts changed since the verdict; nothing was published", fix=again)
    unjudged = REQUIRED_CONTRACTS - {result.contract for result in verdict.results}
    if unjudged:
        raise NotAllowed(
            f"{partition}: there is no contract for {', '.join(sorted(unjudged))}; nothing was published",
            fix="restore the contract in the folder of data contracts, then validate again",
        )
    if verdict.status is not VerdictStatus.PASSED:
        failing = [f"{r.contract}: {rule.rule}" for r in verdict.results for rule in r.failing[:3]]
        raise NotAllowed(
            f"{partition}: the verdict is {verdict.status.value} ({'; '.join(failing[:5])}); nothing was published",
            fix="see the Data Docs of the partition; mend the data or the contract, then validate again",
        )
    return verdict
