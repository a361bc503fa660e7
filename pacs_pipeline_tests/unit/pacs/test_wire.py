"""What comes over an association byte by byte: fragments of every size, farewells, and what is no DICOM."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF

from pacs_pipeline.pacs import StorageReceiver
from pacs_pipeline.pacs.association import AcceptedContext, Association
from pacs_pipeline.pacs.command import CommandField, encode
from pacs_pipeline.pacs.connection import MAXIMUM_PDU_SIZE, Connection, Lost, PduType, pdu
from pacs_pipeline.pacs.contexts import MAXIMUM_CONTEXTS
from pacs_pipeline.pacs.landing import Landing
from pacs_pipeline_tests.unit.pacs.dialling import (
    STORE,
    answer_of,
    command_of,
    data_pdu,
    granted,
    knock,
    pdv,
    store,
)
from pacs_pipeline_tests.unit.pacs.peers import OUR_TITLE, RECEIVER_TITLE
from pacs_pipeline_tests.unit.pacs.samples import CT, EXPLICIT, SERIES, samples

CONTEXT = AcceptedContext(1, CT, UID(EXPLICIT))
FIND = AcceptedContext(3, "1.2.840.10008.5.1.4.1.2.2.1", UID(EXPLICIT))


@contextlib.contextmanager
def pair(*, timeout: float = 2.0, largest_pdu: int = 0) -> Iterator[tuple[Association, socket.socket]]:
    """An association and the bare socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    theirs.settimeout(5)
    connection = Connection(ours, timeout)
    with theirs:
        yield Association(connection, [CONTEXT, FIND], largest_pdu), theirs
    connection.close()


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)] or [b""]


@given(
    data=st.binary(min_size=1, max_size=300),
    command_size=st.integers(1, 200),
    data_size=st.integers(1, 320),
    per_pdu=st.integers(1, 5),
    segments=st.integers(1, 4000),
)
def test_a_message_is_whole_however_it_is_cut(
    data: bytes, command_size: int, data_size: int, per_pdu: int, segments: int
) -> None:
    commands, pieces = cut(command_of(data), command_size), cut(data, data_size)
    pdvs = [pdv(piece, 0b01) for piece in commands[:-1]] + [pdv(commands[-1], 0b11)]
    pdvs += [pdv(piece, 0b00) for piece in pieces[:-1]] + [pdv(pieces[-1], 0b10)]
    wire = b"".join(data_pdu(*pdvs[n : n + per_pdu]) for n in range(0, len(pdvs), per_pdu))
    with pair() as (association, peer):
        for segment in cut(wire * 2, segments):
            peer.sendall(segment)
        for _ in range(2):
            message = association.receive()
            assert message is not None
            assert message.data == data
            assert message.command["MessageID"] == 5


@pytest.mark.parametrize("largest", [0, 16, 64, 4096])
def test_what_is_sent_keeps_to_what_the_peer_takes(largest: int) -> None:
    data = bytes(range(256)) * 3
    with pair(largest_pdu=largest) as (association, peer):
        association.send(CONTEXT, STORE, data)
        other = Association(Connection(peer, 2), [CONTEXT], 0)
        sizes: list[int] = []
        other._connection.heard = lambda: sizes.append(1)
        message = other.receive()
    assert message is not None
    assert message.data == data
    assert len(sizes) >= len(data) // (largest or MAXIMUM_PDU_SIZE)


def test_pynetdicom_sends_the_same() -> None:
    request = C_STORE()
    request.MessageID, request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = 5, CT, "1.2.3"
    request.Priority, request.DataSet = 0, BytesIO(b"data" * 500)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    with pair() as (association, peer):
        for primitive in message.encode_msg(1, 200):
            wire = P_DATA_TF()
            wire.from_primitive(primitive)
            peer.sendall(wire.encode())
        received = association.receive()
    assert received is not None
    assert received.data == b"data" * 500
    assert received.command["AffectedSOPInstanceUID"] == "1.2.3"


def test_a_release_is_answered() -> None:
    with pair() as (association, peer):
        peer.sendall(pdu(PduType.A_RELEASE_RQ, b"\0\0\0\0"))
        assert not association.is_usable
        assert association.receive() is None
        assert peer.recv(100) == pdu(PduType.A_RELEASE_RP, b"\0\0\0\0")
        assert not association.is_usable


@pytest.mark.parametrize("answer", [pdu(PduType.A_RELEASE_RP, b"\0\0\0\0"), pdu(PduType.A_ABORT, b"\0\0\0\0"), b""])
def test_a_release_ends_whatever_the_peer_says(answer: bytes) -> None:
    with pair() as (association, peer):
        peer.sendall(data_pdu(pdv(b"late", 0)) + answer)
        if not answer:
            peer.shutdown(socket.SHUT_WR)
        association.release()
        assert not association.is_usable


WHOLE = command_of(b"")
BROKEN = {
    "no PDU type": b"\x09\0\0\0\0\0",
    "a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a PDU of 4 GB": b"\x04\0\xff\xff\xff\xff",
    "an association request": pdu(PduType.A_ASSOCIATE_RQ, b""),
    "a release response": pdu(PduType.A_RELEASE_RP, b"\0\0\0\0"),
    "no content": data_pdu(),
    "half a header": pdu(PduType.P_DATA_TF, b"\0\0\0"),
    "a fragment longer than its PDU": pdu(PduType.P_DATA_TF, struct.pack(">LBB", 100, 1, 3) + WHOLE[:20]),
    "a fragment without a header": pdu(PduType.P_DATA_TF, struct.pack(">LBB", 1, 1, 3)),
    "a context nobody agreed on": data_pdu(pdv(WHOLE, 0b11, context_id=7)),
    "data before a command": data_pdu(pdv(b"data", 0b10)),
    "no command set": data_pdu(pdv(b"nonsense", 0b11)),
    "a command without an end": b"".join(data_pdu(pdv(b"\0" * 30_000, 0b01)) for _ in range(3)),
    "a command in the middle of data": data_pdu(pdv(command_of(b"x"), 0b11), pdv(b"x", 0), pdv(WHOLE, 0b11)),
    "data of another context": data_pdu(pdv(command_of(b"x"), 0b11), pdv(b"x", 0b10, context_id=3)),
    "a command instead of data": data_pdu(pdv(command_of(b"x"), 0b11), pdv(WHOLE, 0b11)),
    "a release instead of data": data_pdu(pdv(command_of(b"x"), 0b11)) + pdu(PduType.A_RELEASE_RQ, b"\0\0\0\0"),
}


@pytest.mark.parametrize("wire", BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_the_protocol_ends_the_association(wire: bytes) -> None:
    with pair() as (association, peer):
        peer.sendall(wire)
        with pytest.raises(Lost):
            association.receive()
        assert not association.is_usable
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(100)[:1] in (b"\x07", b"\x06", b"")


@given(st.binary(min_size=1, max_size=400))
def test_any_bytes_end_in_a_message_or_are_lost(wire: bytes) -> None:
    with pair(timeout=0.5) as (association, peer):
        peer.sendall(wire)
        peer.shutdown(socket.SHUT_WR)
        with contextlib.suppress(Lost):
            while association.receive() is not None:
                pass


def test_silence_is_bounded_and_patience_extends_it() -> None:
    with pair(timeout=0.2) as (association, _peer):
        started = time.monotonic()
        more = iter((0.2, 0.2, 0.0))
        association._connection.patience = lambda: next(more)
        with pytest.raises(Lost, match="silent"):
            association.receive()
        assert time.monotonic() - started >= 0.55


def test_another_thread_can_hang_up() -> None:
    with pair(timeout=30) as (association, _peer):
        timer = threading.Timer(0.1, association._connection.hang_up)
        timer.start()
        started = time.monotonic()
        with pytest.raises(Lost):
            association.receive()
        timer.join()
        assert time.monotonic() - started < 5


RESPONSES: dict[str, dict[str, str | int]] = {
    "of another request": {"CommandField": 0x8021, "MessageIDBeingRespondedTo": 1, "Status": 0},
    "to another message": {"CommandField": 0x8020, "MessageIDBeingRespondedTo": 9, "Status": 0},
    "without a status": {"CommandField": 0x8020, "MessageIDBeingRespondedTo": 1},
    "that is a request": {"CommandField": 0x0020, "MessageID": 1, "Status": 0},
    "that is a C-STORE": {"CommandField": 0x0001, "MessageID": 1},
}


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES.keys())
def test_a_response_that_is_none(response: dict[str, str | int]) -> None:
    with pair() as (association, peer):
        peer.sendall(data_pdu(pdv(encode({**response, "CommandDataSetType": 0x0101}), 0b11, context_id=3)))
        with pytest.raises(Lost, match="no response"):
            list(association.ask(FIND, CommandField.C_FIND_RQ))


# --- negotiation, and the receiver ---


@pytest.fixture
def receiver(unused_port: int) -> Iterator[StorageReceiver]:
    with StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", timeout=1) as open_receiver:
        yield open_receiver


def test_all_contexts_that_fit_are_granted(receiver: StorageReceiver) -> None:
    with knock(receiver, contexts=MAXIMUM_CONTEXTS) as raw:
        assert len(granted(raw)._contexts) == MAXIMUM_CONTEXTS


def test_a_wrong_title_is_refused(receiver: StorageReceiver) -> None:
    with knock(receiver, called="SOMEONE") as raw:
        assert answer_of(raw) == (PduType.A_ASSOCIATE_RJ, bytes((0, 1, 1, 7)))


def test_more_associations_than_allowed_are_refused_for_now(unused_port: int) -> None:
    with (
        StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", maximum_associations=2) as receiver,
        knock(receiver) as first,
        knock(receiver) as second,
    ):
        assert granted(first).is_usable
        assert granted(second).is_usable
        with knock(receiver) as third:
            assert answer_of(third) == (PduType.A_ASSOCIATE_RJ, bytes((0, 2, 3, 2)))
        first.close()
        for _ in range(100):
            with knock(receiver) as fourth:
                if answer_of(fourth)[0] == PduType.A_ASSOCIATE_AC:
                    return
            time.sleep(0.02)
        pytest.fail("the place of the association that ended stayed taken")


def test_two_hundred_idle_connections_keep_nobody_out(receiver: StorageReceiver) -> None:
    idle = [socket.create_connection(("127.0.0.1", receiver.port), timeout=5) for _ in range(200)]
    try:
        time.sleep(1.2)  # longer than they are borne
        with knock(receiver) as raw:
            assert granted(raw).is_usable
    finally:
        for raw in idle:
            raw.close()


def is_no_request(raw: socket.socket) -> None:
    raw.sendall(b"GET / HTTP/1.1\r\n\r\n")


def breaks_off(raw: socket.socket) -> None:
    raw.sendall(b"\x01\0\0\0\x10\0half a request")
    raw.shutdown(socket.SHUT_WR)


def is_garbage(raw: socket.socket) -> None:
    raw.sendall(pdu(PduType.A_ASSOCIATE_RQ, bytes(range(200))))


def is_data(raw: socket.socket) -> None:
    raw.sendall(data_pdu(pdv(WHOLE, 0b11)))


@pytest.mark.parametrize("behave", [is_no_request, breaks_off, is_garbage, is_data])
def test_a_stranger_is_shown_out(receiver: StorageReceiver, behave: Callable[[socket.socket], None]) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=5) as raw:
        behave(raw)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1000):
                pass
    with knock(receiver) as raw:
        assert granted(raw).is_usable


def test_an_echo_is_answered_and_another_service_is_not(receiver: StorageReceiver) -> None:
    with knock(receiver) as raw:
        association = granted(raw)
        context = association._contexts[1]
        (answer,) = association.ask(context, CommandField.C_ECHO_RQ)
        assert answer.status == 0
        with pytest.raises(Lost):
            list(association.ask(context, CommandField.C_FIND_RQ))


def test_instances_are_taken_only_while_a_request_waits(receiver: StorageReceiver, tmp_path: Path) -> None:
    archive = samples(2)
    landing = Landing(SERIES, {sample.uid for sample in archive}, tmp_path)
    with knock(receiver) as raw:
        association = granted(raw)
        assert store(association, archive[0]).status == 0x0124
        receiver.expect(landing, (OUR_TITLE, 1), compressed_first=False)
        response = store(association, archive[0])
        assert response.status == 0
        assert response.command["AffectedSOPInstanceUID"] == archive[0].uid
        receiver.refuse_all()
        assert store(association, archive[1]).status == 0x0124
    assert _landed(landing) == [archive[0].uid]


def test_a_sender_that_dies_inside_an_instance_leaves_nothing(receiver: StorageReceiver, tmp_path: Path) -> None:
    (sample,) = samples(1)
    landing = Landing(SERIES, {sample.uid}, tmp_path)
    receiver.expect(landing, (OUR_TITLE, 1), compressed_first=False)
    with knock(receiver) as raw:
        granted(raw)
        raw.sendall(data_pdu(pdv(command_of(sample.data), 0b11), pdv(sample.data[:50], 0)))
    time.sleep(0.1)
    assert landing.deliveries == 0
    assert list(tmp_path.iterdir()) == []


def test_leaving_hangs_up_and_frees_the_port(unused_port: int) -> None:
    with StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1") as receiver:
        raw = knock(receiver)
        association = granted(raw)
    with raw, pytest.raises(Lost):
        association.receive()
    with StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1") as receiver, knock(receiver) as again:
        assert granted(again).is_usable


def _landed(landing: Landing) -> Sequence[str]:
    return sorted(landing.landed)
