"""What the instances of a series have in common is read, judged and written once: memory from one instance to the next.

An element of the instance before with the very same bytes in the same place is the same object, see
:class:`Pieces`; what was made of it is kept by that object, see :class:`Made`. Both reach back one instance only, so
neither grows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from itertools import compress, count
from operator import is_not
from typing import Generic, TypeVar

P = TypeVar("P")
E = TypeVar("E", bound=Hashable)
M = TypeVar("M")
A = TypeVar("A")


class Run(Generic[P]):
    """Consecutive elements of an encoded data set: their bytes, and by tag what they were parsed into."""

    __slots__ = ("elements", "encoded", "last", "lengths", "repeated")

    def __init__(self, encoded: bytes, elements: dict[int, P], lengths: list[int], *, repeated: bool) -> None:
        self.encoded = encoded
        self.elements = elements
        self.lengths = lengths
        self.last = max(elements)
        self.repeated = repeated  # the instance before had these bytes, too

    def parts(self) -> list[Run[P]]:
        """A run for each of its elements."""
        parts, position = [], 0
        for (tag, parsed), length in zip(self.elements.items(), self.lengths, strict=True):
            encoded = self.encoded[position : position + length]
            parts.append(Run(encoded, {tag: parsed}, [length], repeated=False))
            position += length
        return parts


class Pieces(Generic[P]):
    """The elements of an encoded data set in file order.

    Parsing must depend on nothing but the bytes and ``encoding``; pieces of another encoding are not taken over.
    """

    def __init__(self, encoding: object, before: Pieces[P] | None = None) -> None:
        self.encoding = encoding
        self._runs: list[Run[P] | None] = []  # None where something stands that is not found again
        self._ahead: list[Run[P]] = []  # of the data set before, the next one last
        if before is not None and before.encoding == encoding:
            self._ahead = _joined(before._runs)[::-1]

    def find(self, data: bytes, position: int) -> Run[P] | None:
        """The elements that the data set before has and that stand at ``position``, as many as are known to repeat."""
        while self._ahead:
            run = self._ahead[-1]
            if data.startswith(run.encoded, position):
                self._ahead.pop()
                run.repeated = True
                self._runs.append(run)
                return run
            if len(run.lengths) == 1:
                return None
            self._ahead[-1:] = run.parts()[::-1]
        return None

    def add(self, tag: int, encoded: bytes | None, parsed: P) -> None:
        """Take in an element that was parsed; without its bytes it is not found again."""
        while self._ahead and self._ahead[-1].last <= tag:
            self._ahead.pop()
        self._runs.append(None if encoded is None else Run(encoded, {tag: parsed}, [len(encoded)], repeated=False))


def _joined(runs: list[Run[P] | None]) -> list[Run[P]]:
    """Neighbours that have repeated once are one run: they are expected to repeat together."""
    joined: list[Run[P]] = []
    together: list[Run[P]] = []
    for run in [*runs, None]:
        if run is not None and run.repeated:
            together.append(run)
            continue
        if together:
            joined.append(_one(together))
        together = []
        if run is not None:
            joined.append(run)
    return joined


def _one(runs: list[Run[P]]) -> Run[P]:
    if len(runs) == 1:
        return runs[0]
    elements = {tag: parsed for run in runs for tag, parsed in run.elements.items()}
    lengths = [length for run in runs for length in run.lengths]
    return Run(b"".join(run.encoded for run in runs), elements, lengths, repeated=True)


class Made(Generic[E, M]):
    """What was made of each element of one instance, for the next that has the same one under equal circumstances."""

    def __init__(self) -> None:
        self._elements: list[E] = []
        self._made: list[M] = []
        self._circumstances: object = None

    def of(self, elements: Iterable[E], make: Callable[[E], M], circumstances: object = None) -> list[M]:
        """``make`` of each element, in order; ``circumstances`` are everything else that decides."""
        elements = [*elements]
        if circumstances != self._circumstances:
            self._elements, self._made = [], []
        changed = [*compress(count(), map(is_not, elements, self._elements))]
        if len(elements) == len(self._elements) and 4 * len(changed) <= len(elements):  # the usual case
            made = [*self._made]
            for at in changed:
                made[at] = make(elements[at])
        else:
            known = map(dict(zip(self._elements, self._made, strict=True)).get, elements)
            made = [make(element) if one is None else one for element, one in zip(elements, known, strict=True)]
        self._elements, self._made, self._circumstances = elements, made, circumstances
        return made


class Last(Generic[A, M]):
    """What was made of the argument before, for the next one that is equal."""

    def __init__(self) -> None:
        self._made: tuple[A, M] | None = None

    def of(self, argument: A, make: Callable[[A], M]) -> M:
        """``make`` of ``argument``, which nobody changes afterwards."""
        if self._made is None or self._made[0] != argument:
            self._made = argument, make(argument)
        return self._made[1]
