"""The receiver as a server on a hospital's network: who may come in, how many, for how long, and what is kept."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline.pacs import Delivery, StorageReceiver, open_receiver
from pacs_pipeline.pacs.admission import STRANGERS_PER_PEER
from pacs_pipeline.pacs.command import CommandField
from pacs_pipeline.pacs.connection import PduType, pdu
from pacs_pipeline.pacs.landing import Arrival, Landing
from pacs_pipeline.settings import ReceiverSettings
from pacs_pipeline_tests.unit.pacs.dialling import (
    answer_of,
    association_request,
    command_of,
    data_pdu,
    dial,
    granted,
    knock,
    pdv,
    store,
)
from pacs_pipeline_tests.unit.pacs.peers import OUR_TITLE, RECEIVER_TITLE
from pacs_pipeline_tests.unit.pacs.samples import CT, EXPLICIT, SERIES, Sample, samples

LOCAL_LIMIT = (PduType.A_ASSOCIATE_RJ, bytes((0, 2, 3, 2)))
UNKNOWN_CALLER = (PduType.A_ASSOCIATE_RJ, bytes((0, 1, 1, 3)))


@dataclass
class Inbox:
    """A sink that keeps what comes in memory, and fails as it is told."""

    delivered: list[tuple[Delivery, str]] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    abandoned: list[bytes] = field(default_factory=list)
    fails_at: str = ""
    error: Exception = field(default_factory=lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def begin(self, delivery: Delivery, calling_ae_title: str, /) -> Incoming:
        self.delivered.append((delivery, calling_ae_title))
        self.fail("begin")
        return Incoming(self)

    def fail(self, where: str) -> None:
        if self.fails_at == where:
            raise self.error


@dataclass
class Incoming:
    inbox: Inbox
    data: bytearray = field(default_factory=bytearray)

    def write(self, chunk: memoryview, /) -> None:
        self.inbox.fail("write")
        self.data += chunk

    def finish(self) -> int:
        self.inbox.fail("finish")
        self.inbox.kept.append(bytes(self.data))
        return 0

    def abandon(self) -> None:
        self.inbox.abandoned.append(bytes(self.data))


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def receiver(unused_port: int, inbox: Inbox) -> Iterator[StorageReceiver]:
    with StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", timeout=1, sink=inbox) as standing:
        yield standing


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(SERIES, {sample.uid for sample in samples(4)}, tmp_path / "into")


@contextlib.contextmanager
def expecting(port: int, landing: Landing, *, timeout: float = 1) -> Iterator[StorageReceiver]:
    with StorageReceiver(RECEIVER_TITLE, port, bind="127.0.0.1", timeout=timeout) as receiver:
        receiver.expect(landing, (OUR_TITLE, 1), compressed_first=False)
        yield receiver


def eventually(condition: object) -> bool:
    for _ in range(200):
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def closed(raw: socket.socket) -> bool:
    """Whether the other side has hung up; waits for it."""
    try:
        while raw.recv(1000):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


# --- a standing receiver ---


def test_everything_that_is_pushed_goes_to_the_sink(receiver: StorageReceiver, inbox: Inbox) -> None:
    pushed = samples(3)
    with knock(receiver, calling="SCANNER 1") as raw:
        association = granted(raw)
        assert [store(association, sample).status for sample in pushed] == [0, 0, 0]
    assert inbox.kept == [sample.data for sample in pushed]
    assert inbox.delivered == [(Delivery(CT, sample.uid, EXPLICIT, False), "SCANNER 1") for sample in pushed]
    assert inbox.abandoned == []


@pytest.mark.parametrize("where", ["begin", "write", "finish"])
def test_a_disk_that_fails_the_sink_is_answered_and_the_association_goes_on(
    receiver: StorageReceiver, inbox: Inbox, where: str
) -> None:
    first, second = samples(2)
    with knock(receiver) as raw:
        association = granted(raw)
        inbox.fails_at = where
        assert store(association, first).status == 0xA700
        inbox.fails_at = ""
        assert store(association, second).status == 0
    assert inbox.kept == [second.data]
    assert len(inbox.abandoned) == (where == "write")


def test_a_sink_with_a_bug_ends_that_association_only(receiver: StorageReceiver, inbox: Inbox) -> None:
    first, second = samples(2)
    inbox.error, inbox.fails_at = RuntimeError("a bug"), "write"
    with knock(receiver) as raw:
        association = granted(raw)
        association.send(
            association._contexts[1],
            {"CommandField": 1, "MessageID": 1, "AffectedSOPClassUID": CT, "AffectedSOPInstanceUID": first.uid},
            first.data,
        )
        assert closed(raw)
    assert len(inbox.abandoned) == 1
    inbox.fails_at = ""
    with knock(receiver) as raw:
        assert store(granted(raw), second).status == 0


@pytest.mark.parametrize("uid", ["../x", "../../etc/passwd", "", ".", "1.2.a", "1.2/3", "1.2.3\\4", "1" * 65])
def test_what_is_no_uid_never_reaches_the_sink(receiver: StorageReceiver, inbox: Inbox, uid: str) -> None:
    (sample,) = samples(1)
    with knock(receiver) as raw:
        association = granted(raw)
        assert store(association, sample, uid=uid).status == 0x0117
        assert inbox.delivered == []
        assert store(association, sample).status == 0


def test_a_sender_that_is_lost_is_abandoned(receiver: StorageReceiver, inbox: Inbox) -> None:
    (sample,) = samples(1)
    with knock(receiver) as raw:
        granted(raw)
        raw.sendall(data_pdu(pdv(command_of(sample.data, sample.uid), 0b11), pdv(sample.data[:50], 0)))
        raw.shutdown(socket.SHUT_WR)
        assert closed(raw)
    assert eventually(lambda: inbox.abandoned)
    assert inbox.abandoned == [sample.data[:50]]
    assert inbox.kept == []


@settings(max_examples=30, deadline=None)
@given(data=st.binary(min_size=1, max_size=3000), size=st.integers(1, 3500), segment=st.integers(1, 5000))
def test_a_data_set_is_the_same_in_fragments_of_any_size(data: bytes, size: int, segment: int) -> None:
    inbox = Inbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with StorageReceiver(RECEIVER_TITLE, port, bind="127.0.0.1", sink=inbox) as receiver, knock(receiver) as raw:
        association = granted(raw)
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        wire = data_pdu(pdv(command_of(data, "1.2.3"), 0b11))
        wire += b"".join(data_pdu(pdv(piece, 0), pdv(b"", 0)) for piece in pieces) + data_pdu(pdv(b"", 0b10))
        for start in range(0, len(wire), segment):
            raw.sendall(wire[start : start + segment])
        response = association.receive()
    assert response is not None
    assert response.status == 0
    assert inbox.kept == [data]


def test_the_settings_describe_a_receiver(unused_port: int, inbox: Inbox) -> None:
    described = ReceiverSettings.model_validate(
        {
            "ae_title": RECEIVER_TITLE,
            "port": unused_port,
            "bind": "127.0.0.1",
            "allowed_ae_titles": ["SCANNER"],
            "maximum_associations": 2,
            "maximum_associations_per_peer": 1,
        }
    )
    with open_receiver(described, timeout=1, sink=inbox) as receiver:
        with knock(receiver, calling="ANYBODY") as raw:
            assert answer_of(raw) == UNKNOWN_CALLER
        with knock(receiver, calling="SCANNER") as one:
            assert store(granted(one), Sample(1)).status == 0
            with knock(receiver, calling="SCANNER") as two:
                assert answer_of(two) == LOCAL_LIMIT
    assert [title for _, title in inbox.delivered] == ["SCANNER"]


# --- who may come in, and how many ---


def test_an_allow_list_lets_nobody_else_in(unused_port: int) -> None:
    allowed = ("PACS_A", "PACS B")
    with StorageReceiver(RECEIVER_TITLE, unused_port, bind="127.0.0.1", allowed_ae_titles=allowed) as receiver:
        for title in allowed:
            with knock(receiver, calling=title) as raw:
                assert granted(raw).is_usable
        for title in ("PACS", "PACS_A2", "pacs_a", OUR_TITLE):
            with knock(receiver, calling=title) as raw:
                assert answer_of(raw) == UNKNOWN_CALLER


def test_one_peer_cannot_take_every_association(unused_port: int) -> None:
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(
            StorageReceiver(
                RECEIVER_TITLE, unused_port, bind="127.0.0.1", maximum_associations=3, maximum_associations_per_peer=2
            )
        )
        for _ in range(2):
            assert granted(stack.enter_context(knock(receiver))).is_usable
        for _ in range(20):  # a storm
            with knock(receiver) as more:
                assert answer_of(more) == LOCAL_LIMIT
        assert granted(stack.enter_context(knock(receiver, source="127.0.0.2"))).is_usable
        with knock(receiver, source="127.0.0.3") as fourth:
            assert answer_of(fourth) == LOCAL_LIMIT


def test_two_hundred_idle_connections_keep_nobody_out_not_even_at_first(receiver: StorageReceiver) -> None:
    threads = threading.active_count()
    idle = [dial(receiver) for _ in range(200)]
    try:
        for source in ("127.0.0.1", "127.0.0.2"):
            with knock(receiver, source=source) as raw:
                assert granted(raw).is_usable
        assert eventually(lambda: threading.active_count() <= threads + STRANGERS_PER_PEER)
    finally:
        for raw in idle:
            raw.close()


def test_idle_connections_of_many_peers_keep_nobody_out(receiver: StorageReceiver) -> None:
    idle = [dial(receiver, source=f"127.0.1.{1 + number // 8}") for number in range(120)]
    try:
        with knock(receiver) as raw:
            assert granted(raw).is_usable
    finally:
        for raw in idle:
            raw.close()


def test_a_slow_loris_is_not_waited_for(receiver: StorageReceiver) -> None:
    request = association_request()
    started = time.monotonic()
    with dial(receiver) as raw:
        with contextlib.suppress(OSError):
            for byte in request[:60]:
                raw.sendall(bytes((byte,)))
                time.sleep(0.1)
        assert closed(raw)
    assert time.monotonic() - started < 5.5  # it would have taken 6 s for its first 60 bytes


def test_a_pdu_that_trickles_in_is_not_waited_for(receiver: StorageReceiver, inbox: Inbox) -> None:
    (sample,) = samples(1)
    started = time.monotonic()
    with knock(receiver) as raw:
        granted(raw)
        raw.sendall(data_pdu(pdv(command_of(sample.data, sample.uid), 0b11)))
        raw.sendall(struct.pack(">BxL", PduType.P_DATA_TF, 10_000))
        with contextlib.suppress(OSError):
            for _ in range(60):
                raw.sendall(b"\0")
                time.sleep(0.1)
        assert closed(raw)
    assert time.monotonic() - started < 5.5
    assert inbox.kept == []


def test_an_association_that_falls_silent_is_ended(receiver: StorageReceiver) -> None:
    with knock(receiver) as raw:
        granted(raw)
        started = time.monotonic()
        assert closed(raw)
    assert time.monotonic() - started < 4


OVERSIZE = {
    "an association request of 4 GB": struct.pack(">BxL", PduType.A_ASSOCIATE_RQ, 0xFFFFFFFF),
    "an association request of 2 MB": struct.pack(">BxL", PduType.A_ASSOCIATE_RQ, 2 << 20),
    "data of 400 MB before an association": struct.pack(">BxL", PduType.P_DATA_TF, 400_000_000),
    "an unknown type of 1 GB": struct.pack(">BxL", 0x42, 1 << 30),
}


@pytest.mark.parametrize("wire", OVERSIZE.values(), ids=OVERSIZE.keys())
def test_a_length_is_believed_only_up_to_a_limit(receiver: StorageReceiver, wire: bytes) -> None:
    tracemalloc.start()
    try:
        with dial(receiver) as raw:
            raw.sendall(wire)
            assert closed(raw)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    with knock(receiver) as raw:
        assert granted(raw).is_usable


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_leave_the_receiver_standing(garbage: bytes, after_a_request: bool) -> None:
    receiver = _shared()
    with knock(receiver) if after_a_request else dial(receiver) as raw:
        with contextlib.suppress(OSError):
            raw.sendall(garbage)
            raw.shutdown(socket.SHUT_WR)
        assert closed(raw)


@settings(max_examples=60, deadline=None)
@given(st.integers(6, 200), st.binary(min_size=1, max_size=6))
def test_a_request_with_a_damaged_place_leaves_the_receiver_standing(place: int, damage: bytes) -> None:
    request = bytearray(association_request())
    place = min(place, len(request) - len(damage))
    request[place : place + len(damage)] = damage
    with dial(_shared()) as raw:
        raw.sendall(request)
        raw.shutdown(socket.SHUT_WR)
        assert closed(raw)


_standing: list[StorageReceiver] = []


def _shared() -> StorageReceiver:
    """One receiver for all examples of a test: that it still stands is what they are about."""
    return _standing[0]


@pytest.fixture(scope="module", autouse=True)
def _stand() -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with StorageReceiver(RECEIVER_TITLE, port, bind="127.0.0.1", timeout=2, sink=Inbox()) as receiver:
        _standing.append(receiver)
        yield
        with knock(receiver) as raw:
            assert granted(raw).is_usable
        _standing.clear()


# --- what is kept ---


def test_fragments_without_content_are_fragments(unused_port: int, landing: Landing) -> None:
    (sample,) = samples(1)
    with expecting(unused_port, landing) as receiver, knock(receiver) as raw:
        association = granted(raw)
        raw.sendall(data_pdu(pdv(b"", 0b01), pdv(command_of(sample.data, sample.uid), 0b01), pdv(b"", 0b11)))
        raw.sendall(data_pdu(*[pdv(b"", 0)] * 1000))
        raw.sendall(data_pdu(pdv(sample.data[:7], 0), pdv(b"", 0), pdv(sample.data[7:], 0)))
        raw.sendall(data_pdu(pdv(b"", 0b10)))
        response = association.receive()
    assert response is not None
    assert response.status == 0
    assert landing.landed[sample.uid].path.read_bytes().endswith(sample.data)


def test_a_data_set_without_content_is_no_instance(unused_port: int, landing: Landing) -> None:
    (sample,) = samples(1)
    with expecting(unused_port, landing) as receiver, knock(receiver) as raw:
        association = granted(raw)
        raw.sendall(data_pdu(pdv(command_of(b"x", sample.uid), 0b11), pdv(b"", 0b10)))
        response = association.receive()
    assert response is not None
    assert response.status == 0xC000
    assert landing.landed == {}


def test_a_hostile_uid_is_no_path(unused_port: int, landing: Landing, tmp_path: Path) -> None:
    (sample,) = samples(1)
    with expecting(unused_port, landing) as receiver, knock(receiver) as raw:
        association = granted(raw)
        for uid in ("../x", "../../x", "/x", ".part", "1.2.3/../../x"):
            assert store(association, sample, uid=uid).status == 0x0117
        assert store(association, sample).status == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == [f"{sample.uid}.dcm", "into"]


def test_a_full_disk_is_answered_and_nothing_is_left(
    unused_port: int, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = samples(2)

    def full(self: Arrival, chunk: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with expecting(unused_port, landing) as receiver, knock(receiver) as raw:
        association = granted(raw)
        with monkeypatch.context() as patch:
            patch.setattr(Arrival, "_put", full)
            assert store(association, first).status == 0xA700
        assert list(landing.into.iterdir()) == []
        assert landing.is_full
        assert store(association, second).status == 0


def test_what_must_stay_free_stays_free(unused_port: int, tmp_path: Path) -> None:
    wanted = samples(2)
    disk = os.statvfs(tmp_path)
    too_much = disk.f_blocks * disk.f_frsize + 1
    landing = Landing(SERIES, {sample.uid for sample in wanted}, tmp_path / "into", minimum_free_bytes=too_much)
    with expecting(unused_port, landing) as receiver, knock(receiver) as raw:
        association = granted(raw)
        assert store(association, wanted[0]).status == 0xA700
    assert list(landing.into.iterdir()) == []
    (failure,) = landing.failures
    assert failure.status == 0xA700
    assert "minimum_free_gib" in failure.message


def test_a_sender_killed_at_any_byte_leaves_no_file(unused_port: int, landing: Landing) -> None:
    (sample,) = samples(1)
    wire = data_pdu(pdv(command_of(sample.data, sample.uid), 0b11)) + data_pdu(pdv(sample.data, 0b10))
    with expecting(unused_port, landing) as receiver:
        for cut in range(1, len(wire), 97):
            with knock(receiver) as raw:
                granted(raw)
                raw.sendall(wire[:cut])
                # an abrupt end: reset rather than a farewell
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert eventually(lambda: not list(landing.into.iterdir()))
    assert landing.landed == {}


def test_a_large_instance_does_not_fill_the_memory(unused_port: int, tmp_path: Path) -> None:
    size = 64 << 20
    sample = Sample(1)
    head = sample.data[: -(256 * 8 + 12)]
    head += struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, size)
    landing = Landing(SERIES, {sample.uid}, tmp_path / "into")
    piece = data_pdu(pdv(bytes(1 << 16), 0))
    with expecting(unused_port, landing, timeout=10) as receiver, knock(receiver) as raw:
        association = granted(raw)
        raw.settimeout(30)
        tracemalloc.start()
        try:
            raw.sendall(data_pdu(pdv(command_of(head, sample.uid), 0b11), pdv(head, 0)))
            for _ in range(size >> 16):
                raw.sendall(piece)
            raw.sendall(data_pdu(pdv(b"", 0b10)))
            association._connection.timeout = 30
            response = association.receive()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert response is not None
    assert response.status == 0
    assert landing.landed[sample.uid].size > size
    assert peak < 4 << 20


def test_a_release_in_the_middle_of_a_fragment_stream_is_no_success(unused_port: int, landing: Landing) -> None:
    (sample,) = samples(1)
    with expecting(unused_port, landing) as receiver, knock(receiver) as raw:
        granted(raw)
        raw.sendall(data_pdu(pdv(command_of(sample.data, sample.uid), 0b11), pdv(sample.data, 0)))
        raw.sendall(pdu(PduType.A_RELEASE_RQ, b"\0\0\0\0"))
        assert closed(raw)
    assert landing.landed == {}
    assert _names(landing) == []


def _names(landing: Landing) -> Sequence[str]:
    return sorted(path.name for path in landing.into.iterdir())


def test_several_peers_at_once(unused_port: int, landing: Landing) -> None:
    wanted = samples(4)
    statuses: list[int] = []

    def send(source: str) -> None:
        with knock(receiver, source=source) as raw:
            association = granted(raw)
            statuses.extend(store(association, sample).status for sample in wanted)
            (answer,) = association.ask(association._contexts[1], CommandField.C_ECHO_RQ)
            statuses.append(answer.status)

    with expecting(unused_port, landing) as receiver:
        threads = [threading.Thread(target=send, args=(f"127.0.0.{n}",)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [0] * 20
    assert len(landing.landed) == 4
    assert landing.duplicates == 12
