"""The account of a partition, instance by instance: what became of every SOPInstanceUID the PACS listed.

Books are sums over it and the list for the steward is written from it, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from pacs_pipeline import storage, warehouse
from pacs_pipeline.records import Manifest, Partition
from pacs_pipeline.stages.landing_zone import DELETED, EXCLUDED, UNAVAILABLE, UNEXPECTED, UNLISTED
from pacs_pipeline.stages.ledger import QUARANTINED, RELEASED
from pacs_pipeline.stages.project import Project

NOT_IN_WAREHOUSE = "clean, but not in the warehouse"
NO_OUTCOME = "landed, but not de-identified"

Row = Mapping[str, Any]


class State(StrEnum):
    """What became of an instance; only the last one keeps the books open."""

    PUBLISHED = "published"
    EXCLUDED = "excluded"
    QUARANTINED = "quarantined"
    UNAVAILABLE = "unavailable"
    UNACCOUNTED = "unaccounted"


class Accounted(NamedTuple):
    """One instance and what became of it. The UIDs are the original ones: PHI."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    state: State
    reason: str


@dataclass
class Account:
    """The instances of one partition; iterate over it once, then ``strays`` and ``deleted`` are known.

    ``listed`` are the rows of the harvest, ``outcomes`` those of the de-identification, ``published`` the
    warehouse's own SHA-256 of each SOPInstanceUID. Keeps a few short strings for each instance in memory.
    """

    listed: Iterable[Row]
    outcomes: Iterable[Row]
    published: dict[str, str]
    deleted: int = 0  # of the instances: kept, although the archive does not list them any more
    _seen: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Accounted]:
        outcomes = {
            row["source_sop_instance_uid"]: (
                row["outcome"],
                row["deidentified_sop_instance_uid"],
                row["sha256"],
                ": ".join(part for part in (row["reason"], row["detail"]) if part),
            )
            for row in self.outcomes
        }
        for row in self.listed:
            uid = row["SOPInstanceUID"]
            withdrawn = row["status"] == DELETED and not row["path"]
            if row["status"] == UNEXPECTED or withdrawn or uid in self._seen:
                continue
            self._seen.add(uid)
            self.deleted += row["status"] == DELETED
            state, reason = self._state(row["status"], row["detail"], outcomes.get(uid))
            yield Accounted(row["StudyInstanceUID"], row["SeriesInstanceUID"], uid, state, reason)

    @property
    def strays(self) -> int:
        """Rows of the warehouse that belong to no instance of the account."""
        return len(self.published)

    def _state(self, status: str, detail: str, outcome: tuple[str, str | None, str, str] | None) -> tuple[State, str]:
        if status == EXCLUDED:  # should it have been published before, its row is a stray
            return State.EXCLUDED, detail
        if outcome is not None:
            kind, new_uid, sha256, why = outcome
            if kind == RELEASED:
                if new_uid is not None and self.published.pop(new_uid, None) == sha256:
                    return State.PUBLISHED, ""
                return State.UNACCOUNTED, NOT_IN_WAREHOUSE
            if kind == QUARANTINED:
                return State.QUARANTINED, why
        if status == UNAVAILABLE:
            return State.UNAVAILABLE, detail
        return State.UNACCOUNTED, NO_OUTCOME


def account(project: Project, partition: Partition, harvest: Manifest | None, deidentified: Manifest | None) -> Account:
    """The account of ``partition`` from its verified tables and the rows of the warehouse itself.

    What has not happened yet is None. Call it with the partition's lock held. Raises Permanent when a table is not
    what was committed, Busy while a load runs.
    """
    for manifest in (harvest, deidentified):
        if manifest is not None:
            project.verify_tables(manifest)
    columns = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "status", "detail", "path"]
    return Account(
        listed=_rows(project, harvest, "harvest", columns),
        outcomes=_rows(project, deidentified, "outcomes"),
        published=warehouse.published_instances(project.settings.warehouse.path, project.partition_id(partition)),
    )


def nameless(harvest: Manifest, listed: Mapping[State, int]) -> dict[State, int]:
    """How many instances were announced and have no UID, by what became of them, beside those ``listed``.

    Excluded ones that nobody needs to know, and those of series that the archive could not list in any of the tries.
    """
    excluded = harvest.counts.get(EXCLUDED, 0) - listed.get(State.EXCLUDED, 0)
    return {State.EXCLUDED: max(excluded, 0), State.UNAVAILABLE: harvest.counts.get(UNLISTED, 0)}


def _rows(project: Project, manifest: Manifest | None, table: str, columns: list[str] | None = None) -> Iterable[Row]:
    if manifest is None:
        return ()
    return storage.read_rows(project.zones.root / manifest.tables[table].path, columns)
