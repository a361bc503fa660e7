"""One DICOM association to a PACS: opening it, watching it, and what a refusal means for the person who reads it."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from pacs_pipeline.errors import Permanent, PipelineError, Transient
from pacs_pipeline.pacs.checkpoint import pause_reliably
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.landing import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

MAXIMUM_PDU_SIZE = 131_072
_LONGEST_PDU = 1 << 20  # 128 contexts that name every transfer syntax make an A-ASSOCIATE of 150 KB
_NEGOTIATION_SECONDS = 30.0  # an association is accepted or refused at once, whatever the PACS is doing

# pynetdicom writes identifiers, UIDs and whatever a peer sent into its log. None of that may be written by
# this program, at any level of the root logger; a person who debugs can set the level of "pynetdicom" again.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
_config.LOG_HANDLER_LEVEL = "none"

Handler = tuple[Any, Callable[..., Any]]


def connect(
    endpoint: Endpoint,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[Handler] = (),
) -> Association:
    """Open an association, or raise what keeps it from opening.

    Raises Transient when the PACS is away, busy or hangs up, and Permanent when it refuses us, with what to
    ask its team for.
    """
    sockets: list[socket.socket] = []
    reached: list[bool] = []

    def requesting(event: evt.Event) -> None:
        raw = _raw(event.assoc)
        if raw is not None and not sockets:  # before the connection, which pynetdicom may fail to close
            sockets.append(raw)

    def opened(event: evt.Event) -> None:
        reached.append(True)
        pause_reliably(event.assoc)
        tune(event, endpoint.timeout)

    ae = AE(ae_title=endpoint.calling_ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.maximum_pdu_size = MAXIMUM_PDU_SIZE
    ae.connection_timeout = ae.acse_timeout = min(endpoint.timeout, _NEGOTIATION_SECONDS)
    ae.network_timeout = None  # between requests an association may rest
    ae.dimse_timeout = None  # a large instance may take its time: watched() waits for silence instead
    try:
        association = ae.associate(
            endpoint.host,
            endpoint.port,
            contexts=list(contexts),
            ae_title=endpoint.ae_title,
            max_pdu=MAXIMUM_PDU_SIZE,
            ext_neg=list(roles),
            evt_handlers=[(evt.EVT_ACSE_SENT, requesting), (evt.EVT_CONN_OPEN, opened), *handlers],
        )
    except OSError as error:  # the name does not resolve, or no local socket is free
        raise _unreachable(endpoint) from error
    if association.is_established:
        return association
    for raw in sockets:
        _close(raw)
    raise _why_not(endpoint, association, reached=bool(reached))


def tune(event: evt.Event, timeout: float) -> None:
    """Set up a socket that has just been connected or accepted.

    Without TCP_NODELAY every DIMSE message waits some 40 ms for a delayed ACK. The time-out bounds the wait
    for the rest of a PDU that has begun. pynetdicom reads 4 KiB at a time and believes any PDU length a peer
    names: our reading is faster, and ends the connection instead.
    """
    wrapped, raw = event.assoc.dul.socket, _raw(event.assoc)
    if wrapped is None or raw is None:
        return
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.settimeout(timeout)
    wrapped.recv = functools.partial(_receive, raw)  # type: ignore[method-assign]
    weakref.finalize(wrapped, raw.close)  # pynetdicom does not close a socket that the peer has reset


def _receive(raw: socket.socket, count: int) -> bytearray:
    """Exactly ``count`` bytes, or fewer when the peer has closed the connection."""
    if count > _LONGEST_PDU:
        raise OSError(errno.EMSGSIZE, "PDU too long")
    data = bytearray(count)
    view = memoryview(data)
    filled = 0
    while filled < count:
        read = raw.recv_into(view[filled:])
        if not read:
            return data[:filled]
        filled += read
    return data


def disconnect(association: Association) -> None:
    """Release an association, or let go of one that is lost already."""
    if association.is_established:
        association.release()


def hang_up(association: Association) -> None:
    """Break an association off, now: whoever waits for its next message is told that it is lost."""
    raw = _raw(association)
    if raw is not None:
        with contextlib.suppress(OSError):  # the peer was faster
            raw.shutdown(socket.SHUT_RDWR)


def _raw(association: Association) -> socket.socket | None:
    wrapped = association.dul.socket
    return None if wrapped is None else wrapped.socket


def _close(raw: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was never connected, or the peer was faster
        raw.shutdown(socket.SHUT_RDWR)
    raw.close()


class Watch:
    """How long ago anything was heard that belongs to a request."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def touch(self) -> None:
        """Something arrived."""
        self._last = time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds since anything arrived."""
        return time.monotonic() - self._last


@contextlib.contextmanager
def watched(association: Association, timeout: float, watch: Watch) -> Iterator[None]:
    """Hang up when nothing was heard for ``timeout`` seconds.

    What counts is silence, not the length of the request: a C-MOVE of a large series may take an hour and
    send no pending response, and is alive as long as instances arrive.
    """
    done = threading.Event()

    def heard(_: evt.Event) -> None:
        watch.touch()

    def guard() -> None:
        while not done.wait(max(timeout - watch.silence, 0.01)):
            if watch.silence >= timeout:
                hang_up(association)
                return

    watch.touch()
    association.bind(evt.EVT_DATA_RECV, heard)
    thread = threading.Thread(target=guard, name="pacs-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        association.unbind(evt.EVT_DATA_RECV, heard)


def _unreachable(endpoint: Endpoint) -> PipelineError:
    return Transient(
        f"{endpoint.where} cannot be reached",
        fix="check host and port, and that the network lets this machine through; the run may be retried",
    )


def _why_not(endpoint: Endpoint, association: Association, *, reached: bool) -> PipelineError:
    """Why an association is not there (PS3.8 9.3.4)."""
    if not reached:
        return _unreachable(endpoint)
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        return _rejected(endpoint, (answer.result, answer.result_source, answer.diagnostic))
    if answer is not None and answer.result == 0x00:
        return Permanent(
            f"{endpoint.where} accepted none of the services that were asked for",
            fix=f"ask the PACS team to allow query and retrieve for the AE title {endpoint.calling_ae_title}",
        )
    return Transient(
        f"{endpoint.where} took the connection but did not answer the association request",
        fix="check that a DICOM service listens on this port; the run may be retried",
    )


def _rejected(endpoint: Endpoint, reason: tuple[int | None, int | None, int | None]) -> PipelineError:
    result, source, diagnostic = reason
    if (source, diagnostic) == (1, 3):
        return Permanent(
            f"{endpoint.where} does not know the calling AE title {endpoint.calling_ae_title}",
            fix=f"ask the PACS team to register AE title {endpoint.calling_ae_title} with this machine's address, "
            "or correct the site's ae_title",
        )
    if (source, diagnostic) == (1, 7):
        return Permanent(
            f"{endpoint.where} says that it is not called {endpoint.ae_title}",
            fix="correct the site's pacs.ae_title, or ask the PACS team for the AE title to call",
        )
    if result == 2 or source == 3:
        return Transient(
            f"{endpoint.where} has no association free",
            fix="the run may be retried; if it happens often, lower the site's associations",
        )
    return Permanent(
        f"{endpoint.where} refused the association (source {source}, reason {diagnostic})",
        fix=f"ask the PACS team whether AE title {endpoint.calling_ae_title} is registered and allowed to query "
        "and retrieve",
    )
