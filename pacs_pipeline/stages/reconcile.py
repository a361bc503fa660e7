"""Reconcile: make up the books of a partition, instance by instance, from what is really there."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator

from pacs_pipeline import storage, warehouse
from pacs_pipeline.records import Books, Manifest, Partition, Stage, VerdictStatus
from pacs_pipeline.stages.landing_zone import EXCLUDED, UNAVAILABLE, UNEXPECTED
from pacs_pipeline.stages.ledger import QUARANTINED, RELEASED
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.staleness import reconcile_inputs


def reconcile(project: Project, partition: Partition) -> Books:
    """Account for every SOPInstanceUID the PACS announced, against the rows of the warehouse itself.

    What passed every stage but has no row, and a row nobody can trace back, are problems and keep the books
    open. The books are stored whether they close or not.
    """
    with project.lock(partition):
        census = project.require(partition, Stage.CENSUS)
        harvest = project.require(partition, Stage.HARVEST)
        deidentified = project.require(partition, Stage.DEIDENTIFY)
        published = project.manifest(partition, Stage.PUBLISH)
        verdict = storage.read_verdict(project.zones.state.partition(partition))
        for manifest in (harvest, deidentified):
            project.verify_tables(manifest)
        books = _make_up(project, partition, census, harvest, deidentified)
        if verdict is not None:
            current = published if verdict.status is VerdictStatus.PASSED else None
            storage.write_books(project.zones.state.make_partition(partition), books)
            project.commit(
                Manifest(
                    stage=Stage.RECONCILE,
                    partition=partition,
                    inputs=reconcile_inputs(deidentified, current, verdict),
                    counts={name: value for name, value in dataclasses.asdict(books).items() if isinstance(value, int)}
                    | {"problems": len(books.problems)},
                )
            )
    return books


def _make_up(
    project: Project, partition: Partition, census: Manifest, harvest: Manifest, deidentified: Manifest
) -> Books:
    root = project.zones.root
    listed = {
        row["SOPInstanceUID"]: row["status"]
        for row in storage.read_rows(root / harvest.tables["harvest"].path, ["SOPInstanceUID", "status"])
        if row["status"] != UNEXPECTED
    }
    outcomes = {
        row["source_sop_instance_uid"]: row for row in storage.read_rows(root / deidentified.tables["outcomes"].path)
    }
    rows = warehouse.published_instances(project.settings.warehouse.path, project.partition_id(partition))

    counted = {"published": 0, "excluded": 0, "quarantined": 0, "unavailable": 0}
    unpublished = unaccounted = 0
    for uid, status in listed.items():
        outcome = outcomes.get(uid)
        if status == EXCLUDED:
            counted["excluded"] += 1
        elif outcome is not None and outcome["outcome"] == RELEASED:
            if rows.pop(outcome["deidentified_sop_instance_uid"], None) == outcome["sha256"]:
                counted["published"] += 1
            else:
                unpublished += 1
        elif outcome is not None and outcome["outcome"] == QUARANTINED:
            counted["quarantined"] += 1
        elif status == UNAVAILABLE:
            counted["unavailable"] += 1
        else:
            unaccounted += 1
    unlisted = harvest.counts.get(EXCLUDED, 0) - counted["excluded"]
    counted["excluded"] += unlisted
    known = len(listed) + unlisted
    expected = max(known, census.counts["instances"])

    problems = []
    if known < census.counts["instances"]:
        problems.append(
            f"the PACS announced {census.counts['instances']} instances and listed {known}: run the census again"
        )
    if harvest.inputs["census"] != census.digest:
        problems.append("the census changed after the harvest: run the partition again")
    if unpublished:
        problems.append(f"{unpublished} clean instances are not in the warehouse: see the verdict, then publish")
    if unaccounted:
        problems.append(f"{unaccounted} landed instances have no outcome: de-identify again")
    if rows:
        problems.append(f"{len(rows)} rows of the warehouse belong to no expected instance: publish again")
    return Books(partition=partition, expected=expected, problems=tuple(problems), **counted)


def stored_books(project: Project, site: str, dates: Iterable[dt.date]) -> Iterator[Books]:
    """The stored books of ``site``, skipping days nobody has asked the PACS about; raises SettingsError for no site."""
    project.settings.site(site)
    for date in dates:
        partition = Partition(site, date)
        books = storage.read_books(project.zones.state.partition(partition))
        census = project.manifest(partition, Stage.CENSUS)
        if books is not None:
            yield books
        elif census is not None:
            expected = census.counts["instances"]
            yield Books(partition, expected, 0, 0, 0, 0, ("not worked on yet",) if expected else ())
