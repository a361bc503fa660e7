"""The archive of a site by its protocol, asked within the site's access hours and limits."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from pacs_pipeline.errors import Paused, Transient
from pacs_pipeline.pacs import (
    Access,
    Archive,
    ContentArchive,
    DicomwebArchive,
    DicomwebRetriever,
    PacsClient,
    Retriever,
    open_dimse_retriever,
)
from pacs_pipeline.records import InstanceRef, SeriesRef, StudyRef
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.access import access_to
from pacs_pipeline.stages.file_archives import FILE_PROTOCOLS, file_archive
from pacs_pipeline.stages.project import Project

T = TypeVar("T")
GIB = 1 << 30


@dataclass(frozen=True)
class Source:
    """A site's archive: how it is opened, and what its access control allows."""

    site: SiteSettings
    access: Access
    open_archive: Callable[[], AbstractContextManager[Archive]]
    open_retriever: Callable[[], AbstractContextManager[Retriever]]

    @classmethod
    def of(cls, project: Project, site: SiteSettings) -> Source:
        """The source that the site's protocol asks for; nothing is opened."""
        return cls(site, access_to(project, site), lambda: _archive(project, site), lambda: _retriever(project, site))

    @property
    def most(self) -> int:
        """How many retrievers may work at once: a C-MOVE has one receiver, and it waits for one request."""
        return 1 if self.site.protocol == "c-move" else self.site.access.associations

    @property
    def minimum_free_bytes(self) -> int:
        """What a harvest leaves free on the disk of the landing zone."""
        return int(self.site.minimum_free_gib * GIB)

    @contextmanager
    def archive(self) -> Iterator[_Polite]:
        """The archive over one association of the site's budget. Raises Paused when the site is closed."""
        self.access.require_open()
        with self.access.association(), self.open_archive() as archive:
            yield _Polite(archive, self.access)

    def by_question(self) -> Archive:
        """The archive for a census: the association lasts for one question.

        A census waits for the lock of its partition with what it was told. Should it keep an association meanwhile,
        a harvest that has the lock and needs the association would wait for it.
        """
        return _ByQuestion(self)


@dataclass(frozen=True)
class _ByQuestion(Archive):
    """Opens the archive for each question."""

    source: Source

    def check(self) -> str:
        with self.source.archive() as archive:
            return archive.check()

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        with self.source.archive() as archive:
            return archive.find_studies(study_date)

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        with self.source.archive() as archive:
            return archive.find_instances(series)

    def fingerprint(self, study_date: dt.date) -> str:
        with self.source.archive() as archive:
            return archive.fingerprint(study_date)


@dataclass(frozen=True)
class _Polite(Archive):
    """Asks only while the site is open, and tells the access control how long the answers take."""

    inner: Archive
    access: Access

    def check(self) -> str:
        return self._asked("echo", self.inner.check)

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        return self._asked("find studies", lambda: self.inner.find_studies(study_date))

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        return self._asked("find instances", lambda: self.inner.find_instances(series))

    def fingerprint(self, study_date: dt.date) -> str:
        """What an archive that knows its content says of a date's; empty from another."""
        inner = self.inner
        if not isinstance(inner, ContentArchive):
            return ""
        return self._asked("fingerprint", lambda: inner.fingerprint(study_date))

    def _asked(self, kind: str, ask: Callable[[], T]) -> T:
        self.access.require_open()
        start = time.monotonic()
        try:
            answer = ask()
        except Paused:
            raise
        except Transient:
            self.access.failed()
            raise
        self.access.observe(kind, time.monotonic() - start)
        self.access.succeeded()
        return answer


def _archive(project: Project, site: SiteSettings) -> AbstractContextManager[Archive]:
    if site.protocol in FILE_PROTOCOLS:
        return file_archive(project, site)
    return DicomwebArchive(site) if site.protocol == "dicomweb" else PacsClient(site)


def _retriever(project: Project, site: SiteSettings) -> AbstractContextManager[Retriever]:
    if site.protocol in FILE_PROTOCOLS:
        return file_archive(project, site)
    return DicomwebRetriever(site) if site.protocol == "dicomweb" else open_dimse_retriever(site)
