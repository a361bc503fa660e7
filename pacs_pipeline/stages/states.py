"""Reads what is stored of every partition, for the decision which of them are stale."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from pacs_pipeline import storage
from pacs_pipeline.errors import Permanent
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.received import with_received
from pacs_pipeline.stages.staleness import PartitionState


def partition_states(
    project: Project,
    *,
    site: str | None = None,
    sites: Collection[str] | None = None,
    on_damaged: Callable[[Permanent], None] | None = None,
) -> Iterator[PartitionState]:
    """The state of every partition that has a manifest or for which something was pushed, in order of site.

    A damaged record goes to ``on_damaged``, and its partition is left out: it needs a person, not a run.
    Without ``on_damaged`` it is raised. Holds one site's records in memory at a time, as bytes.
    """
    wanted = (site,) if site is not None else sites
    yield from with_received(project, _stored_states(project, wanted, on_damaged), sites=wanted)


def _stored_states(
    project: Project, sites: Collection[str] | None, on_damaged: Callable[[Permanent], None] | None
) -> Iterator[PartitionState]:
    for records in storage.scan_records(project.zones.state.root, sites=sites):
        if isinstance(records, storage.Damaged):
            if on_damaged is None:
                raise records.error
            on_damaged(records.error)
        elif records.commits:
            yield state_of(records)


def state_of(records: storage.Records) -> PartitionState:
    """The state of one partition from its records."""
    return PartitionState(records.partition, records.commits, records.judgement)
