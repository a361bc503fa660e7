"""Binary numbers in bulk: as many as their header says, within what they can mean, and spelling nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pacs_pipeline.deidentify.codec import Elements
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

Order = Literal["little", "big"]

FARTHEST = 1e7  # millimetres; a coordinate beyond ten kilometres is none
MOST_POINTS = 1 << 24  # of one surface or set of tracks; a larger index would have room for letters
_BY_CHANCE = 1e-3  # how often chance may write such a row of letters into one array
_LETTERS = np.zeros(256, bool)
_LETTERS[np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ^.,=@_()-:/'", np.uint8)] = True
_SHARE = float(_LETTERS.mean())

GRID_DIMENSIONS, SURFACE_POINTS = 0x00640007, 0x00660015
VECTORS, VECTOR_DIMENSIONALITY = 0x0066001E, 0x0066001F


@dataclass(frozen=True, slots=True)
class Kind:
    """An array: the numpy type of its numbers without byte order, their limit, and how many the item declares.

    ``declared`` gives None when the item does not say; then ``multiple`` numbers belong together.
    """

    dtype: str
    limit: float | None = None
    multiple: int = 1
    declared: Callable[[Elements, Order], int | None] = lambda item, order: None  # noqa: ARG005


def whole(item: Elements, tag: int, order: Order, *, size: int, values: int = 1) -> list[int] | None:
    """The ``values`` unsigned numbers of ``size`` bytes that ``tag`` holds in ``item``, None when it does not."""
    element = item.get(tag)
    if element is None or not isinstance(element.value, bytes) or len(element.value) != size * values:
        return None
    data = element.value
    return [int.from_bytes(data[at : at + size], order) for at in range(0, len(data), size)]


def _grid(item: Elements, order: Order) -> int | None:
    dimensions = whole(item, GRID_DIMENSIONS, order, size=4, values=3)
    if dimensions is None:
        return -1
    x, y, z = dimensions
    return 3 * x * y * z


def _points(item: Elements, order: Order) -> int | None:
    count = whole(item, SURFACE_POINTS, order, size=4)
    return None if count is None else 3 * count[0]  # tracks do not say


def _normals(item: Elements, order: Order) -> int | None:
    count, dimensions = (
        whole(item, VECTORS, order, size=4),
        whole(item, VECTOR_DIMENSIONALITY, order, size=2),
    )
    return -1 if count is None or dimensions is None else count[0] * dimensions[0]


# PS3.3 C.20.3, C.27.1, C.27.3, C.27.4, C.33.2
ARRAYS = {
    0x00640009: Kind("f4", FARTHEST, 3, _grid),  # VectorGridData
    0x00660016: Kind("f4", FARTHEST, 3, _points),  # PointCoordinatesData
    0x00660022: Kind("f8", FARTHEST, 3, _points),  # DoublePointCoordinatesData
    0x00660021: Kind("f4", FARTHEST, 1, _normals),  # VectorCoordinateData
    0x00660023: Kind("u2"),  # TrianglePointIndexList and its kin, retired
    0x00660024: Kind("u2"),
    0x00660025: Kind("u2"),
    0x00660029: Kind("u2"),
    0x00660040: Kind("u4", MOST_POINTS),  # LongPrimitivePointIndexList
    0x00660041: Kind("u4", MOST_POINTS, 3),  # LongTrianglePointIndexList
    0x00660042: Kind("u4", MOST_POINTS, 2),  # LongEdgePointIndexList
    0x00660043: Kind("u4", MOST_POINTS),  # LongVertexPointIndexList
    0x00660103: Kind("u2", None, 3),  # RecommendedDisplayCIELabValueList
    0x00660125: Kind("f4"),  # FloatingPointValues
    0x00660129: Kind("u4", MOST_POINTS),  # TrackPointIndexList
}


def check(kind: Kind, item: Elements, length: int, chunks: Iterable[bytes], order: Order, name: str) -> None:
    """Prove that an array of ``length`` bytes is what ``item`` declares.

    Raises Quarantine (TRUNCATED, HIDDEN_CONTENT), naming the attribute, when it is shorter, longer, holds numbers
    that mean nothing, or spells something.
    """
    size = int(kind.dtype[1])
    declared = kind.declared(item, order)
    wanted = length if declared is None else declared * size
    if length < wanted:
        raise Quarantine(Reason.TRUNCATED, f"{name} is shorter than its header says")
    exact = length in (wanted, wanted + wanted % 2)
    padded = declared is None and size > 1 and length % (size * kind.multiple) == size  # odd many numbers of 16 bits
    if not exact or (length % (size * kind.multiple) and not padded):
        raise Quarantine(Reason.HIDDEN_CONTENT, f"{name} is not as long as its header says")
    dtype = np.dtype(kind.dtype).newbyteorder(order)
    for piece in units(chunks, size):
        numbers = np.frombuffer(piece, dtype)
        sound = np.isfinite(numbers) if dtype.kind == "f" else np.ones(len(numbers), bool)
        if kind.limit is not None:
            with np.errstate(invalid="ignore"):
                sound &= np.abs(numbers) <= kind.limit if dtype.kind == "f" else numbers <= kind.limit
        if not sound.all():
            raise Quarantine(Reason.HIDDEN_CONTENT, f"{name} holds numbers that mean nothing")
        if spelled(piece, size, order):
            raise Quarantine(Reason.HIDDEN_CONTENT, f"{name} spells something")


def units(chunks: Iterable[bytes], size: int) -> Iterable[bytes]:
    """``chunks`` cut between numbers of ``size`` bytes; what is left over at the end is dropped."""
    rest = b""
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        end = len(data) - len(data) % size
        rest = data[end:]
        yield data[:end] if rest else data


def spelled(data: bytes, size: int, order: Order) -> bool:
    """Whether numbers of ``size`` bytes, 2 and more, hold a row of letters that chance would not write.

    A number whose highest byte is a letter is ordinary; that its lower bytes are letters, too, several times in a
    row, is not. How long a row has to be follows from how many numbers have such a highest byte. Numbers of one
    byte are letters as often as not, so nothing is said of them.
    """
    if size < 2:
        return False
    bytes_ = np.frombuffer(data[: len(data) - len(data) % size], np.uint8).reshape(-1, size)
    letters = _LETTERS[bytes_]
    highest = letters[:, -1 if order == "little" else 0]
    candidates = int(highest.sum())
    if not candidates:
        return False
    longest = 1
    while candidates * _SHARE ** ((size - 1) * longest) >= _BY_CHANCE:
        longest += 1
    longest = max(longest, -(-8 // size))
    rows = letters.all(axis=1)
    if int(rows.sum()) < longest:
        return False
    edges = np.flatnonzero(np.diff(np.concatenate(([0], rows.view(np.int8), [0]))))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start >= longest and len({row.tobytes() for row in bytes_[start:end]}) * 2 > longest:
            return True
    return False
