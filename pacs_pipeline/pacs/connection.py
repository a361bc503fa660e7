"""PDUs over one TCP or TLS connection (PS3.8 9.3.1): read whole and bounded, sent at once, with a limit to silence."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from enum import IntEnum

MAXIMUM_PDU_SIZE = 131_072
_LONGEST_PDU = 1 << 20  # 128 contexts that name every transfer syntax make an A-ASSOCIATE of 150 KB
_HEADER = struct.Struct(">BxL")
_TIMEVAL = struct.Struct("@ll")
_SHORTEST_WAIT = 0.001
_TLS_RECORDS = frozenset({b"\x15\x03", b"\x16\x03"})  # an alert, a handshake (RFC 8446 5.1)


class PduType(IntEnum):
    """The PDU types of PS3.8 9.3."""

    A_ASSOCIATE_RQ = 0x01
    A_ASSOCIATE_AC = 0x02
    A_ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    A_RELEASE_RQ = 0x05
    A_RELEASE_RP = 0x06
    A_ABORT = 0x07


_TYPES = frozenset(PduType)


class Lost(Exception):
    """The connection is of no use any more: closed, reset, aborted, silent for too long, or no DICOM."""


class SpeaksTls(Lost):
    """The peer speaks TLS on a connection that is plain."""


class Connection:
    """One socket that speaks PDUs. One thread reads and writes; any thread may hang up.

    ``timeout`` is the longest silence in seconds, and the longest time that one PDU may take once it has begun. When
    it is over, ``patience`` says how many more seconds are worth waiting: while a C-MOVE runs, the instances arrive
    over another connection. ``heard`` is called for every PDU.

    A plain socket blocks in the kernel, with the kernel's time-outs and until all bytes are there: one system call
    for the header of a PDU and one for its content. TLS has to come back for every record.
    """

    def __init__(self, raw: socket.socket, timeout: float) -> None:
        self.timeout = timeout
        self.patience: Callable[[], float] = _none
        self.heard: Callable[[], object] = _none
        self._raw = raw
        self._is_tls = isinstance(raw, ssl.SSLSocket)
        self._flags = 0 if self._is_tls else socket.MSG_WAITALL
        self._wait = 0.0
        self._buffer = bytearray(MAXIMUM_PDU_SIZE)
        self._header = bytearray(_HEADER.size)
        self._head = memoryview(self._header)
        if not self._is_tls:
            raw.settimeout(None)
        # without it every DIMSE message waits some 40 ms for a delayed ACK
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def shake_hands(self) -> None:
        """Make the TLS handshake, if this is TLS. Raises Lost, which was raised from the reason."""
        if not isinstance(self._raw, ssl.SSLSocket):
            return
        try:
            self._raw.settimeout(self.timeout)
            self._raw.do_handshake()
        except OSError as error:
            self.close()
            raise Lost("the TLS handshake failed") from error

    def receive(self) -> tuple[int, memoryview]:
        """The type and the content of the next PDU; the content is overwritten by the next call.

        Raises Lost when the peer has gone, was silent for too long, or sends what cannot be a PDU.
        """
        self._fill(self._head)
        kind, length = _HEADER.unpack(self._header)
        if kind not in _TYPES or length > _LONGEST_PDU:
            self.abort()
            if bytes(self._header[:2]) in _TLS_RECORDS:
                raise SpeaksTls("the peer speaks TLS")
            raise Lost("the peer sent something that is no DICOM PDU")
        if length > len(self._buffer):
            self._buffer = bytearray(length)
        content = memoryview(self._buffer)[:length]
        self._fill(content)
        self.heard()
        return kind, content

    def _fill(self, view: memoryview) -> None:
        wait = self.timeout
        end = time.monotonic() + wait
        while view:
            try:
                self._wait_at_most(wait)
                read = self._raw.recv_into(view, 0, self._flags)
            except (TimeoutError, BlockingIOError):
                read = -1
            except OSError as error:
                self.close()
                raise Lost("the connection broke") from error
            if not read:
                self.close()
                raise Lost("the peer closed the connection")
            view = view[max(read, 0) :]
            if not view:
                return
            wait = end - time.monotonic()
            if read < 0 or wait <= 0:
                wait = self.patience()
                if wait <= 0:
                    self.abort()
                    raise Lost("the peer was silent for too long")
                end = time.monotonic() + wait

    def _wait_at_most(self, seconds: float) -> None:
        """How long the next call of the socket may take."""
        if self._is_tls:
            self._raw.settimeout(max(seconds, _SHORTEST_WAIT))  # 0 would mean not to wait
        elif seconds != self._wait:
            microseconds = int(max(seconds, _SHORTEST_WAIT) * 1_000_000)  # 0 would mean for ever
            limit = _TIMEVAL.pack(*divmod(microseconds, 1_000_000))
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._wait = seconds

    def send(self, *pdus: bytes) -> None:
        """Send whole PDUs. Raises Lost."""
        try:
            self._wait_at_most(self.timeout)
            self._raw.sendall(b"".join(pdus))
        except OSError as error:  # a time-out is one too: how much was sent is not known
            self.close()
            raise Lost("the connection broke") from error

    def abort(self) -> None:
        """Tell the peer that the association is over, if it still listens, and close (PS3.8 9.3.8)."""
        with contextlib.suppress(OSError):  # it may have gone
            self._raw.settimeout(0)
            self._raw.send(pdu(PduType.A_ABORT, b"\0\0\0\0"))
        self.close()

    def hang_up(self) -> None:
        """Break the connection off, now: whoever waits for its next PDU is told that it is lost."""
        with contextlib.suppress(OSError):  # the peer was faster
            socket.socket.shutdown(self._raw, socket.SHUT_RDWR)  # that of SSLSocket is not for another thread

    def close(self) -> None:
        """Give the socket back."""
        if isinstance(self._raw, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):  # the farewell of TLS; its answer is not waited for
                self._raw.settimeout(0)
                self._raw.unwrap()
        self._raw.close()

    @property
    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing waits to be read: no farewell, no end.

        What waits on a connection over TLS may be gone afterwards: it is of no use then anyway.
        """
        if self._raw.fileno() < 0:
            return False
        if isinstance(self._raw, ssl.SSLSocket):
            return _is_quiet_inside(self._raw)
        poll = select.poll()
        poll.register(self._raw, select.POLLIN)
        return not poll.poll(0)


def pdu(kind: PduType, content: bytes) -> bytes:
    """One PDU with its header."""
    return _HEADER.pack(kind, len(content)) + content


def _is_quiet_inside(raw: ssl.SSLSocket) -> bool:
    """Whether nothing but TLS's own records waits, such as session tickets."""
    try:
        raw.settimeout(0)
        raw.recv_into(bytearray(1))
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False


def _none() -> float:
    return 0.0
