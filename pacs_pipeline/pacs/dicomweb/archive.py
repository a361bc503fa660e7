"""Asks a DICOMweb service what it has: QIDO-RS (PS3.18 10.6)."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.dataset import Dataset

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.pacs import answers
from pacs_pipeline.pacs.dicomweb.failures import NotThere
from pacs_pipeline.pacs.dicomweb.qido import answer_of
from pacs_pipeline.pacs.dicomweb.service import Service
from pacs_pipeline.pacs.dicomweb.session import Session
from pacs_pipeline.records import InstanceRef, SeriesRef, StudyRef
from pacs_pipeline.settings import FilterSettings, SiteSettings

log = logging.getLogger(__name__)

PAGE = 1000
_MOST_ANSWERS = 1_000_000
_NO_STUDY = "1.2.840.10008.1.1"  # the UID of a service, which no study has

_STUDY = ("StudyDate", "StudyTime", "StudyInstanceUID", "ModalitiesInStudy", "NumberOfStudyRelatedInstances")
_SERIES = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
_INSTANCE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")

Search = Callable[..., list[Any]]


def _unknown(_: list[Dataset]) -> bool | None:
    """Nothing was announced."""
    return None


class DicomwebArchive:
    """The queries of one site (see :class:`Archive`).

    Nothing that names a patient is asked for; what a service adds by itself (PS3.18 10.6.3) is dropped at once.
    """

    def __init__(self, site: SiteSettings | Service, session: Session | None = None) -> None:
        self._service = site if isinstance(site, Service) else Service.of(site)
        filters = FilterSettings() if isinstance(site, Service) else site.census.filters
        self._traits = answers.traits_needed(filters)
        self._session = session or Session(self._service)
        self._client = DICOMwebClient(
            self._service.url, session=self._session, permissive_uid=True, timeout=self._service.timeout
        )
        self._client.set_http_retry_params(retry=False)

    def __enter__(self) -> DicomwebArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next query opens a new one."""
        self._session.close()

    def check(self) -> str:
        """Ask for a study that cannot be: returns when the service answers, raises when it does not."""
        self._page(self._client.search_for_studies, search_filters={"StudyInstanceUID": _NO_STUDY}, limit=1)
        return f"{self._service.url} answers QIDO-RS"

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        """Every study of a date, with its series.

        A study the service lists without any series has an empty ``series``; the caller judges that.
        """
        found = self._find(
            self._client.search_for_studies,
            (*_STUDY, *self._traits),
            key="StudyInstanceUID",
            search_filters={"StudyDate": study_date.strftime("%Y%m%d")},
        )
        studies, elsewhere = answers.studies(found, study_date, self._service)
        if elsewhere:
            log.warning(
                "%s: %d of %d studies in the answer were of another date than %s and were left out",
                self._service.site,
                elsewhere,
                len(found),
                study_date.isoformat(),
            )
        return tuple(replace(study, series=self._find_series(study)) for study in studies)

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        """Every instance of a series; none when the service does not know the series any more."""

        def enough(found: list[Dataset]) -> bool | None:
            announced = series.NumberOfSeriesRelatedInstances
            return None if announced is None else len(answers.instances(found, series, self._service)) >= announced

        try:
            found = self._find(
                self._client.search_for_instances,
                _INSTANCE,
                key="SOPInstanceUID",
                enough=enough,
                study_instance_uid=series.StudyInstanceUID,
                series_instance_uid=series.SeriesInstanceUID,
            )
        except NotThere:
            return ()
        return answers.instances(found, series, self._service)

    def _find_series(self, study: StudyRef) -> tuple[SeriesRef, ...]:

        def enough(found: list[Dataset]) -> bool | None:
            counts = [item.NumberOfSeriesRelatedInstances or 0 for item in answers.series(found, study, self._service)]
            announced = study.NumberOfStudyRelatedInstances
            return True if announced and sum(counts) >= announced else None

        problem = None
        try:
            found = self._find(
                self._client.search_for_series,
                _SERIES,
                key="SeriesInstanceUID",
                enough=enough,
                study_instance_uid=study.StudyInstanceUID,
            )
        except NotThere as unknown:
            problem = unknown
        if problem is not None:  # deleted meanwhile, or hidden: not an archive without series
            raise Transient(
                f"{self._service.where} listed a study and then did not know it",
                fix="run the census again; if it stays so, ask the PACS team why its series are hidden from us",
            )
        return answers.series(found, study, self._service)

    def _find(
        self,
        search: Search,
        fields: Collection[str],
        *,
        key: str,
        enough: Callable[[list[Dataset]], bool | None] = _unknown,
        **options: Any,
    ) -> list[Dataset]:
        """All answers, page by page until nothing new comes. A partial answer is never returned.

        ``enough`` compares what has come with what was announced: yes saves the question for a page that is empty,
        no is an error where the service has no pages.
        """
        found: list[Dataset] = []
        keys: set[str] = set()
        size, more = 0, False  # of the last page that brought something
        while True:
            try:
                page = self._page(search, fields=list(fields), limit=PAGE, offset=len(found), **options)
            except NotThere:
                if not found:
                    raise
                page = []  # how some services say that nothing is left
            read = [answer_of(item, fields) for item in page]
            new = {answers.text(answer, key) for answer in read} - keys
            if not new:
                break
            found += read
            keys |= new
            size, more = len(page), self._session.says_more
            if size < PAGE and not more and enough(found):
                return found
            if len(found) > _MOST_ANSWERS:
                raise self._cut_off("does not come to an end with its answer to a query")
        if more or (not found and self._session.says_more):
            raise self._cut_off("said that it has more than it answered, and did not bring it")
        if page and size == PAGE:
            raise self._cut_off(f"brings the same {PAGE} answers whatever the offset")
        if page and enough(found) is False:
            raise self._cut_off("brings fewer answers than it announced, and the same whatever the offset")
        return found

    def _page(self, search: Search, **options: Any) -> Sequence[object]:
        """One query. Whatever it answers is a list."""
        try:
            page = search(**options)
        except (requests.RequestException, ValueError, RecursionError):  # not JSON, which stands in the error
            page = None
        if not isinstance(page, list):
            raise Permanent(
                f"{self._service.where} answered a query with something that cannot be decoded",
                fix="nothing of this answer was recorded; give the PACS team the form of the query: QIDO-RS, JSON",
            )
        return page

    def _cut_off(self, what: str) -> Permanent:
        return Permanent(
            f"{self._service.where} {what}: the answer cannot be trusted to be complete",
            fix="ask the PACS team to raise the limit of query results, or to make limit and offset work",
        )
