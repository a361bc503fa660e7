"""The Storage SCP: what a C-MOVE brings while a site is harvested, or whatever is pushed while it stands."""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol

from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

from pacs_pipeline.errors import Paused, Permanent, PipelineError, Transient
from pacs_pipeline.pacs.admission import Admission
from pacs_pipeline.pacs.association import Arrival, Association, Message
from pacs_pipeline.pacs.command import CommandField, number, text
from pacs_pipeline.pacs.connection import Connection, Lost
from pacs_pipeline.pacs.contexts import COMPRESSED, TRANSFER_SYNTAXES, UNCOMPRESSED, is_storage
from pacs_pipeline.pacs.landing import INVALID_INSTANCE, NOT_AUTHORISED, OUT_OF_RESOURCES, Delivery, Landing
from pacs_pipeline.pacs.negotiation import CALLING_AE_TITLE_NOT_RECOGNISED, LOCAL_LIMIT_EXCEEDED, accept
from pacs_pipeline.pacs.tls import server_context
from pacs_pipeline.pacs.uids import is_uid
from pacs_pipeline.settings import ReceiverSettings, TlsSettings

log = logging.getLogger(__name__)

_VERIFICATION = "1.2.840.10008.1.1"
_SUCCESS = 0x0000
_QUIET_SECONDS = 0.5
_INTRODUCTION_SECONDS = 10.0  # a connection that does not ask for an association by then is closed


class Sink(Protocol):
    """Takes whatever is pushed to a standing receiver."""

    def begin(self, delivery: Delivery, calling_ae_title: str, /) -> Arrival:
        """Take one instance, whose data set then goes to the arrival that is returned.

        Called in the sender's thread, so by several at once. SOP Class and SOP Instance UID are UIDs; that the sender
        owns its AE title is proven only over TLS. An OSError, here or from the arrival, is answered with 0xA700 (Out of
        Resources) and the rest of the data set is dropped.
        """


class StorageReceiver:
    """Listens on the receiver port from ``__enter__`` to ``__exit__``.

    It answers only to its own AE title, and only to the ``allowed_ae_titles`` where there are any. All storage classes
    are accepted, private and unknown ones too, in any transfer syntax.

    There are two uses. Without a ``sink`` it takes instances only while a C-MOVE waits for them (``expect``,
    ``settle``, ``refuse_all``: see :class:`CMoveRetriever`). With one it is standing, and everything that is pushed
    goes to the sink::

        with StorageReceiver("INBOX", 11112, sink=inbox):
            stop.wait()

    For each instance the sink's ``begin`` is called with what the sender says it is and who the sender says it is; the
    arrival gets ``write(chunk)`` for each piece of the data set, then either ``finish()``, whose status is answered, or
    ``abandon()`` when the sender is lost. What ``finish`` calls stored must be durable.
    """

    def __init__(
        self,
        ae_title: str,
        port: int,
        *,
        bind: str = "0.0.0.0",  # noqa: S104 - the PACS must reach it
        timeout: float = 60.0,
        maximum_associations: int = 10,
        maximum_associations_per_peer: int = 10,
        allowed_ae_titles: Collection[str] = (),
        tls: TlsSettings | None = None,
        sink: Sink | None = None,
    ) -> None:
        self.ae_title = ae_title
        self.port = port
        self._bind = bind
        self._timeout = timeout
        self._limits = maximum_associations, maximum_associations_per_peer
        self._admission = Admission(*self._limits)
        self._allowed = frozenset(allowed_ae_titles)
        self._tls = tls
        self._sink = sink
        self._lock = threading.Lock()
        self._landing: Landing | None = None
        self._cause: tuple[str, int] = ("", 0)
        self._compressed_first = False
        self._pause: Callable[[], object] = lambda: None
        self._handling = 0
        self._last_heard = time.monotonic()
        self._server: _Server | None = None

    def __enter__(self) -> StorageReceiver:
        self._admission = Admission(*self._limits)
        context = None if self._tls is None else server_context(self._tls, f"receiver.tls of {self.ae_title}")
        try:
            self._server = _Server(self._bind, self.port, context, self._arrive, self._serve)
        except OSError as error:
            raise self._cannot_listen(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop_listening()
            for connection in self._admission.everybody():
                connection.hang_up()
            server.server_close()  # and wait for what is being written

    @property
    def silence(self) -> float:
        """Seconds since a sender was heard, or a request began."""
        return time.monotonic() - self._last_heard

    def expect(
        self,
        landing: Landing,
        cause: tuple[str, int],
        *,
        compressed_first: bool,
        pause: Callable[[], object] = lambda: None,
    ) -> None:
        """Take what the C-MOVE of this AE title and Message ID brings, until ``refuse_all``.

        ``pause`` is called, in a thread of the receiver, when the landing's gate has closed.

        A sender that offers several transfer syntaxes in one context leaves the choice to us without telling
        how the instances are stored; ``compressed_first`` is which to choose.
        """
        with self._lock:
            self._landing, self._cause = landing, cause
            self._compressed_first = compressed_first
            self._pause = pause
        self._heard()

    def refuse_all(self) -> None:
        """Take nothing any more."""
        with self._lock:
            self._landing = None

    def settle(self, landing: Landing, deliveries: int | None, *, failed: bool) -> None:
        """Wait for what is still on its way after the C-MOVE's final response.

        ``deliveries`` is how many the PACS says it has completed, None when it does not say. Most send first
        and answer then; some answer at once and send afterwards.
        """
        while landing.open:
            with self._lock:
                handling = self._handling
            outstanding = not failed if deliveries is None else landing.deliveries < deliveries
            if not handling:
                if failed and not outstanding:
                    return
                if self.silence >= (self._patience() if outstanding else _QUIET_SECONDS):
                    return
            elif self.silence >= self._timeout:
                return
            time.sleep(0.01)

    def _patience(self) -> float:
        return min(self._timeout, 10.0 if self._admission.has_guests else 4 * _QUIET_SECONDS)

    def _heard(self) -> None:
        self._last_heard = time.monotonic()

    def _arrive(self, raw: socket.socket, peer: str) -> Connection:
        """A new connection, in the thread that listens."""
        connection = Connection(raw, min(self._timeout, _INTRODUCTION_SECONDS))
        self._admission.arrive(connection, peer)
        return connection

    def _serve(self, connection: Connection) -> None:
        """One connection, from its first byte to its last, in a thread of its own."""
        try:
            association = accept(
                connection,
                ae_title=self.ae_title,
                supported=_compressed_first if self._compressed_first else _as_stored,
                refusal=partial(self._refusal, connection),
            )
            if association is None:
                return
            connection.timeout, connection.heard = self._timeout, self._heard
            store = partial(self._store, association.calling_ae_title)
            while (message := association.receive(store)) is not None:
                self._answer(association, message)
        except Lost as lost:
            log.debug("a connection to the receiver %s ended: %s", self.ae_title, lost)
        finally:
            self._admission.leave(connection)

    def _answer(self, association: Association, message: Message) -> None:
        request = message.command["CommandField"]
        if message.stored is not None:
            association.answer(message, message.stored)
            landing = self._landing
            if landing is not None:
                landing.catch_up()
        elif request == CommandField.C_ECHO_RQ:
            association.answer(message, _SUCCESS)
        else:
            association.abort()
            raise Lost("the peer asked for a service that this receiver has not")

    def _refusal(self, connection: Connection, calling_ae_title: str) -> tuple[int, int, int] | None:
        if self._allowed and calling_ae_title not in self._allowed:
            return CALLING_AE_TITLE_NOT_RECOGNISED
        return None if self._admission.admit(connection) else LOCAL_LIMIT_EXCEEDED

    def _store(self, calling_ae_title: str, message: Message) -> _Handled:
        with self._lock:
            landing, cause = self._landing, self._cause
            self._handling += 1
        if self._sink is not None:
            return _Handled(_pushed(self._sink, delivery(message, solicited=False), calling_ae_title), self._handled)
        if landing is None:
            return _Handled(_Dropped(NOT_AUTHORISED), self._handled)
        try:
            arrival = landing.begin(delivery(message, solicited=_cause_of(message) == cause))
        except Paused:
            self._handled()
            self._pause()  # whoever waits for the end of the C-MOVE
            raise Lost("nothing more may come from this site") from None
        return _Handled(arrival, self._handled)

    def _handled(self) -> None:
        self._heard()
        with self._lock:
            self._handling -= 1

    def _cannot_listen(self, error: OSError) -> PipelineError:
        if error.errno == errno.EADDRINUSE:
            return Transient(
                f"the receiver port {self.port} is in use",
                fix="another harvest of this site is running, or another program has the port: see `ss -ltnp`",
            )
        reason = error.strerror or type(error).__name__
        return Permanent(
            f"the receiver cannot listen on {self._bind}:{self.port} ({reason})",
            fix="correct the site's receiver.bind and receiver.port",
        )


def _as_stored(proposed: Sequence[PresentationContext]) -> list[PresentationContext]:
    return _supported(proposed, TRANSFER_SYNTAXES)


def _compressed_first(proposed: Sequence[PresentationContext]) -> list[PresentationContext]:
    return _supported(proposed, (*COMPRESSED, *UNCOMPRESSED))


def _supported(proposed: Sequence[PresentationContext], order: Sequence[str]) -> list[PresentationContext]:
    """Every storage class that is proposed, private and unlisted ones too, with its transfer syntaxes in an order."""
    offered: dict[str, set[str]] = {}
    for context in proposed:
        offered.setdefault(str(context.abstract_syntax), set()).update(context.transfer_syntax)
    # only what is offered: pynetdicom checks every UID that it is given, a millisecond for all of a class
    contexts = [
        build_context(sop_class, [uid for uid in order if uid in syntaxes] or list(order[:1]))
        for sop_class, syntaxes in offered.items()
        if is_storage(sop_class)
    ]
    return [build_context(_VERIFICATION), *contexts]


def open_receiver(settings: ReceiverSettings, *, timeout: float, sink: Sink | None = None) -> StorageReceiver:
    """The receiver that the settings describe, standing when there is a ``sink``; open it with ``with``."""
    return StorageReceiver(
        settings.ae_title,
        settings.port,
        bind=settings.bind,
        timeout=timeout,
        maximum_associations=settings.maximum_associations,
        maximum_associations_per_peer=settings.maximum_associations_per_peer,
        allowed_ae_titles=settings.allowed_ae_titles,
        tls=settings.tls,
        sink=sink,
    )


def _pushed(sink: Sink, delivery: Delivery, calling_ae_title: str) -> Arrival:
    if not is_uid(delivery.SOPInstanceUID) or not is_uid(delivery.SOPClassUID):
        return _Dropped(INVALID_INSTANCE)
    try:
        return _Pushed(sink.begin(delivery, calling_ae_title))
    except OSError as error:
        log.error("an instance that was pushed cannot be taken: %s", error.strerror or type(error).__name__)
        return _Dropped(OUT_OF_RESOURCES)


@dataclass(frozen=True, slots=True)
class _Dropped:
    """An instance that is read and refused."""

    status: int

    def write(self, chunk: memoryview, /) -> None:
        pass

    def finish(self) -> int:
        return self.status

    def abandon(self) -> None:
        pass


@dataclass(slots=True)
class _Pushed:
    """An arrival of a sink; when the disk fails it, the sender is told."""

    arrival: Arrival
    failed: bool = False

    def write(self, chunk: memoryview, /) -> None:
        if self.failed:
            return
        try:
            self.arrival.write(chunk)
        except OSError as error:
            self._fail(error)
            self.arrival.abandon()

    def finish(self) -> int:
        if self.failed:
            return OUT_OF_RESOURCES
        try:
            return self.arrival.finish()
        except OSError as error:
            self._fail(error)
            return OUT_OF_RESOURCES

    def abandon(self) -> None:
        if not self.failed:
            self.arrival.abandon()

    def _fail(self, error: OSError) -> None:
        self.failed = True
        log.error("an instance that was pushed cannot be kept: %s", error.strerror or type(error).__name__)


@dataclass(frozen=True, slots=True)
class _Handled:
    """An arrival that the receiver knows to be under way."""

    arrival: Arrival
    done: Callable[[], None]

    def write(self, chunk: memoryview, /) -> None:
        self.arrival.write(chunk)

    def finish(self) -> int:
        try:
            return self.arrival.finish()
        finally:
            self.done()

    def abandon(self) -> None:
        try:
            self.arrival.abandon()
        finally:
            self.done()


class _Server(socketserver.ThreadingTCPServer):
    """A listening socket; every connection gets a thread. What socketserver calls a request is a Connection."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        bind: str,
        port: int,
        context: ssl.SSLContext | None,
        arrive: Callable[[socket.socket, str], Connection],
        serve: Callable[[Connection], None],
    ) -> None:
        self._context = context
        self._arrive = arrive
        self._serve = serve
        self.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        super().__init__((bind, port), socketserver.BaseRequestHandler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="pacs-receiver", daemon=True)
        self._thread.start()

    def get_request(self) -> tuple[Connection, str]:  # type: ignore[override]
        raw, address = self.socket.accept()
        try:
            if self._context is not None:  # the handshake is for the thread of the connection
                raw = self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
            return self._arrive(raw, address[0]), address[0]
        except OSError:  # it has gone already
            raw.close()
            raise

    def finish_request(self, request: Connection, client_address: object) -> None:  # type: ignore[override]  # noqa: ARG002
        self._serve(request)

    def shutdown_request(self, request: Connection) -> None:  # type: ignore[override]
        request.hang_up()
        request.close()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        kind = sys.exc_info()[0]  # socketserver calls this while it handles one; its text may quote the peer
        log.error("a connection to the receiver failed: %s", kind.__name__ if kind else "unknown")

    def stop_listening(self) -> None:
        """Take no more connections."""
        self.shutdown()
        self._thread.join()
        self.socket.close()


def delivery(message: Message, *, solicited: bool) -> Delivery:
    """A C-STORE request as a delivery."""
    return Delivery(
        SOPClassUID=text(message.command, "AffectedSOPClassUID"),
        SOPInstanceUID=text(message.command, "AffectedSOPInstanceUID"),
        TransferSyntaxUID=str(message.context.transfer_syntax),
        solicited=solicited,
    )


def _cause_of(message: Message) -> tuple[str, int]:
    """The C-MOVE that a C-STORE says it belongs to (PS3.7 9.1.1.1)."""
    return (
        text(message.command, "MoveOriginatorApplicationEntityTitle"),
        number(message.command, "MoveOriginatorMessageID") or 0,
    )
