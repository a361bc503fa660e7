"""Validate: let the data contracts judge what was staged, and bind the verdict to exactly that manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pacs_pipeline import contracts, storage
from pacs_pipeline.compute import Pool, WorkerLost
from pacs_pipeline.contracts import Contract
from pacs_pipeline.errors import Transient
from pacs_pipeline.records import Manifest, Partition, Stage, Verdict, VerdictStatus
from pacs_pipeline.stages.project import Project

PRELOAD = ("pacs_pipeline.contracts.preload",)
"""What the workers of a pool inherit instead of importing it again."""


def validate(project: Project, partition: Partition, pool: Pool) -> Verdict:
    """Judge the partition's tables by the contracts in force and store the verdict and its Data Docs page.

    A worker of ``pool`` judges, which has imported the engine while the instances arrived.
    A failed verdict is a result, not an exception: it withholds the partition. A table that is not what its
    manifest says raises Permanent. A verdict on the same data by the same contracts is not made again.
    """
    with project.lock(partition):
        census = project.require(partition, Stage.CENSUS)
        deidentified = project.require(partition, Stage.DEIDENTIFY)
        known = storage.read_verdict(project.zones.state.partition(partition))
        if known is not None and _still_holds(known, deidentified, project.fingerprints.contracts):
            return known
        for manifest in (census, deidentified):
            project.verify_tables(manifest)
        tables = {
            name: project.zones.root / table.path
            for manifest in (census, deidentified)
            for name, table in manifest.tables.items()
        }
        case = _Case(
            partition,
            tuple(project.contracts),
            tables,
            deidentified.digest,
            project.fingerprints.contracts,
            project.zones.docs.root,
        )
        (judged,) = pool.imap(_judge, [case])
        if isinstance(judged.result, WorkerLost):
            raise Transient(
                f"{partition}: the process that judged the contracts was killed",
                fix="most often memory ran out: see the kernel's log, then run the partition again",
            )
        verdict = judged.result
        storage.write_verdict(project.zones.state.make_partition(partition), verdict)
    return verdict


@dataclass(frozen=True, slots=True)
class _Case:
    """What a worker needs to judge one partition."""

    partition: Partition
    contracts: tuple[Contract, ...]
    tables: Mapping[str, Path]
    manifest_digest: str
    contracts_fingerprint: str
    docs: Path


def _judge(case: _Case) -> Verdict:
    judged = contracts.validate(case.contracts, case.tables)
    verdict = Verdict(case.manifest_digest, case.contracts_fingerprint, judged.results)
    contracts.write_data_docs(case.docs, case.partition, judged, verdict)
    return verdict


def _still_holds(verdict: Verdict, deidentified: Manifest, contracts_fingerprint: str) -> bool:
    return (
        verdict.manifest_digest == deidentified.digest
        and verdict.contracts_fingerprint == contracts_fingerprint
        and verdict.status is not VerdictStatus.COULD_NOT_RUN
    )
