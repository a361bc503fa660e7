"""Reads what is stored of every partition, for the decision which of them are stale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from pacs_pipeline import storage
from pacs_pipeline.errors import Permanent
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.received import with_received
from pacs_pipeline.stages.staleness import PartitionState


def partition_states(
    project: Project, *, site: str | None = None, on_damaged: Callable[[Permanent], None] | None = None
) -> Iterator[PartitionState]:
    """The state of every partition that has a manifest or for which something was pushed, in order of site.

    A damaged record goes to ``on_damaged``, and its partition is left out: it needs a person, not a run.
    Without ``on_damaged`` it is raised.
    """

    def note(error: Permanent) -> None:
        if on_damaged is None:
            raise error
        on_damaged(error)

    yield from with_received(project, _stored_states(project, site, note), sites=None if site is None else (site,))


def _stored_states(project: Project, site: str | None, note: Callable[[Permanent], None]) -> Iterator[PartitionState]:
    manifests = storage.scan(project.zones.state.root, site=site, on_damaged=note)
    for partition, group in groupby(manifests, key=lambda manifest: manifest.partition):
        try:
            verdict = storage.read_verdict(project.zones.state.partition(partition))
        except Permanent as error:
            note(error)
            continue
        yield PartitionState(partition, {m.stage: m for m in group}, verdict)
