"""The Storage SCP that a C-MOVE sends to: open while a site is harvested, and only for what was asked for."""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

from pacs_pipeline.errors import Permanent, PipelineError, Transient
from pacs_pipeline.pacs.association import Association, Message
from pacs_pipeline.pacs.command import CommandField, number, text
from pacs_pipeline.pacs.connection import Connection, Lost
from pacs_pipeline.pacs.contexts import COMPRESSED, TRANSFER_SYNTAXES, UNCOMPRESSED, is_storage
from pacs_pipeline.pacs.landing import NOT_AUTHORISED, Arrival, Delivery, Landing
from pacs_pipeline.pacs.negotiation import LOCAL_LIMIT_EXCEEDED, accept

log = logging.getLogger(__name__)

_VERIFICATION = "1.2.840.10008.1.1"
_SUCCESS = 0x0000
_QUIET_SECONDS = 0.5
_INTRODUCTION_SECONDS = 10.0  # a connection that does not ask for an association by then is closed
_STRANGERS = 64  # connections without an association that are borne at a time


class StorageReceiver:
    """Listens on the site's receiver port from ``__enter__`` to ``__exit__``.

    It answers only to its own AE title and takes instances only while a request waits for them. All storage
    classes are accepted, private and unknown ones too, in any transfer syntax.
    """

    def __init__(
        self,
        ae_title: str,
        port: int,
        *,
        bind: str = "0.0.0.0",  # noqa: S104 - the PACS must reach it
        timeout: float = 60.0,
        maximum_associations: int = 10,
    ) -> None:
        self.ae_title = ae_title
        self.port = port
        self._bind = bind
        self._timeout = timeout
        self._maximum_associations = maximum_associations
        self._lock = threading.Lock()
        self._landing: Landing | None = None
        self._cause: tuple[str, int] = ("", 0)
        self._compressed_first = False
        self._handling = 0
        self._last_heard = time.monotonic()
        self._connections: set[Connection] = set()
        self._associations: set[Association] = set()
        self._server: _Server | None = None
        self._closed = False

    def __enter__(self) -> StorageReceiver:
        self._closed = False
        try:
            self._server = _Server(self._bind, self.port, self._serve)
        except OSError as error:
            raise self._cannot_listen(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop_listening()
            with self._lock:
                self._closed = True
                connections = tuple(self._connections)
            for connection in connections:
                connection.hang_up()
            server.server_close()  # and wait for what is being written

    @property
    def silence(self) -> float:
        """Seconds since a sender was heard, or a request began."""
        return time.monotonic() - self._last_heard

    def expect(self, landing: Landing, cause: tuple[str, int], *, compressed_first: bool) -> None:
        """Take what the C-MOVE of this AE title and Message ID brings, until ``refuse_all``.

        A sender that offers several transfer syntaxes in one context leaves the choice to us without telling
        how the instances are stored; ``compressed_first`` is which to choose.
        """
        with self._lock:
            self._landing, self._cause = landing, cause
            self._compressed_first = compressed_first
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
        return min(self._timeout, 10.0 if self._associations else 4 * _QUIET_SECONDS)

    def _heard(self) -> None:
        self._last_heard = time.monotonic()

    def _serve(self, raw: socket.socket) -> None:
        """One connection, from its first byte to its last, in a thread of its own."""
        connection = Connection(raw, min(self._timeout, _INTRODUCTION_SECONDS))
        with self._lock:
            if self._closed or len(self._connections) - len(self._associations) >= _STRANGERS:
                return
            self._connections.add(connection)
        association = None
        try:
            association = accept(
                connection, ae_title=self.ae_title, supported=self._as_proposed, refusal=self._full_house
            )
            if association is None:
                return
            with self._lock:
                self._associations.add(association)
            connection.timeout, connection.heard = self._timeout, self._heard
            while (message := association.receive(self._store)) is not None:
                self._answer(association, message)
        except Lost as lost:
            log.debug("an association to the receiver %s ended: %s", self.ae_title, lost)
        finally:
            with self._lock:
                self._connections.discard(connection)
                if association is not None:
                    self._associations.discard(association)

    def _answer(self, association: Association, message: Message) -> None:
        request = message.command["CommandField"]
        if message.stored is not None:
            association.answer(message, message.stored)
        elif request == CommandField.C_ECHO_RQ:
            association.answer(message, _SUCCESS)
        else:
            association.abort()
            raise Lost("the peer asked for a service that this receiver has not")

    def _full_house(self) -> tuple[int, int, int] | None:
        with self._lock:
            return LOCAL_LIMIT_EXCEEDED if len(self._associations) >= self._maximum_associations else None

    def _as_proposed(self, proposed: Sequence[PresentationContext]) -> list[PresentationContext]:
        """Support every storage class that is proposed, private and unlisted ones too."""
        order = (*COMPRESSED, *UNCOMPRESSED) if self._compressed_first else TRANSFER_SYNTAXES
        classes = {str(context.abstract_syntax) for context in proposed}
        contexts = [build_context(sop_class, list(order)) for sop_class in classes if is_storage(sop_class)]
        return [build_context(_VERIFICATION), *contexts]

    def _store(self, message: Message) -> _Handled:
        with self._lock:
            landing, cause = self._landing, self._cause
            self._handling += 1
        solicited = _cause_of(message) == cause
        arrival = None if landing is None else landing.begin(delivery(message, solicited=solicited))
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


@dataclass(frozen=True, slots=True)
class _Handled:
    """An arrival that the receiver knows to be under way; without one the instance is read and refused."""

    arrival: Arrival | None
    done: Callable[[], None]

    def write(self, chunk: memoryview, /) -> None:
        if self.arrival is not None:
            self.arrival.write(chunk)

    def finish(self) -> int:
        try:
            return NOT_AUTHORISED if self.arrival is None else self.arrival.finish()
        finally:
            self.done()

    def abandon(self) -> None:
        try:
            if self.arrival is not None:
                self.arrival.abandon()
        finally:
            self.done()


class _Server(socketserver.ThreadingTCPServer):
    """A listening socket; every connection gets a thread."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, bind: str, port: int, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        super().__init__((bind, port), socketserver.BaseRequestHandler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="pacs-receiver", daemon=True)
        self._thread.start()

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]  # noqa: ARG002
        self._serve(request)

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
