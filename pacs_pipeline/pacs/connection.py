"""PDUs over one TCP connection (PS3.8 9.3.1): read whole and bounded, sent at once, with a limit to silence."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Callable
from enum import IntEnum

MAXIMUM_PDU_SIZE = 131_072
_LONGEST_PDU = 1 << 20  # 128 contexts that name every transfer syntax make an A-ASSOCIATE of 150 KB
_HEADER = struct.Struct(">BxL")


class PduType(IntEnum):
    """The PDU types of PS3.8 9.3."""

    A_ASSOCIATE_RQ = 0x01
    A_ASSOCIATE_AC = 0x02
    A_ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    A_RELEASE_RQ = 0x05
    A_RELEASE_RP = 0x06
    A_ABORT = 0x07


class Lost(Exception):
    """The connection is of no use any more: closed, reset, aborted, silent for too long, or no DICOM."""


class Connection:
    """One socket that speaks PDUs. One thread reads and writes; any thread may hang up.

    ``timeout`` is the longest silence in seconds. When it is over, ``patience`` says how many more seconds are
    worth waiting: while a C-MOVE runs, the instances arrive over another connection. ``heard`` is called for
    every PDU.
    """

    def __init__(self, raw: socket.socket, timeout: float) -> None:
        self.timeout = timeout
        self.patience: Callable[[], float] = _none
        self.heard: Callable[[], object] = _none
        self._raw = raw
        self._buffer = bytearray(MAXIMUM_PDU_SIZE)
        self._header = bytearray(_HEADER.size)
        raw.settimeout(timeout)
        # without it every DIMSE message waits some 40 ms for a delayed ACK
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self) -> tuple[int, memoryview]:
        """The type and the content of the next PDU; the content is overwritten by the next call.

        Raises Lost when the peer has gone, was silent for too long, or sends what cannot be a PDU.
        """
        self._fill(memoryview(self._header))
        kind, length = _HEADER.unpack(self._header)
        if kind not in PduType._value2member_map_ or length > _LONGEST_PDU:
            self.abort()
            raise Lost("the peer sent something that is no DICOM PDU")
        if length > len(self._buffer):
            self._buffer = bytearray(length)
        content = memoryview(self._buffer)[:length]
        self._fill(content)
        self.heard()
        return kind, content

    def _fill(self, view: memoryview) -> None:
        self._raw.settimeout(self.timeout)
        while view:
            try:
                read = self._raw.recv_into(view)
            except TimeoutError:
                more = self.patience()
                if more > 0:
                    self._raw.settimeout(more)
                    continue
                self.abort()
                raise Lost("the peer was silent for too long") from None
            except OSError as error:
                self.close()
                raise Lost("the connection broke") from error
            if not read:
                self.close()
                raise Lost("the peer closed the connection")
            view = view[read:]

    def send(self, *pdus: bytes) -> None:
        """Send whole PDUs. Raises Lost."""
        try:
            self._raw.settimeout(self.timeout)
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
            self._raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self._raw.close()

    @property
    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing waits to be read: no farewell, no end."""
        if self._raw.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self._raw, select.POLLIN)
        return not poll.poll(0)


def pdu(kind: PduType, content: bytes) -> bytes:
    """One PDU with its header."""
    return _HEADER.pack(kind, len(content)) + content


def _none() -> float:
    return 0.0
