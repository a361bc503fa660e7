import socket
from collections.abc import Iterator

import pytest

from pacs_pipeline.pacs.admission import STRANGERS, STRANGERS_PER_PEER, Admission
from pacs_pipeline.pacs.connection import Connection


class Guests:
    """Connections, and whether the other side still holds."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)

    def connection(self) -> Connection:
        raw = socket.create_connection(self._server.getsockname())
        other, _ = self._server.accept()
        self._sockets += [raw, other]
        return Connection(raw, 1)

    def close(self) -> None:
        for raw in (*self._sockets, self._server):
            raw.close()


@pytest.fixture
def guests() -> Iterator[Guests]:
    made = Guests()
    yield made
    made.close()


def test_the_oldest_stranger_of_a_peer_gives_way(guests: Guests) -> None:
    admission = Admission(10, 10)
    others = guests.connection()
    admission.arrive(others, "other")
    first, *rest = [guests.connection() for _ in range(STRANGERS_PER_PEER + 1)]
    for connection in (first, *rest):
        admission.arrive(connection, "peer")
    assert not first.is_quiet
    assert not admission.admit(first)
    assert all(connection.is_quiet for connection in (others, *rest))
    assert admission.admit(rest[0])
    assert admission.admit(others)


def test_the_oldest_of_all_gives_way_to_a_peer_that_has_few(guests: Guests) -> None:
    admission = Admission(10, 10)
    connections = [guests.connection() for _ in range(STRANGERS + 1)]
    for number, connection in enumerate(connections):
        admission.arrive(connection, f"peer {number}")
    assert [connection.is_quiet for connection in connections] == [False] + [True] * STRANGERS


def test_a_guest_never_gives_way_and_leaving_makes_room(guests: Guests) -> None:
    admission = Admission(2, 1)
    one, two, three, four = (guests.connection() for _ in range(4))
    for connection, peer in ((one, "a"), (two, "a"), (three, "b"), (four, "c")):
        admission.arrive(connection, peer)
    assert not admission.has_guests
    assert admission.admit(one)
    assert not admission.admit(two)
    assert admission.admit(three)
    assert not admission.admit(four)
    for _ in range(2 * STRANGERS):
        admission.arrive(guests.connection(), "a")
    assert one.is_quiet
    admission.leave(one)
    assert admission.admit(four)
    admission.leave(three)
    admission.leave(four)
    assert not admission.has_guests
