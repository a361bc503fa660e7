"""What every way to an archive offers, whatever the protocol: it says what it has, and brings it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pacs_pipeline.records import InstanceRef, RetrievalReport, SeriesRef, StudyRef


class Archive(Protocol):
    """Says what a site has. A context manager; one thread at a time.

    A question either gets the complete answer or raises: Transient when the archive is away, busy or breaks off,
    Permanent when it refuses, cuts its answer off, or answers with something that cannot be trusted.
    """

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def check(self) -> str:
        """Ask whether the archive is there; what it said, in words."""
        ...

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        """Every study of a date with its series, in order of UID."""
        ...

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        """Every instance of a series, each once, in order of UID."""
        ...


class Retriever(Protocol):
    """Brings instances of a site. A context manager; one thread at a time."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def retrieve(
        self, series: SeriesRef, expected: Sequence[InstanceRef], missing: Collection[str], into: Path
    ) -> RetrievalReport:
        """Fetch the ``missing`` SOP Instance UIDs of a series into the folder ``into``.

        ``expected`` is the archive's own list of the series. Every missing UID is in the report once, landed or
        failed; what landed is durable. When the archive is lost in the middle, what came before is reported,
        with a failure of the request (empty SOPInstanceUID, status None) beside those of the instances.
        Raises Transient when nothing came because the archive is away, Permanent when it refuses the request.
        """
        ...
