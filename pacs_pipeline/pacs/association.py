"""An established association: whole DIMSE messages over it, one request at a time (PS3.7 6.3, PS3.8 Annex E).

pynetdicom negotiates and knows the UIDs; why its own association is not used is decision 7.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Protocol

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom.dsutils import decode as decode_data_set
from pynetdicom.dsutils import encode as encode_data_set

from pacs_pipeline.pacs.command import NO_DATA_SET, Command, CommandField, decode, encode, number, text
from pacs_pipeline.pacs.connection import MAXIMUM_PDU_SIZE, Connection, Lost, PduType, pdu
from pacs_pipeline.pacs.status import PENDING

_LONGEST_COMMAND = 1 << 16
_LONGEST_DATA_SET = 1 << 26  # of a message that is held: an identifier
_FAREWELL_SECONDS = 5.0
_LOW = 2  # the priority of every request: the clinic comes first (PS3.7 9.1.2.1)
_PDV_HEADER = 6  # length, context ID, message control header (PS3.8 9.3.5.1, E.2)
_COMMAND, _LAST = 0b01, 0b10


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context that both sides agreed on (PS3.8 9.3.3.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: UID


_Fragment = tuple[AcceptedContext, int, memoryview]
"""A presentation data value: its context, its message control header, its content."""


@dataclass(frozen=True, slots=True)
class Message:
    """One DIMSE message; the data set stays encoded. ``stored`` is the status when an arrival took the data set."""

    context: AcceptedContext
    command: Command
    data: bytes | bytearray | memoryview = b""
    stored: int | None = None

    @property
    def status(self) -> int:
        """The Status of a response, which ``ask`` has seen to be there."""
        return int(self.command["Status"])

    def data_set(self) -> Dataset | None:
        """The identifier of a response, None when there is none; its values are not looked at.

        Raises ValueError when it cannot be decoded.
        """
        if not self.data:
            return None
        syntax = self.context.transfer_syntax
        try:
            return decode_data_set(
                BytesIO(self.data), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
            )
        except (InvalidDicomError, LookupError, NotImplementedError, OSError, OverflowError, struct.error) as error:
            raise ValueError("the identifier cannot be decoded") from error


class Arrival(Protocol):
    """What takes the data set of a C-STORE request while it comes."""

    def write(self, chunk: memoryview, /) -> None:
        """Take the next bytes; they are overwritten afterwards."""

    def finish(self) -> int:
        """The data set is complete: the status to answer."""

    def abandon(self) -> None:
        """The rest will not come."""


Store = Callable[[Message], Arrival]
"""Opens what takes the data set of a C-STORE request, whose command set has come."""


class Association:
    """What both sides agreed on, over one connection. One thread at a time; any thread may hang the connection up."""

    def __init__(
        self,
        connection: Connection,
        contexts: Iterable[AcceptedContext],
        largest_pdu: int,
        *,
        calling_ae_title: str = "",
    ) -> None:
        self.calling_ae_title = calling_ae_title  # who asked for it; empty when it was we
        self._contexts = {context.context_id: context for context in contexts}
        self._connection = connection
        self._largest_pdu = min(largest_pdu or MAXIMUM_PDU_SIZE, MAXIMUM_PDU_SIZE)  # 0: the peer sets no limit
        self._rest = memoryview(b"")  # of the PDU that came last
        self._message_id = 0

    @property
    def is_usable(self) -> bool:
        """Whether the next request can be made: nothing has come since the last one, not even a farewell."""
        return not self._rest and self._connection.is_quiet

    def context_for(self, sop_class: str) -> AcceptedContext | None:
        """The accepted context for a SOP class, None when the peer did not accept it."""
        return next((context for context in self._contexts.values() if context.abstract_syntax == sop_class), None)

    def next_message_id(self) -> int:
        """A Message ID that no request before had, until they start over (PS3.7 E.1)."""
        self._message_id = self._message_id % 65535 + 1
        return self._message_id

    def ask(
        self,
        context: AcceptedContext,
        request: CommandField,
        identifier: Dataset | None = None,
        *,
        store: Store | None = None,
        meanwhile: Callable[[], object] | None = None,
        patience: Callable[[], float] | None = None,
        **fields: str | int,
    ) -> Iterator[Message]:
        """Make a request and yield its responses, the last of which is not pending.

        ``store`` takes the instances that a C-GET brings, and ``meanwhile`` is called while the peer prepares the next
        one; ``patience`` is the seconds still to wait when the peer was silent for the connection's time-out;
        ``fields`` go into the command set. To be read to its end. Raises Lost.
        """
        message_id = number(fields, "MessageID") or self.next_message_id()
        command: dict[str, str | int] = {
            "AffectedSOPClassUID": context.abstract_syntax,
            "CommandField": request,
            "MessageID": message_id,
            **({} if request is CommandField.C_ECHO_RQ else {"Priority": _LOW}),
            **fields,
        }
        data = b"" if identifier is None else _encoded(identifier, context.transfer_syntax)
        if patience is not None:
            self._connection.patience = patience
        self.send(context, command, data)
        while True:
            message = self.receive(store)
            if message is None:
                raise Lost("the peer released the association")
            if message.stored is not None:
                self.answer(message, message.stored)
                if meanwhile is not None:
                    meanwhile()
                continue
            if (
                message.command["CommandField"] != request.response
                or number(message.command, "MessageIDBeingRespondedTo") != message_id
                or number(message.command, "Status") is None
            ):
                raise self._broken("a message that is no response to the request")
            yield message
            if message.status not in PENDING:
                return

    def answer(self, request: Message, status: int) -> None:
        """Send the response to a C-STORE or C-ECHO request. Raises Lost."""
        command: dict[str, str | int] = {
            "AffectedSOPClassUID": text(request.command, "AffectedSOPClassUID"),
            "CommandField": CommandField(int(request.command["CommandField"])).response,
            "MessageIDBeingRespondedTo": number(request.command, "MessageID") or 0,
            "Status": status,
        }
        if "AffectedSOPInstanceUID" in request.command:
            command["AffectedSOPInstanceUID"] = text(request.command, "AffectedSOPInstanceUID")
        self.send(request.context, command)

    def send(self, context: AcceptedContext, command: Command, data: bytes = b"") -> None:
        """Send one message. Raises Lost."""
        encoded = encode({**command, "CommandDataSetType": 0x0000 if data else NO_DATA_SET})
        pdus = [*self._split(context.context_id, _COMMAND, encoded)]
        if data:
            pdus += self._split(context.context_id, 0, data)
        self._connection.send(*pdus)

    def _split(self, context_id: int, kind: int, content: bytes) -> Iterator[bytes]:
        size = max(self._largest_pdu - _PDV_HEADER, 1)
        for start in range(0, len(content), size):
            fragment = content[start : start + size]
            last = _LAST if start + size >= len(content) else 0
            head = (len(fragment) + 2).to_bytes(4, "big") + bytes((context_id, kind | last))
            yield pdu(PduType.P_DATA_TF, head + fragment)

    def receive(self, store: Store | None = None) -> Message | None:
        """The next message; None when the peer has released the association, which is then closed.

        The data set of a C-STORE request goes to ``store`` while it comes, if there is one; every other data set
        is held and must be short. Raises Lost for every other end, and for what breaks the protocol, after telling
        the peer.
        """
        first = self._fragment()
        if first is None:
            return None
        context, encoded = first[0], self._held(first, _COMMAND, _LONGEST_COMMAND)
        try:
            command = decode(encoded)
        except ValueError:
            raise self._broken("a command set that cannot be read") from None
        if command["CommandDataSetType"] == NO_DATA_SET:
            return Message(context, command)
        second = self._fragment()
        if second is None or second[0] is not context:
            raise self._broken("a message without its data set")
        message = Message(context, command)
        if store is None or command["CommandField"] != CommandField.C_STORE_RQ:
            return replace(message, data=self._held(second, 0, _LONGEST_DATA_SET))
        arrival = store(message)
        with ExitStack() as unfinished:
            unfinished.callback(arrival.abandon)
            for chunk in self._chunks(second, 0):
                arrival.write(chunk)
            unfinished.pop_all()
        return replace(message, stored=arrival.finish())

    def _held(self, first: _Fragment, kind: int, longest: int) -> bytearray:
        """A whole command set or data set."""
        whole = bytearray()
        for chunk in self._chunks(first, kind):
            whole += chunk
            if len(whole) > longest:
                raise self._broken("a command set or identifier that has no end")
        return whole

    def _chunks(self, first: _Fragment, kind: int) -> Iterator[memoryview]:
        """The content of all fragments of a command set or data set, from the first one on."""
        fragment: _Fragment | None = first
        while True:
            if fragment is None or fragment[0] is not first[0] or fragment[1] & _COMMAND != kind:
                raise self._broken("fragments that do not belong together")
            yield fragment[2]
            if fragment[1] & _LAST:
                return
            fragment = self._fragment()

    def _fragment(self) -> _Fragment | None:
        """The next presentation data value: context, message control header, content; None after a release."""
        while not self._rest:
            kind, content = self._connection.receive()
            if kind == PduType.P_DATA_TF:
                if not content:
                    raise self._broken("a P-DATA PDU without content")
                self._rest = content
            elif kind == PduType.A_RELEASE_RQ:
                self._connection.send(pdu(PduType.A_RELEASE_RP, b"\0\0\0\0"))
                self._connection.close()
                return None
            elif kind == PduType.A_ABORT:
                self._connection.close()
                raise Lost("the peer aborted the association")
            else:
                raise self._broken("a PDU that does not belong here")
        content = self._rest
        length = int.from_bytes(content[:4], "big")
        if len(content) < _PDV_HEADER or not 2 <= length <= len(content) - 4:
            raise self._broken("a presentation data value of an impossible length")
        context = self._contexts.get(content[4])
        if context is None:
            raise self._broken("data for a presentation context that was not accepted")
        self._rest = content[4 + length :]
        return context, content[5], content[_PDV_HEADER : 4 + length]

    def _broken(self, what: str) -> Lost:
        self._connection.abort()
        return Lost(f"the peer sent {what}")

    def release(self) -> None:
        """End the association in order; never raises, whatever the peer does (PS3.8 7.2)."""
        self._connection.timeout = min(self._connection.timeout, _FAREWELL_SECONDS)
        try:
            self._connection.send(pdu(PduType.A_RELEASE_RQ, b"\0\0\0\0"))
            while self._connection.receive()[0] == PduType.P_DATA_TF:  # sent before the peer read our farewell
                continue
        except Lost:
            return
        self._connection.close()

    def hang_up(self) -> None:
        """Break the connection off, from any thread: whoever waits for the peer is told that it is lost."""
        self._connection.hang_up()

    def abort(self) -> None:
        """End the association at once."""
        self._connection.abort()


def _encoded(identifier: Dataset, syntax: UID) -> bytes:
    encoded = encode_data_set(identifier, syntax.is_implicit_VR, syntax.is_little_endian)
    if not encoded:  # pynetdicom's way to say so; a request without its keys would ask for anything
        raise ValueError("the identifier of a request cannot be encoded")
    return encoded
