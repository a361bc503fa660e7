"""Marks on plain ground, where no network is needed: all pixels have one value there but those of the mark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pacs_pipeline.deidentify.burned_in.regions import Box, Mask

HIGHEST = 64  # pixels: what is larger in both directions is a picture
THIN, LONG = 3, 24  # pixels: a line, no letter
SMALLEST = 5  # pixels
APART = 4  # pixels between the letters of a line


def marks(grey: NDArray[np.uint8]) -> Iterator[Box]:
    """The boxes around what may be text on plain ground in ``grey`` (rows, columns), with a margin."""
    from scipy import ndimage

    uneven = _uneven(grey)
    if uneven.mean() > 0.9:  # there is no plain ground worth the name
        return
    labels, _ = ndimage.label(ndimage.maximum_filter(uneven, (2 * APART + 1, 2 * APART + 1)))
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        inside = uneven[place] & (labels[place] == number)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        top, bottom = place[0].start + int(rows[0]), place[0].start + int(rows[-1]) + 1
        left, right = place[1].start + int(columns[0]), place[1].start + int(columns[-1]) + 1
        short, long = sorted((bottom - top, right - left))
        if short > HIGHEST or long < SMALLEST or (short <= THIN + 2 and long >= LONG):
            continue
        yield left - 2, top - 2, right + 2, bottom + 2


def _uneven(grey: NDArray[np.uint8]) -> Mask:
    """The pixels that differ from one beside them."""
    uneven = np.zeros(grey.shape, np.bool_)
    down, right = grey[1:] != grey[:-1], grey[:, 1:] != grey[:, :-1]
    uneven[1:] |= down
    uneven[:-1] |= down
    uneven[:, 1:] |= right
    uneven[:, :-1] |= right
    return uneven
