"""What the instances of a series have in common is read, judged and written once: memory from one instance to the next.

An element of the instance before with the very same bytes in the same place is the same object, see
:class:`Pieces`; what was made of it is kept by that object, see :class:`Made`. Both reach back one instance only, so
neither grows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

P = TypeVar("P")
E = TypeVar("E", bound=Hashable)
M = TypeVar("M")


class Pieces(Generic[P]):
    """The elements of an encoded data set in file order: tag, bytes, and what they were parsed into.

    Parsing must depend on nothing but the bytes and ``encoding``; pieces of another encoding are not taken over.
    """

    def __init__(self, encoding: object, before: Pieces[P] | None = None) -> None:
        self.encoding = encoding
        self._pieces: list[tuple[int, bytes, P]] = []
        self._before = before._pieces if before is not None and before.encoding == encoding else []
        self._at = 0

    def find(self, data: bytes, position: int) -> tuple[int, int, P] | None:
        """Tag, length and parsed form when the data set before has the bytes that stand at ``position``."""
        if self._at == len(self._before):
            return None
        piece = self._before[self._at]
        if not data.startswith(piece[1], position):
            return None
        self._at += 1
        self._pieces.append(piece)
        return piece[0], len(piece[1]), piece[2]

    def passed(self, tag: int) -> None:
        """Go on behind ``tag``, whose element was parsed."""
        before, at = self._before, self._at
        while at < len(before) and before[at][0] <= tag:
            at += 1
        self._at = at

    def add(self, tag: int, encoded: bytes, parsed: P) -> None:
        """Take in an element that was parsed."""
        self._pieces.append((tag, encoded, parsed))


class Made(Generic[E, M]):
    """What was made of each element of one instance, for the next that has the same one under equal circumstances."""

    def __init__(self) -> None:
        self._made: dict[E, M] = {}
        self._circumstances: object = None

    def of(self, elements: Iterable[E], make: Callable[[E], M], circumstances: object = None) -> list[M]:
        """``make`` of each element, in order; ``circumstances`` are everything else that decides."""
        before = self._made if circumstances == self._circumstances else {}
        now: dict[E, M] = {}
        for element in elements:
            made = before.get(element)
            now[element] = make(element) if made is None else made
        self._made, self._circumstances = now, circumstances
        return list(now.values())
