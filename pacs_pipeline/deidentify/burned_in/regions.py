"""Rectangles of frames that are blanked, and what follows from several of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
