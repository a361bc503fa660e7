"""A bare peer of the receiver: connections that ask for an association, and what they send over it byte by byte."""

from __future__ import annotations

import socket
import struct

from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ

from pacs_pipeline.pacs import StorageReceiver
from pacs_pipeline.pacs.association import AcceptedContext, Association, Message
from pacs_pipeline.pacs.command import CommandField, encode
from pacs_pipeline.pacs.connection import MAXIMUM_PDU_SIZE, Connection, PduType, pdu
from pacs_pipeline.pacs.endpoint import Endpoint
from pacs_pipeline.pacs.negotiation import _numbered, _request
from pacs_pipeline_tests.unit.pacs.peers import OUR_TITLE, RECEIVER_TITLE
from pacs_pipeline_tests.unit.pacs.samples import CT, EXPLICIT, Sample

STORE = {"CommandField": CommandField.C_STORE_RQ, "MessageID": 5, "AffectedSOPClassUID": CT, "Priority": 0}


def pdv(content: bytes, control: int, context_id: int = 1) -> bytes:
    """A presentation data value; bit 0 of ``control`` says command, bit 1 last."""
    return struct.pack(">LBB", len(content) + 2, context_id, control) + content


def data_pdu(*pdvs: bytes) -> bytes:
    """A P-DATA-TF PDU."""
    return pdu(PduType.P_DATA_TF, b"".join(pdvs))


def command_of(data: bytes, uid: str = "") -> bytes:
    """The command set of a C-STORE request."""
    named = {"AffectedSOPInstanceUID": uid} if uid else {}
    return encode({**STORE, **named, "CommandDataSetType": 0x0001 if data else 0x0101})


def association_request(*, called: str = RECEIVER_TITLE, calling: str = OUR_TITLE, contexts: int = 1) -> bytes:
    """An A-ASSOCIATE-RQ for CT images."""
    endpoint = Endpoint("", "", 0, called, calling)
    request = A_ASSOCIATE_RQ()
    request.from_primitive(_request(endpoint, _numbered([build_context(CT, EXPLICIT) for _ in range(contexts)]), ()))
    encoded = request.encode()
    assert isinstance(encoded, bytes)
    return encoded


def dial(receiver: StorageReceiver, *, source: str = "127.0.0.1") -> socket.socket:
    """A connection from an address of this machine."""
    return socket.create_connection(("127.0.0.1", receiver.port), timeout=5, source_address=(source, 0))


def knock(
    receiver: StorageReceiver,
    *,
    called: str = RECEIVER_TITLE,
    calling: str = OUR_TITLE,
    contexts: int = 1,
    source: str = "127.0.0.1",
) -> socket.socket:
    """A connection that has asked for an association."""
    raw = dial(receiver, source=source)
    raw.sendall(association_request(called=called, calling=calling, contexts=contexts))
    return raw


def answer_of(raw: socket.socket) -> tuple[int, bytes]:
    """The type and content of the next PDU."""
    head = raw.recv(6, socket.MSG_WAITALL)
    kind, length = struct.unpack(">BxL", head)
    return kind, raw.recv(length, socket.MSG_WAITALL)


def granted(raw: socket.socket) -> Association:
    """The association that was asked for, which must be granted."""
    kind, content = answer_of(raw)
    assert kind == PduType.A_ASSOCIATE_AC
    accepted = A_ASSOCIATE_AC()
    accepted.decode(pdu(PduType.A_ASSOCIATE_AC, content))
    primitive = accepted.to_primitive()
    assert primitive.maximum_length_received == MAXIMUM_PDU_SIZE
    contexts = [
        AcceptedContext(context.context_id, CT, UID(context.transfer_syntax[0]))
        for context in primitive.presentation_context_definition_results_list
        if context.result == 0
    ]
    return Association(Connection(raw, 5), contexts, 0)


def store(association: Association, sample: Sample, context_id: int = 1, *, uid: str | None = None) -> Message:
    """Send an instance; the response."""
    context = association._contexts[context_id]
    named = sample.uid if uid is None else uid
    association.send(context, {**STORE, "AffectedSOPInstanceUID": named}, sample.data)
    response = association.receive()
    assert response is not None
    return response
