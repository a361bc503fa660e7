"""Asks a PACS what it has: C-ECHO and C-FIND in the Study Root model (PS3.4 C)."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType

from pydicom.dataset import Dataset
from pynetdicom import build_context

from pacs_pipeline.errors import Permanent, PipelineError
from pacs_pipeline.pacs import answers
from pacs_pipeline.pacs.association import AcceptedContext, Association, Message
from pacs_pipeline.pacs.command import CommandField
from pacs_pipeline.pacs.connection import Lost
from pacs_pipeline.pacs.division import Answer, every_instance, every_series, every_study
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.identifier import identifier_of
from pacs_pipeline.pacs.negotiation import connect
from pacs_pipeline.pacs.status import PENDING, SUCCESS, failure, is_out_of_resources, lost, says_cut_off
from pacs_pipeline.records import InstanceRef, SeriesRef, StudyRef
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.settings.site import CensusSettings

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_ENOUGH = 1000  # studies without a date that are counted
_TRANSFER_SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


class PacsClient:
    """The queries of one site over one association, which opens with the first and is reused.

    Nothing that names a patient is asked for, and of what describes one only what a filter of the site needs.
    A query either returns the complete answer, if need be in parts, or raises:
    Transient when the PACS is away, busy or hangs up, Permanent when it refuses, cuts its answer off, or
    answers with something that cannot be trusted. Not thread-safe; use one client per thread.
    """

    def __init__(self, site: SiteSettings | Endpoint, census: CensusSettings | None = None) -> None:
        self._endpoint = site if isinstance(site, Endpoint) else Endpoint.of(site)
        self._census = census or (CensusSettings() if isinstance(site, Endpoint) else site.census)
        self._association: Association | None = None

    def __enter__(self) -> PacsClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the association; the next query opens a new one."""
        association, self._association = self._association, None
        if association is not None:
            association.release()

    def check(self) -> str:
        """C-ECHO: returns when the PACS answers, raises when it does not."""
        for response in self._ask("C-ECHO", VERIFICATION, CommandField.C_ECHO_RQ):
            if response.status != SUCCESS:
                raise failure(self._endpoint, "C-ECHO", response.status)
        endpoint = self._endpoint
        return f"{endpoint.ae_title} at {endpoint.host}:{endpoint.port} answers C-ECHO as {endpoint.calling_ae_title}"

    def undated_studies(self) -> int | None:
        """How many studies without a StudyDate the archive tells of, counted up to 1000.

        None when it does not answer that question (Empty Value Matching, PS3.4 C.2.2.2.7, which few archives
        know); 0 is no proof either, since an archive may take the question for a date that no study has.
        """
        query = identifier_of("STUDY", {"StudyDate": '""', "StudyInstanceUID": ""})
        undated: set[str] = set()
        try:
            for response in self._ask("a C-FIND at STUDY level", STUDY_ROOT_FIND, CommandField.C_FIND_RQ, query):
                if response.status not in PENDING:
                    return len(undated) if response.status == SUCCESS else None
                entry = response.data_set()
                if entry is None or answers.text(entry, "StudyDate"):
                    break  # another question was understood: perhaps all studies would come
                undated.add(answers.text(entry, "StudyInstanceUID"))
                if len(undated) >= _ENOUGH:
                    break
        except (PipelineError, ValueError):
            return None
        if self._association is not None:
            self._association.abort()  # the rest of the answer is not waited for
        return len(undated) if len(undated) >= _ENOUGH else None

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        """Every study of a date, with its series.

        A study the PACS lists without any series has an empty ``series``; the caller judges that.
        """
        keys = {
            "StudyDate": study_date.strftime("%Y%m%d"),
            "StudyTime": "",
            "StudyInstanceUID": "",
            "ModalitiesInStudy": "",
            "NumberOfStudyRelatedInstances": "",
            **dict.fromkeys(answers.traits_needed(self._census.filters), ""),
        }
        found = every_study(
            lambda narrowed: self._find("STUDY", {**keys, **narrowed}), self._endpoint, self._census.answer_limit
        )
        studies, elsewhere = answers.studies(found, study_date, self._endpoint)
        if elsewhere:
            log.warning(
                "%s: %d of %d studies in the answer were of another date than %s and were left out",
                self._endpoint.site,
                elsewhere,
                len(found),
                study_date.isoformat(),
            )
        return tuple(replace(study, series=self._find_series(study)) for study in studies)

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        """Every instance of a series, by an IMAGE level query."""
        keys = {
            "StudyInstanceUID": series.StudyInstanceUID,
            "SeriesInstanceUID": series.SeriesInstanceUID,
            "SOPInstanceUID": "",
            "SOPClassUID": "",
        }
        found = every_instance(
            lambda narrowed: self._find("IMAGE", {**keys, **narrowed}),
            series,
            self._endpoint,
            self._census.answer_limit,
        )
        return answers.instances(found, series, self._endpoint)

    def _find_series(self, study: StudyRef) -> tuple[SeriesRef, ...]:
        keys = {
            "StudyInstanceUID": study.StudyInstanceUID,
            "SeriesInstanceUID": "",
            "Modality": "",
            "NumberOfSeriesRelatedInstances": "",
        }
        found = every_series(
            lambda narrowed: self._find("SERIES", {**keys, **narrowed}),
            study,
            self._endpoint,
            self._census.answer_limit,
        )
        return answers.series(found, study, self._endpoint)

    def _find(self, level: str, keys: Mapping[str, str]) -> Answer:
        """One C-FIND to its end, which may be a status that says that the answer is not all."""
        what = f"a C-FIND at {level} level"
        query = identifier_of(level, keys)
        found: list[Dataset] = []
        undecodable = False
        status = SUCCESS
        for response in self._ask(what, STUDY_ROOT_FIND, CommandField.C_FIND_RQ, query):
            if response.status not in PENDING:
                status = response.status
                continue
            try:
                identifier = response.data_set()
            except ValueError:
                identifier = None
            if identifier is None:
                undecodable = True
            else:
                found.append(identifier)
        if status != SUCCESS and not says_cut_off(status) and not is_out_of_resources(status):
            raise self._refusal(level, failure(self._endpoint, what, status))
        if undecodable:
            raise Permanent(
                f"{self._endpoint.where} answered {what} with something that cannot be decoded",
                fix="nothing of this answer was recorded; ask the PACS team to repair these entries of the archive",
            )
        return Answer(found, status)

    def _refusal(self, level: str, error: PipelineError) -> PipelineError:
        if level != "IMAGE":
            return error
        title = self._endpoint.calling_ae_title
        return type(error)(
            error.message,
            fix=(
                "the instances of a series cannot be accounted for without a list of them: ask the PACS team to "
                f"answer C-FIND at IMAGE level for AE title {title} (each query names its study and series)"
            ),
        )

    def _ask(
        self, what: str, service: str, request: CommandField, identifier: Dataset | None = None
    ) -> Iterator[Message]:
        """The responses of a request, of which the last is not pending."""
        association, context = self._connected(service)
        try:
            yield from association.ask(context, request, identifier)
        except Lost as problem:
            raise lost(self._endpoint, what) from problem

    def _connected(self, service: str) -> tuple[Association, AcceptedContext]:
        association = self._association
        if association is None or not association.is_usable:
            self.close()
            contexts = [build_context(uid, _TRANSFER_SYNTAXES) for uid in (VERIFICATION, STUDY_ROOT_FIND)]
            association = self._association = connect(self._endpoint, contexts)
        context = association.context_for(service)
        if context is None:
            name = "C-ECHO" if service == VERIFICATION else "C-FIND in the Study Root model"
            raise Permanent(
                f"{self._endpoint.where} does not offer {name}",
                fix=f"ask the PACS team to allow it for AE title {self._endpoint.calling_ae_title}",
            )
        return association, context
