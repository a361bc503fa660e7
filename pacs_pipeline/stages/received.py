"""What a census of a partition answers besides the counts: instances that were received, content that is another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from pacs_pipeline import storage
from pacs_pipeline.pacs import Archive, ContentArchive
from pacs_pipeline.records import Partition
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.staleness import PartitionState

RECEIVED, CONTENT = "received", "content"
"""Inputs of a census."""


def received_input(project: Project, partition: Partition) -> dict[str, str]:
    """The mark that a census which begins now answers; take it before the archive is asked."""
    mark = storage.take_mark(project.zones.state.partition(partition))
    return {RECEIVED: mark} if mark else {}


def content_input(archive: Archive, partition: Partition) -> dict[str, str]:
    """What tells the content of the date from another, where the archive can."""
    content = archive.fingerprint(partition.study_date) if isinstance(archive, ContentArchive) else ""
    return {CONTENT: content} if content else {}


def with_received(
    project: Project, states: Iterable[PartitionState], *, sites: Collection[str] | None = None
) -> Iterator[PartitionState]:
    """The states (in order of site) with the marks of what was pushed, and those of partitions that have only a mark.

    Only sites that push are looked at, one after the other.
    """
    pushing = {each.name for each in project.settings.sites if each.protocol == "push"}
    if sites is not None:
        pushing &= set(sites)
    for name, group in groupby(states, key=lambda state: state.partition.site):
        marks = _marks(project, name) if name in pushing else {}
        pushing.discard(name)
        for state in group:
            mark = marks.pop(state.partition, "")
            yield replace(state, received=mark) if mark else state
        yield from _marked_only(project, marks)
    for name in sorted(pushing):
        yield from _marked_only(project, _marks(project, name))


def _marks(project: Project, site: str) -> dict[Partition, str]:
    return dict(storage.marks(project.zones.state.root, site))


def _marked_only(project: Project, marks: Mapping[Partition, str]) -> Iterator[PartitionState]:
    for partition, mark in marks.items():
        if not (project.zones.state.partition(partition) / "census.json").exists():  # else damaged: for a person
            yield PartitionState(partition, {}, received=mark)
