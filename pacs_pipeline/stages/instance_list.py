"""The list of every SOPInstanceUID of a range and what became of it, for the steward. Original UIDs: PHI."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pacs_pipeline import storage
from pacs_pipeline.errors import PipelineError
from pacs_pipeline.records import Partition, Stage
from pacs_pipeline.stages.account import Accounted, State, account, nameless
from pacs_pipeline.stages.project import Project

COLUMNS = ("site", "study_date", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "state", "reason")


def write(project: Project, partitions: Iterable[Partition], path: Path) -> tuple[int, int]:
    """Write a row for each instance to a CSV that only its owner can read; one partition at a time is in memory.

    What was announced and never listed has no SOPInstanceUID: one row says how many there are. A partition that
    cannot be read has one row that says why, and the others are written all the same. Returns the rows and how many
    partitions could not be read.
    """
    rows = unread = 0
    with storage.replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for partition in partitions:
            try:
                for instance in _instances(project, partition):
                    writer.writerow((partition.site, partition.key, *instance))
                    rows += 1
            except PipelineError as error:
                writer.writerow((partition.site, partition.key, *_nameless(f"cannot be listed: {error.message}")))
                unread += 1
        text.detach()
    return rows, unread


def _instances(project: Project, partition: Partition) -> Iterator[Accounted]:
    if project.manifest(partition, Stage.CENSUS) is None:
        return
    with project.lock(partition):
        census = project.require(partition, Stage.CENSUS)
        harvest, deidentified = (project.manifest(partition, stage) for stage in (Stage.HARVEST, Stage.DEIDENTIFY))
        states = Counter[State]()
        instances = account(project, partition, harvest, deidentified)
        for instance in instances:
            states[instance.state] += 1
            yield instance
        listed = states.total()
        for state, number in nameless(harvest, states).items() if harvest is not None else ():
            if number:
                listed += number
                yield _nameless(f"{number} instances announced and not listed by the PACS", state)
        if listed < census.counts["instances"]:
            yield _nameless(f"{census.counts['instances'] - listed} instances announced and not listed by the PACS")
        if instances.strays:
            yield _nameless(f"{instances.strays} rows of the warehouse belong to no instance of this day")


def _nameless(reason: str, state: State = State.UNACCOUNTED) -> Accounted:
    return Accounted("", "", "", state, reason)
