"""Looks at every frame of an instance; what has been looked at in the frame before is not looked at twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacs_pipeline.deidentify.burned_in.detector import Detector
from pacs_pipeline.deidentify.burned_in.frames import Frames
from pacs_pipeline.deidentify.burned_in.regions import Box, Mask, clipped
from pacs_pipeline.deidentify.burned_in.views import Display, Picture

MARGIN = 64  # pixels around what changed that are looked at as well, so that a line of text is seen as one


def text_in(
    frames: Frames, display: Display, detector: Detector, blanked: Mask, *, again: bool
) -> list[tuple[int, Box]]:
    """The text found, as (frame, box). ``blanked`` (rows, columns) is where nothing can be any more.

    An identical frame is skipped. Of a frame that follows another, the part that changed is looked at, with a
    margin; what did not change was looked at in the frame before. ``again`` is for :class:`Detector`.
    """
    layout = frames.layout
    seen: set[bytes] = set()
    before: NDArray[Any] | None = None
    found: list[tuple[int, Box]] = []
    for index in range(len(frames)):
        raw = frames.raw(index)
        digest = hashlib.sha256(raw.data).digest()
        pixels = layout.pixels(raw)
        if digest not in seen:
            seen.add(digest)
            changed = ~blanked if before is None else _changed(pixels, before, layout.columns)
            box = _bounds(changed)
            if box is not None:
                found += [
                    (index, text) for text in _look(pixels, box, display, partial(detector, again=again), blanked)
                ]
        before = pixels
    return found


def _look(
    pixels: NDArray[Any], part: Box, display: Display, detector: Callable[[list[Picture]], list[Box]], blanked: Mask
) -> list[Box]:
    rows, columns = blanked.shape
    around = clipped((part[0] - MARGIN, part[1] - MARGIN, part[2] + MARGIN, part[3] + MARGIN), rows, columns)
    assert around is not None
    left, top, right, bottom = around
    if display.layout.subsampled:
        left, right = left // 2 * 2, min(columns, (right + 1) // 2 * 2)
        cut = pixels[top:bottom, left // 2 : right // 2]
    else:
        cut = pixels[top:bottom, left:right]
    pictures = display.pictures(cut, blanked[top:bottom, left:right])
    boxes = [(x0 + left, y0 + top, x1 + left, y1 + top) for x0, y0, x1, y1 in detector(pictures)]
    return [box for box in boxes if not blanked[box[1] : box[3], box[0] : box[2]].all()]


def _changed(pixels: NDArray[Any], before: NDArray[Any], columns: int) -> Mask:
    different = pixels != before
    if different.ndim == 3:
        different = different.any(axis=2)
    return np.repeat(different, 2, axis=1)[:, :columns] if different.shape[1] != columns else different


def _bounds(mask: Mask) -> Box | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
