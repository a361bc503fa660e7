"""Cuts and replacements in a byte string, collected while it is walked and made in one go."""

from __future__ import annotations


class Edits:
    """What is to be changed in ``data``; stretches must not overlap."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._changes: list[tuple[int, int, bytes]] = []

    def replace(self, start: int, stop: int, by: bytes = b"") -> None:
        """Put ``by`` where ``start`` to ``stop`` stand; nothing is noted when it stands there already."""
        if self.data[start:stop] != by:
            self._changes.append((start, stop, by))

    def made(self) -> bytes:
        """The changed bytes; the very same object when nothing changes."""
        if not self._changes:
            return self.data
        pieces, position = [], 0
        for start, stop, by in sorted(self._changes):
            pieces += [self.data[position:start], by]
            position = stop
        return b"".join([*pieces, self.data[position:]])

    def cut_tail(self, position: int) -> None:
        """Cut what follows ``position``; padding (zeros, or one fill byte) only when something changes anyway."""
        tail = self.data[position:]
        if self._changes or (any(tail) and tail != b"\xff"):
            self.replace(position, len(self.data))
