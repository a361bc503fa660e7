"""Reconcile: make up the books of a partition, instance by instance, from what is really there."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator

from pacs_pipeline import storage
from pacs_pipeline.records import Books, Manifest, Partition, Stage, VerdictStatus
from pacs_pipeline.stages.account import NO_OUTCOME, NOT_IN_WAREHOUSE, State, account, nameless
from pacs_pipeline.stages.books import DayStatus, day_of
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
    instances = account(project, partition, harvest, deidentified)
    counted = Counter(
        (instance.state, instance.reason if instance.state is State.UNACCOUNTED else "") for instance in instances
    )
    state = Counter[State]()
    for (each, _), number in counted.items():
        state[each] += number
    for each, number in nameless(harvest, state).items():
        state[each] += number
    listed, announced = state.total() - instances.deleted, census.counts["instances"]

    problems = []
    if listed < announced:
        problems.append(f"the PACS announced {announced} instances and listed {listed}: run the census again")
    if harvest.inputs["census"] != census.digest:
        problems.append("the census changed after the harvest: run the partition again")
    if deidentified.inputs["harvest"] != harvest.digest:
        problems.append("the harvest changed after the de-identification: run the partition again")
    if unpublished := counted[State.UNACCOUNTED, NOT_IN_WAREHOUSE]:
        problems.append(f"{unpublished} clean instances are not in the warehouse: see the verdict, then publish")
    if unaccounted := counted[State.UNACCOUNTED, NO_OUTCOME]:
        problems.append(f"{unaccounted} landed instances have no outcome: de-identify again")
    if instances.strays:
        problems.append(f"{instances.strays} rows of the warehouse belong to no expected instance: publish again")
    return Books(
        partition=partition,
        expected=max(state.total(), announced),
        published=state[State.PUBLISHED],
        excluded=state[State.EXCLUDED],
        quarantined=state[State.QUARANTINED],
        unavailable=state[State.UNAVAILABLE],
        problems=tuple(problems),
    )


def stored_books(project: Project, site: str, dates: Iterable[dt.date]) -> Iterator[Books]:
    """The stored books of ``site``, skipping days nobody has asked the PACS about; raises SettingsError for no site."""
    project.settings.site(site)
    for date in dates:
        records = storage.read_records(project.zones.state.partition(Partition(site, date)))
        if records is not None and (day := day_of(records)).status is not DayStatus.NOT_ASKED:
            yield day.books
