"""Brings the missing instances of a series over C-GET or C-MOVE (PS3.4 C.4.2, C.4.3) and accounts for each."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from pydicom.dataset import Dataset
from pynetdicom import build_context

from pacs_pipeline.errors import Paused, Permanent, Transient
from pacs_pipeline.pacs import status as dimse
from pacs_pipeline.pacs.answers import text
from pacs_pipeline.pacs.association import AcceptedContext, Association, Message
from pacs_pipeline.pacs.command import CommandField, number
from pacs_pipeline.pacs.connection import Lost
from pacs_pipeline.pacs.contexts import Proposal, proposals
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.identifier import identifier_of
from pacs_pipeline.pacs.landing import OUT_OF_RESOURCES, Arrival, Landing
from pacs_pipeline.pacs.negotiation import connect
from pacs_pipeline.pacs.receiver import StorageReceiver, delivery, open_receiver
from pacs_pipeline.pacs.uids import is_uid
from pacs_pipeline.records import InstanceRef, RetrievalFailure, RetrievalReport, SeriesRef
from pacs_pipeline.settings import SiteSettings

log = logging.getLogger(__name__)

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
UIDS_PER_REQUEST = 100
_TRANSFER_SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_REFUSALS = frozenset({dimse.MOVE_DESTINATION_UNKNOWN, dimse.SOP_CLASS_NOT_SUPPORTED, dimse.NOT_AUTHORISED})


class Route(Protocol):
    """One way to make requests."""

    @property
    def alternative(self) -> bool:
        """Whether this way is only for instances that failed in the one before."""

    def carries(self, sop_class: str) -> bool:
        """Whether instances of this class, or of a class that is not told (empty), can come this way."""

    def request(self, landing: Landing, uids: Sequence[str]) -> Outcome:
        """Make one request, at SERIES level when ``uids`` is empty, and wait for its end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended. ``status`` is None when the association was lost."""

    status: int | None
    failed: frozenset[str] = frozenset()  # FailedSOPInstanceUIDList
    completed: int | None = None  # what the PACS says it sent
    answered: bool = False  # anything at all came back


class DimseRetriever(ABC):
    """Brings instances of one site (see :class:`Retriever`). What it holds open is shared by all its requests."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._association: Association | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the association; the next request opens a new one."""
        association, self._association = self._association, None
        if association is not None:
            association.release()

    def retrieve(self, landing: Landing, expected: Sequence[InstanceRef]) -> RetrievalReport:
        """Fetch what is missing of the series of ``landing``; see :class:`Retriever`."""
        with ThreadPoolExecutor(1, "digest") as executor:
            landing.executor = executor
            try:
                return self._pursue(landing, expected)
            finally:
                landing.executor = None

    def _pursue(self, landing: Landing, expected: Sequence[InstanceRef]) -> RetrievalReport:
        pursuit = _Pursuit(self._endpoint, landing)
        classes = {ref.SOPInstanceUID: ref.SOPClassUID for ref in expected}
        everything = landing.missing.issuperset(classes)
        for route in self._routes(landing.series.Modality, {classes.get(uid, "") for uid in landing.missing}):
            left = pursuit.failed if route.alternative else landing.open
            uids = [uid for uid in sorted(left) if route.carries(classes.get(uid, ""))]
            pursuit.follow(route, uids, whole=everything and len(uids) == len(landing.missing))
        return pursuit.report()

    @abstractmethod
    def _routes(self, modality: str, sop_classes: Collection[str]) -> Iterable[Route]:
        """The ways to take, one after the other, to get instances of these classes; empty: class not told."""

    def _context(self, association: Association, service: str, name: str, other: str) -> AcceptedContext:
        context = association.context_for(service)
        if context is None:
            self.close()
            raise Permanent(
                f"{self._endpoint.where} does not offer {name}",
                fix=f"ask the PACS team to allow it for AE title {self._endpoint.calling_ae_title}, "
                f"or set the site's protocol to {other}",
            )
        return context


class CGetRetriever(DimseRetriever):
    """Retrieval over the association we open: nothing has to reach us, which suits firewalls."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._proposal: Proposal | None = None

    def _routes(self, modality: str, sop_classes: Collection[str]) -> Iterable[Route]:
        return (_GetRoute(self, proposal) for proposal in proposals(sop_classes, modality))

    def request(self, proposal: Proposal, landing: Landing, uids: Sequence[str]) -> Outcome:
        """One C-GET over an association with these storage contexts."""
        association = self._connected(proposal)
        context = self._context(association, STUDY_ROOT_GET, "C-GET in the Study Root model", "c-move")

        def store(message: Message) -> Arrival:
            if landing.is_full:  # the rest would be read for nothing
                association.abort()
                raise Lost("there is no room for what comes")
            return landing.begin(delivery(message, solicited=True))

        identifier = _identifier(landing.series, uids)
        try:
            return _outcome(
                association.ask(context, CommandField.C_GET_RQ, identifier, store=store, meanwhile=landing.catch_up)
            )
        except Paused:
            association.abort()
            raise

    def _connected(self, proposal: Proposal) -> Association:
        association, current = self._association, self._proposal
        if association is not None and association.is_usable and current is not None and current.covers(proposal):
            return association
        self.close()
        contexts = [build_context(STUDY_ROOT_GET, _TRANSFER_SYNTAXES), *proposal.contexts]
        self._association = connect(self._endpoint, contexts, roles=proposal.roles)
        self._proposal = proposal
        return self._association


@dataclass(frozen=True, slots=True)
class _GetRoute:
    """C-GET with one set of storage contexts."""

    retriever: CGetRetriever
    proposal: Proposal

    @property
    def alternative(self) -> bool:
        return self.proposal.alternative

    def carries(self, sop_class: str) -> bool:
        return sop_class in ("", *self.proposal.sop_classes)

    def request(self, landing: Landing, uids: Sequence[str]) -> Outcome:
        return self.retriever.request(self.proposal, landing, uids)


class CMoveRetriever(DimseRetriever):
    """Retrieval to our own receiver, which the PACS knows by AE title, host and port."""

    def __init__(self, endpoint: Endpoint, receiver: StorageReceiver) -> None:
        super().__init__(endpoint)
        self._receiver = receiver

    def __enter__(self) -> Self:
        self._receiver.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            self._receiver.__exit__(kind, error, traceback)

    def _routes(self, modality: str, sop_classes: Collection[str]) -> Iterable[Route]:  # noqa: ARG002 - any goes
        return (_MoveRoute(self, alternative=False), _MoveRoute(self, alternative=True))

    def request(self, landing: Landing, uids: Sequence[str], *, compressed_first: bool) -> Outcome:
        """One C-MOVE to the receiver. The PACS is not silent as long as instances arrive there."""
        association = self._connected()
        context = self._context(association, STUDY_ROOT_MOVE, "C-MOVE in the Study Root model", "c-get")
        receiver, timeout = self._receiver, self._endpoint.timeout
        message_id = association.next_message_id()
        before = landing.deliveries
        cause = self._endpoint.calling_ae_title, message_id
        receiver.expect(landing, cause, compressed_first=compressed_first, pause=association.hang_up)
        try:
            outcome = _outcome(
                association.ask(
                    context,
                    CommandField.C_MOVE_RQ,
                    _identifier(landing.series, uids),
                    patience=lambda: timeout - receiver.silence,
                    MessageID=message_id,
                    MoveDestination=receiver.ae_title,
                )
            )
            if landing.paused is not None:
                raise landing.paused
            if outcome.status is not None:
                announced = None if outcome.completed is None else before + outcome.completed
                receiver.settle(landing, announced, failed=outcome.status != dimse.SUCCESS)
            return outcome
        finally:
            receiver.refuse_all()

    def _connected(self) -> Association:
        association = self._association
        if association is None or not association.is_usable:
            self.close()
            association = connect(self._endpoint, [build_context(STUDY_ROOT_MOVE, _TRANSFER_SYNTAXES)])
            self._association = association
        return association


@dataclass(frozen=True, slots=True)
class _MoveRoute:
    """C-MOVE, with our choice where the PACS leaves the transfer syntax to us."""

    retriever: CMoveRetriever
    alternative: bool

    def carries(self, sop_class: str) -> bool:  # noqa: ARG002 - the receiver takes any
        return True

    def request(self, landing: Landing, uids: Sequence[str]) -> Outcome:
        return self.retriever.request(landing, uids, compressed_first=self.alternative)


def open_dimse_retriever(site: SiteSettings) -> DimseRetriever:
    """C-GET or C-MOVE, as a site's settings ask; open it with ``with``."""
    endpoint = Endpoint.of(site)
    if site.protocol == "c-get" or site.receiver is None:  # the settings guarantee a receiver for c-move
        return CGetRetriever(endpoint)
    receiver = open_receiver(site.receiver, timeout=site.timeout_seconds)
    return CMoveRetriever(endpoint, receiver)


@dataclass
class _Pursuit:
    """One call of ``retrieve``: request after request, from the whole series down to single instances.

    Archives differ in what they do at the first instance they cannot send: some go on, some end the request
    without a word about the rest, some ignore lists of UIDs. So what is still open after a request is asked
    for again in a smaller one, until the PACS has answered for each instance.
    """

    endpoint: Endpoint
    landing: Landing
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    broken: str = ""  # how the PACS was lost, or that the disk was
    lists_work: bool = False

    @property
    def failed(self) -> frozenset[str]:
        """What the PACS knows and could not send; an instance it does not know comes no other way either."""
        return frozenset(uid for uid in self.landing.open if self.outcomes[uid].status != dimse.SUCCESS)

    def follow(self, route: Route, uids: Sequence[str], *, whole: bool) -> None:
        """Ask for ``uids`` until each has landed or the PACS has answered for it."""
        settled: set[str] = set()

        def rest() -> list[str]:
            return [uid for uid in uids if uid in self.landing.open and uid not in settled]

        if whole and rest():
            settled |= self._ask(route, uids, ())
        for size in (UIDS_PER_REQUEST, 1):
            for chunk in _chunks(rest(), size):
                if self.broken:
                    return
                settled |= self._ask(route, chunk, chunk)

    def _ask(self, route: Route, uids: Sequence[str], named: Sequence[str]) -> set[str]:
        """Make one request and return the instances there is no use to ask for again."""
        open_before = len(self.landing.open)
        try:
            outcome = route.request(self.landing, named)
        except Paused:
            raise
        except Transient as problem:
            if not self.landing.deliveries:
                raise
            self.broken = problem.message
            return set(uids)
        still_open = self.landing.open.intersection(uids)
        self.outcomes.update(dict.fromkeys(still_open, outcome))
        if self.landing.is_full:
            self.broken = "the landing zone takes no more"
            return set(uids)
        if outcome.status is None:
            loss = dimse.lost(self.endpoint, "a retrieval")
            if not self.landing.deliveries and not outcome.answered:
                raise loss
            self.broken = loss.message
            return set(uids)
        if outcome.status in _REFUSALS and not self.landing.deliveries:
            raise dimse.failure(self.endpoint, "a retrieval", outcome.status)
        if len(named) > 1 and open_before - len(self.landing.open) > 1:
            self.lists_work = True
        done = outcome.status == dimse.SUCCESS or dimse.is_warning(outcome.status)
        if len(named) == 1 or dimse.is_out_of_resources(outcome.status) or (named and done and self.lists_work):
            return set(still_open)
        return set(still_open & outcome.failed)

    def report(self) -> RetrievalReport:
        """The account of every missing instance."""
        series, landed = self.landing.series.SeriesInstanceUID, self.landing.landed
        status = OUT_OF_RESOURCES if self.landing.is_full else None
        failures = [RetrievalFailure(series, "", status, self.broken)] if self.broken else []
        failures += (self._failure(series, uid) for uid in sorted(self.landing.open))
        return RetrievalReport(
            landed=tuple(landed[uid] for uid in sorted(landed)),
            failures=(*failures, *self.landing.failures),
            unexpected=tuple(self.landing.unexpected[uid] for uid in sorted(self.landing.unexpected)),
            duplicates=self.landing.duplicates,
        )

    def _failure(self, series: str, uid: str) -> RetrievalFailure:
        if self.landing.is_full:
            return RetrievalFailure(series, uid, OUT_OF_RESOURCES, "the landing zone takes no more")
        outcome = self.outcomes.get(uid)
        if outcome is None or outcome.status is None:
            return RetrievalFailure(series, uid, None, "the association was lost before it was sent")
        words = dimse.in_words(outcome.status)
        if uid in outcome.failed:
            message = f"the PACS lists it as failed ({words})"
        elif outcome.status == dimse.SUCCESS or dimse.is_warning(outcome.status):
            message = f"the PACS did not send it although the request ended with {words}"
        else:
            message = f"the request ended with {words}"
        return RetrievalFailure(series, uid, outcome.status, message)


def _identifier(series: SeriesRef, uids: Sequence[str]) -> Dataset:
    """The request's identifier: the whole series, or the instances that are named."""
    keys: dict[str, str | Sequence[str]] = {
        "StudyInstanceUID": series.StudyInstanceUID,
        "SeriesInstanceUID": series.SeriesInstanceUID,
    }
    if uids:
        keys["SOPInstanceUID"] = uids
    return identifier_of("IMAGE" if uids else "SERIES", keys)


def _outcome(responses: Iterator[Message]) -> Outcome:
    """Follow the responses of one C-GET or C-MOVE to the final one (PS3.4 C.4.2.1.5, C.4.3.1.4)."""
    answered = False
    try:
        for response in responses:
            answered = True
            if response.status not in dimse.PENDING:
                return _final(response)
    except Lost as lost:
        log.debug("a retrieval was lost: %s", lost)
    return Outcome(status=None, answered=answered)


def _final(response: Message) -> Outcome:
    try:
        identifier = response.data_set()
    except ValueError:  # what it lists is asked for again
        identifier = None
    listed = text(identifier, "FailedSOPInstanceUIDList").split("\\") if identifier is not None else []
    completed = number(response.command, "NumberOfCompletedSuboperations")
    warned = number(response.command, "NumberOfWarningSuboperations") or 0
    return Outcome(
        status=response.status,
        failed=frozenset(uid for uid in (part.strip(" \0") for part in listed) if is_uid(uid)),
        completed=None if completed is None else completed + warned,
        answered=True,
    )


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
