"""Validate: let the data contracts judge what was staged, and bind the verdict to exactly that manifest."""

from __future__ import annotations

from pacs_pipeline import contracts, storage
from pacs_pipeline.records import Manifest, Partition, Stage, Verdict, VerdictStatus
from pacs_pipeline.stages.project import Project


def validate(project: Project, partition: Partition) -> Verdict:
    """Judge the partition's tables by the contracts in force and store the verdict and its Data Docs page.

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
        judged = contracts.validate(project.contracts, tables)
        verdict = Verdict(
            manifest_digest=deidentified.digest,
            contracts_fingerprint=project.fingerprints.contracts,
            results=judged.results,
        )
        contracts.write_data_docs(project.zones.docs.root, partition, judged, verdict)
        storage.write_verdict(project.zones.state.make_partition(partition), verdict)
    return verdict


def _still_holds(verdict: Verdict, deidentified: Manifest, contracts_fingerprint: str) -> bool:
    return (
        verdict.manifest_digest == deidentified.digest
        and verdict.contracts_fingerprint == contracts_fingerprint
        and verdict.status is not VerdictStatus.COULD_NOT_RUN
    )
