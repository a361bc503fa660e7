"""Brings the missing instances of a series over WADO-RS (PS3.18 10.4) and accounts for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from urllib.parse import quote

from pacs_pipeline.errors import Paused, PipelineError, Quarantine
from pacs_pipeline.pacs.connection import Lost
from pacs_pipeline.pacs.dicomweb import failures
from pacs_pipeline.pacs.dicomweb.finishing import Finishing
from pacs_pipeline.pacs.dicomweb.multipart import Malformed, Multipart
from pacs_pipeline.pacs.dicomweb.part10 import read_file_meta
from pacs_pipeline.pacs.dicomweb.service import Service
from pacs_pipeline.pacs.dicomweb.session import Body, Session, boundary, media_type
from pacs_pipeline.pacs.landing import Arrival, Delivery, Landing
from pacs_pipeline.pacs.uids import is_uid
from pacs_pipeline.records import InstanceRef, Reason, RetrievalFailure, RetrievalReport
from pacs_pipeline.settings import SiteSettings

ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Instances as they are stored: without the last parameter a service may decompress them (PS3.18 8.7.3.5.2)."""

_WHAT = "a retrieval"
_CHUNK = 1 << 18
_AT_ONCE = 1 << 22  # bytes of an instance that are held, to be written beside the reading of the next one
_LOSSES = 2  # one after another; then nobody is there any more
_REFUSALS = 3  # for different instances, and nothing else: the service does not offer what we ask for
_AWAY = frozenset({502, 504})  # what a proxy says of the service behind it


class DicomwebRetriever:
    """Brings instances of one site (see :class:`Retriever`)."""

    def __init__(self, site: SiteSettings | Service, session: Session | None = None) -> None:
        self._session = session or Session(site if isinstance(site, Service) else Service.of(site))

    def __enter__(self) -> DicomwebRetriever:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next request opens a new one."""
        self._session.close()

    def retrieve(self, landing: Landing, expected: Sequence[InstanceRef]) -> RetrievalReport:
        """Fetch what is missing of the series of ``landing``; see :class:`Retriever`."""
        classes = {ref.SOPInstanceUID: ref.SOPClassUID for ref in expected}
        with Finishing() as finishing:
            pursuit = _Pursuit(self._session, landing, finishing, classes)
            pursuit.follow(whole=landing.missing.issuperset(classes))
        return pursuit.report()


class _Unanswered(Exception):
    """A request brought no instances, or not all: in words, why. ``refusal`` when that says nothing of an instance."""

    def __init__(self, message: str, refusal: PipelineError | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.refusal = refusal


class _DiskFull(Exception):
    """Nothing more can be written; what else would come is not asked for."""


@dataclass
class _Pursuit:
    """One call of ``retrieve``: first the whole series, then instance by instance what that did not bring."""

    session: Session
    landing: Landing
    finishing: Finishing
    classes: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)  # of instances that did not come, why
    refusals: list[PipelineError] = field(default_factory=list)
    answered: bool = False  # for one instance at least, whatever the answer
    broken: str = ""  # how the service was lost

    def follow(self, *, whole: bool) -> None:
        """Ask until each instance has landed or the service has answered for it."""
        try:
            if not (whole and self._series()):
                self._instances()
        except _DiskFull:
            pass  # every instance that it hit is refused with a status that says so
        except Paused:
            raise
        except PipelineError as problem:
            if not self.landing.deliveries:
                raise
            self.broken = problem.message

    def _series(self) -> bool:
        """Ask for the whole series; whether there is no use in asking for its instances."""
        try:
            self._fetch("")
        except _Unanswered:
            pass  # some services cannot do it for this series, or at all
        except Lost:
            if self.landing.deliveries:
                self.broken = failures.lost(self.session.service, _WHAT).message
        return bool(self.broken)

    def _instances(self) -> None:
        losses = 0
        for uid in sorted(self.landing.open):
            try:
                self._fetch(uid)
            except _Unanswered as why:
                losses = 0
                self.said[uid] = why.message
                self._refused(why.refusal)
            except Lost:
                losses += 1
                lost = failures.lost(self.session.service, _WHAT)
                self.broken = lost.message
                self.said[uid] = "the connection was lost while it was asked for"
                if losses == _LOSSES:
                    break
            else:
                losses = 0
                self.answered = True
        if self.broken and not self.landing.deliveries and not self.answered:
            raise failures.lost(self.session.service, _WHAT)
        if self.refusals and not self.landing.deliveries and not self.answered:
            raise self.refusals[0]

    def _refused(self, refusal: PipelineError | None) -> None:
        if refusal is None:
            self.answered = True
        else:
            self.refusals.append(refusal)
            if len(self.refusals) == _REFUSALS and not self.answered and not self.landing.deliveries:
                raise refusal

    def _fetch(self, uid: str) -> None:
        """Make one request, for the whole series when ``uid`` is empty, and take what it brings.

        Raises Lost, _Unanswered, _DiskFull, and what :meth:`Session.open` raises; what came until then is kept.
        """
        try:
            self._request(uid)
        finally:
            self.finishing.wait()
        if self.finishing.is_full:
            raise _DiskFull
        if uid in self.landing.open:
            raise _Unanswered(f"the service did not send it although it answered with {failures.in_words(200)}")

    def _request(self, uid: str) -> None:
        response = self.session.open(self._url(uid), ACCEPT, _WHAT)
        with response:
            self._judge(response.status_code, one=bool(uid))
            body = Body(response)
            kind = media_type(response)
            try:
                if kind.startswith("multipart/"):
                    self._take_parts(Multipart(body.read, self._boundary(boundary(response))), uid)
                    body.finish()
                elif kind in ("application/dicom", "application/octet-stream"):  # what many send for one instance
                    self._take(iter(_chunks(body)), uid)
                elif response.status_code == 204:
                    raise _Unanswered(f"the service answered with {failures.in_words(204)}")
                else:
                    refusal = failures.not_dicom(self.session.service, _WHAT, kind)
                    words = f"the service answered with {failures.in_words(response.status_code)} and no DICOM"
                    raise _Unanswered(words, refusal)
            except (Malformed, Quarantine) as problem:
                self.session.forget_connections()
                detail = problem.detail if isinstance(problem, Quarantine) else str(problem)
                raise _Unanswered(f"the answer of the service cannot be used: {detail}") from None

    def _judge(self, status: int, *, one: bool) -> None:
        """Go on only with an answer that can hold instances."""
        if 200 <= status < 300:
            return
        service, words = self.session.service, f"the service answered with {failures.in_words(status)}"
        problem = failures.failure(service, _WHAT, status)
        if status == failures.UNAUTHORIZED or (status == failures.FORBIDDEN and not self.landing.deliveries):
            raise problem
        if status in _AWAY and one:
            raise Lost(words)
        raise _Unanswered(words, problem if status in failures.NOT_LIKE_THIS else None)

    def _boundary(self, named: bytes) -> bytes:
        if not named:
            raise Malformed("its header names no boundary")
        return named

    def _take_parts(self, message: Multipart, uid: str) -> None:
        for part in message.parts():
            try:
                self._take(part, uid)
            except Quarantine:
                if uid:
                    raise
                # which instance it was meant to be is not known: the one that misses is asked for by name

    def _take(self, chunks: Iterator[memoryview], uid: str) -> None:
        """One file into the landing zone. Raises Quarantine for what is no DICOM file."""
        meta, begin = read_file_meta(chunks)
        if not is_uid(meta.TransferSyntaxUID):
            raise Quarantine(Reason.UNREADABLE, "its File Meta Information names no transfer syntax")
        instance = meta.MediaStorageSOPInstanceUID or uid  # the data set is asked whether that is true
        sop_class = meta.MediaStorageSOPClassUID or self.classes.get(instance, "")
        delivery = Delivery(sop_class, instance, meta.TransferSyntaxUID, solicited=True)
        arrival = self.landing.begin(delivery)
        pieces, held = [memoryview(begin)], len(begin)
        try:
            for chunk in chunks:
                pieces.append(chunk)
                held += len(chunk)
                if held > _AT_ONCE:
                    _write(arrival, pieces)
                    pieces, held = [], 0
                    if arrival.problem:
                        break
        except BaseException:
            arrival.abandon()
            raise
        self.finishing.add(partial(_finish, self.landing, arrival, pieces))
        if arrival.problem or self.finishing.is_full:
            raise _DiskFull

    def _url(self, uid: str) -> str:
        series = self.landing.series
        address = f"{self.session.service.url}/studies/{quote(series.StudyInstanceUID, safe='')}"
        address += f"/series/{quote(series.SeriesInstanceUID, safe='')}"
        return f"{address}/instances/{quote(uid, safe='')}" if uid else address

    def report(self) -> RetrievalReport:
        """The account of every missing instance."""
        landing, series = self.landing, self.landing.series.SeriesInstanceUID
        failed = [RetrievalFailure(series, "", None, self.broken)] if self.broken else []
        otherwise = "the disk was full" if self.finishing.is_full else "the service was lost"
        failed += (
            RetrievalFailure(series, uid, None, self.said.get(uid, f"{otherwise} before it was sent"))
            for uid in sorted(landing.open)
        )
        return RetrievalReport(
            landed=tuple(landing.landed[uid] for uid in sorted(landing.landed)),
            failures=(*failed, *landing.failures),
            unexpected=tuple(landing.unexpected[uid] for uid in sorted(landing.unexpected)),
            duplicates=landing.duplicates,
        )


def _finish(landing: Landing, arrival: Arrival, pieces: Sequence[memoryview]) -> int:
    """Write what is left of an instance, and end it; its digest is made here too."""
    _write(arrival, pieces)
    status = arrival.finish()
    landing.catch_up()
    return status


def _write(arrival: Arrival, pieces: Sequence[memoryview]) -> None:
    for piece in pieces:
        arrival.write(piece)


def _chunks(body: Body) -> Iterator[memoryview]:
    while chunk := body.read(_CHUNK):
        yield memoryview(chunk)
