"""Who may be connected to the receiver at a time: limits for all and for each peer, before and after an association."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pacs_pipeline.pacs.connection import Connection

STRANGERS = 64
STRANGERS_PER_PEER = 16
"""Connections without an association that are borne at a time."""


class Admission:
    """The connections that are open, each with its peer's address. Thread-safe.

    A connection is a *stranger* until it has an association. Where there are too many strangers, the oldest gives way:
    who has something to send introduces itself at once, who only holds a place does not.
    """

    def __init__(self, maximum: int, maximum_per_peer: int) -> None:
        self._maximum = maximum
        self._maximum_per_peer = maximum_per_peer
        self._lock = threading.Lock()
        self._strangers: dict[Connection, str] = {}  # the oldest first
        self._guests: dict[Connection, str] = {}

    def arrive(self, connection: Connection, peer: str) -> None:
        """A new connection. Whoever gives way to it is hung up."""
        with self._lock:
            theirs = [other for other, its_peer in self._strangers.items() if its_peer == peer]
            if len(theirs) >= STRANGERS_PER_PEER:
                oldest = theirs[0]
            elif len(self._strangers) >= STRANGERS:
                oldest = next(iter(self._strangers))
            else:
                oldest = None
            if oldest is not None:
                del self._strangers[oldest]
                oldest.hang_up()
            self._strangers[connection] = peer

    def admit(self, connection: Connection) -> bool:
        """Whether a stranger may have an association, which it then is counted to have."""
        with self._lock:
            peer = self._strangers.get(connection)
            if peer is None:  # it had to give way
                return False
            if len(self._guests) >= self._maximum:
                return False
            if sum(other == peer for other in self._guests.values()) >= self._maximum_per_peer:
                return False
            self._guests[connection] = self._strangers.pop(connection)
            return True

    def leave(self, connection: Connection) -> None:
        """The connection is over."""
        with self._lock:
            self._strangers.pop(connection, None)
            self._guests.pop(connection, None)

    @property
    def has_guests(self) -> bool:
        """Whether anybody has an association."""
        return bool(self._guests)

    def everybody(self) -> Iterable[Connection]:
        """All connections."""
        with self._lock:
            return (*self._strangers, *self._guests)
