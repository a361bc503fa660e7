"""What every way to an archive offers, whatever the protocol: it says what it has, and brings it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pacs_pipeline.pacs.landing import Landing
from pacs_pipeline.records import InstanceRef, RetrievalReport, SeriesRef, StudyRef


class Archive(Protocol):
    """Says what a site has; one thread at a time.

    A question either gets the complete answer or raises: Transient when the archive is away, busy or breaks off,
    Permanent when it refuses, cuts its answer off, or answers with something that cannot be trusted.
    """

    def check(self) -> str:
        """Ask whether the archive is there; what it said, in words."""
        ...

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        """Every study of a date with its series, in order of UID."""
        ...

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        """Every instance of a series, each once, in order of UID."""
        ...


@runtime_checkable
class ContentArchive(Protocol):
    """An archive that can tell a date's content from another without fetching it."""

    def fingerprint(self, study_date: dt.date) -> str:
        """Changes with anything that belongs to the studies of a date, counts or not; empty when there are none."""
        ...


class Retriever(Protocol):
    """Brings instances of a site; one thread at a time."""

    def retrieve(self, landing: Landing, expected: Sequence[InstanceRef]) -> RetrievalReport:
        """Fetch what is missing of the series of ``landing`` to there.

        ``expected`` is the archive's own list of the series. Every missing UID is in the report once, landed or
        failed; what landed is durable. When the archive is lost in the middle, what came before is reported,
        with a failure of the request (empty SOPInstanceUID, status None) beside those of the instances.
        Raises Transient when nothing came because the archive is away, Permanent when it refuses the request,
        and Paused when the landing's gate closes.
        """
        ...
