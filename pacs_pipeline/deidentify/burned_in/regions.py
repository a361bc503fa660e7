"""Rectangles of frames that are blanked, and what follows from several of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BRIDGE, ALIGNED = 3, 0.7  # heights between two boxes of a line, and the share of the height they have in common
Source = Literal["device", "ultrasound", "text"]
Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are the first ones outside
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """A rectangle that is blanked in every frame.

    ``left`` and ``top`` are the first column and row, ``right`` and ``bottom`` the first ones that stay.
    ``source`` says who asked for it: a device rule, SequenceOfUltrasoundRegions, or the text detector.
    """

    left: int
    top: int
    right: int
    bottom: int
    source: Source

    @property
    def box(self) -> Box:
        """The rectangle alone."""
        return self.left, self.top, self.right, self.bottom


def clipped(box: Box, rows: int, columns: int) -> Box | None:
    """The part of ``box`` inside an image of ``rows`` by ``columns``, None when there is none."""
    left, top, right, bottom = max(0, box[0]), max(0, box[1]), min(columns, box[2]), min(rows, box[3])
    return (left, top, right, bottom) if left < right and top < bottom else None


def fill(mask: Mask, boxes: Iterable[Box], *, value: bool = True) -> Mask:
    """``mask`` (rows, columns) with ``boxes`` set to ``value``; changed in place and returned."""
    for left, top, right, bottom in boxes:
        mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = value
    return mask


def bridges(boxes: Sequence[Box]) -> Iterator[Box]:
    """What lies between two boxes of one line of text: letters of which nothing was seen."""
    upright = sorted({box for box in boxes if box[2] - box[0] >= box[3] - box[1]})
    turned = sorted({(y0, x0, y1, x1) for x0, y0, x1, y1 in boxes if y1 - y0 >= x1 - x0})
    yield from _gaps(upright)
    yield from ((x0, y0, x1, y1) for y0, x0, y1, x1 in _gaps(turned))


def _gaps(boxes: Sequence[Box]) -> Iterator[Box]:
    for number, (_, top, right, bottom) in enumerate(boxes):
        high = bottom - top
        for x0, y0, _, y1 in boxes[number + 1 :]:
            if x0 > right + BRIDGE * high:
                break
            common = min(bottom, y1) - max(top, y0)
            if right < x0 <= right + BRIDGE * min(high, y1 - y0) and common >= ALIGNED * max(high, y1 - y0):
                yield right, min(top, y0), x0, max(bottom, y1)


def rectangles(mask: Mask) -> list[Box]:
    """Rectangles that cover exactly the set pixels of ``mask``, without overlap, from top to bottom."""
    found: list[Box] = []
    top = 0
    rows = mask.shape[0]
    while top < rows:
        bottom = top + 1
        while bottom < rows and np.array_equal(mask[bottom], mask[top]):
            bottom += 1
        edges = np.flatnonzero(np.diff(mask[top].astype(np.int8), prepend=0, append=0))
        found += [(int(left), top, int(right), bottom) for left, right in zip(edges[::2], edges[1::2], strict=True)]
        top = bottom
    return found
