"""Asks a PACS what it has: C-ECHO and C-FIND in the Study Root model (PS3.4 C)."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType

from pydicom.dataset import Dataset
from pynetdicom import build_context

from pacs_pipeline.errors import Permanent
from pacs_pipeline.pacs import answers
from pacs_pipeline.pacs.association import AcceptedContext, Association, Message
from pacs_pipeline.pacs.command import CommandField
from pacs_pipeline.pacs.connection import Lost
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.identifier import identifier_of
from pacs_pipeline.pacs.negotiation import connect
from pacs_pipeline.pacs.status import PENDING, SUCCESS, failure, lost
from pacs_pipeline.records import InstanceRef, SeriesRef, StudyRef
from pacs_pipeline.settings import SiteSettings

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_TRANSFER_SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


class PacsClient:
    """The queries of one site over one association, which opens with the first and is reused.

    Nothing that names a patient is asked for. A query either returns the complete answer or raises:
    Transient when the PACS is away, busy or hangs up, Permanent when it refuses, cuts its answer off, or
    answers with something that cannot be trusted. Not thread-safe; use one client per thread.
    """

    def __init__(self, site: SiteSettings | Endpoint) -> None:
        self._endpoint = site if isinstance(site, Endpoint) else Endpoint.of(site)
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
        for _ in self._ask("C-ECHO", VERIFICATION, CommandField.C_ECHO_RQ):
            pass
        endpoint = self._endpoint
        return f"{endpoint.ae_title} at {endpoint.host}:{endpoint.port} answers C-ECHO as {endpoint.calling_ae_title}"

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        """Every study of a date, with its series.

        A study the PACS lists without any series has an empty ``series``; the caller judges that.
        """
        found = self._find(
            "STUDY",
            {
                "StudyDate": study_date.strftime("%Y%m%d"),
                "StudyTime": "",
                "StudyInstanceUID": "",
                "ModalitiesInStudy": "",
                "NumberOfStudyRelatedInstances": "",
            },
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
        found = self._find(
            "IMAGE",
            {
                "StudyInstanceUID": series.StudyInstanceUID,
                "SeriesInstanceUID": series.SeriesInstanceUID,
                "SOPInstanceUID": "",
                "SOPClassUID": "",
            },
        )
        return answers.instances(found, series, self._endpoint)

    def _find_series(self, study: StudyRef) -> tuple[SeriesRef, ...]:
        found = self._find(
            "SERIES",
            {
                "StudyInstanceUID": study.StudyInstanceUID,
                "SeriesInstanceUID": "",
                "Modality": "",
                "NumberOfSeriesRelatedInstances": "",
            },
        )
        return answers.series(found, study, self._endpoint)

    def _find(self, level: str, keys: Mapping[str, str]) -> list[Dataset]:
        """One C-FIND to its end. A partial answer is never returned."""
        what = f"a C-FIND at {level} level"
        query = identifier_of(level, keys)
        found: list[Dataset] = []
        undecodable = False
        for response in self._ask(what, STUDY_ROOT_FIND, CommandField.C_FIND_RQ, query):
            try:
                identifier = response.data_set()
            except ValueError:
                identifier = None
            if identifier is None:
                undecodable = True
            else:
                found.append(identifier)
        if undecodable:
            raise Permanent(
                f"{self._endpoint.where} answered {what} with something that cannot be decoded",
                fix="nothing of this answer was recorded; ask the PACS team to repair these entries of the archive",
            )
        return found

    def _ask(
        self, what: str, service: str, request: CommandField, identifier: Dataset | None = None
    ) -> Iterator[Message]:
        """The pending responses of a request that ends with Success; raises when it ends otherwise."""
        association, context = self._connected(service)
        try:
            for response in association.ask(context, request, identifier):
                if response.status in PENDING:
                    yield response
                elif response.status != SUCCESS:
                    raise failure(self._endpoint, what, response.status)
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
