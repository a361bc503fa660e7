"""Reads what is stored of every partition, for the decision which of them are stale and for the books of a range."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator

from pacs_pipeline import storage
from pacs_pipeline.errors import Permanent
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.staleness import PartitionState


def partition_states(
    project: Project,
    *,
    site: str | None = None,
    sites: Collection[str] | None = None,
    first: dt.date = dt.date.min,
    last: dt.date = dt.date.max,
    on_damaged: Callable[[Permanent], None] | None = None,
) -> Iterator[PartitionState]:
    """The state of every partition that has a manifest, in order of site and date.

    A damaged record goes to ``on_damaged``, and its partition is left out: it needs a person, not a run.
    Without ``on_damaged`` it is raised. Holds one site's records in memory at a time, as bytes.
    """
    root = project.zones.state.root
    wanted = (site,) if site is not None else sites
    for records in storage.scan_records(root, sites=wanted, first=first, last=last, on_damaged=on_damaged):
        yield PartitionState(records.partition, records.commits, records.judgement)
