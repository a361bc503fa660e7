"""Looks at every frame of an instance; what has been looked at before is not looked at twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacs_pipeline.deidentify.burned_in import probes
from pacs_pipeline.deidentify.burned_in.detector import Detector
from pacs_pipeline.deidentify.burned_in.frames import Frames
from pacs_pipeline.deidentify.burned_in.regions import Box, Mask, bridges
from pacs_pipeline.deidentify.burned_in.views import Display
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

CELL = 32  # pixels; what is looked at is made of squares of this size
MARGIN = 2  # squares around what changed are looked at as well, so that a line of text is seen as one


def text_in(
    frames: Frames, display: Display, detector: Detector, blanked: Mask, *, new: Mask | None = None
) -> set[Box]:
    """The boxes of text found in any frame. ``blanked`` (rows, columns) is where nothing can be any more.

    ``new`` is what was blanked since the last look: this is a second one (see :class:`Detector`), and only what
    lies around ``new`` is looked at, for nothing else is another than it was.
    """
    found: set[Box] = set()
    for part, pixels in _parts(frames, blanked, new):
        hidden = _cut(blanked, part)
        boxes = detector(display.pictures(display.shown(pixels, hidden)), again=new is not None)
        found |= {_moved(box, part) for box in (*boxes, *bridges(boxes))}
    return {box for box in found if not _cut(blanked, box).all()}


def measure(frames: Frames, display: Display, detector: Detector, blanked: Mask) -> set[Box]:
    """Look a last time, at copies of all frames in which faint strings are planted (:mod:`probes`).

    Returns the boxes of text that belong to no planted string. Raises Quarantine (BURNED_IN_TEXT) when a planted
    string is not found: text on that ground would not be seen.
    """
    found: set[Box] = set()
    for part, pixels in _parts(frames, blanked, None):
        hidden = _cut(blanked, part)
        shown, planted = probes.planted(display.shown(pixels, hidden), hidden)
        boxes = detector(display.pictures(shown))
        if probes.unseen(planted, boxes):
            raise Quarantine(Reason.BURNED_IN_TEXT, "text on this ground would not be seen")
        found |= {_moved(box, part) for box in boxes if not probes.explained(planted, box)}
    return {box for box in found if not _cut(blanked, box).all()}


def _parts(frames: Frames, blanked: Mask, new: Mask | None) -> Iterator[tuple[Box, NDArray[Any]]]:
    """What has to be looked at: boxes of frames, and their pixels (see :meth:`Layout.pixels`).

    The first frame as a whole. Of a frame that follows another, the part that changed, with a margin; what did
    not change was looked at in the frame before. Only what lies around ``new``, when that is given. Frames, and
    parts of frames at the same place, that have the same pixels come once.
    """
    layout = frames.layout
    seen: set[tuple[Box, bytes]] = set()
    before: NDArray[Any] | None = None
    around = None if new is None else _cells(new)
    for index in range(len(frames)):
        raw = frames.raw(index)
        pixels = layout.pixels(raw)
        frame = (0, 0, layout.columns, layout.rows), hashlib.sha256(raw.data).digest()
        if frame not in seen:
            seen.add(frame)
            wanted = _cells(~blanked if before is None else _changed(pixels, before, layout.columns))
            if around is not None:
                wanted &= around
            for box in _boxes(wanted, layout.rows, layout.columns):
                left, top, right, bottom = box
                step = 2 if layout.subsampled else 1
                cut = pixels[top:bottom, left // step : right // step]
                if box != frame[0]:
                    part = box, hashlib.sha256(np.ascontiguousarray(cut).data).digest()
                    if part in seen:
                        continue
                    seen.add(part)
                yield box, cut
        before = pixels


def _changed(pixels: NDArray[Any], before: NDArray[Any], columns: int) -> Mask:
    different = pixels != before
    if different.ndim == 3:
        different = different.any(axis=2)
    return np.repeat(different, 2, axis=1)[:, :columns] if different.shape[1] != columns else different


def _cells(mask: Mask) -> Mask:
    """The squares in which anything of ``mask`` is set, and those around them."""
    from scipy import ndimage

    rows, columns = mask.shape
    whole = np.pad(mask, ((0, -rows % CELL), (0, -columns % CELL)))
    set_ = whole.reshape(whole.shape[0] // CELL, CELL, whole.shape[1] // CELL, CELL).any((1, 3))
    grown: Mask = ndimage.maximum_filter(set_, 2 * MARGIN + 1)
    return grown


def _boxes(cells: Mask, rows: int, columns: int) -> list[Box]:
    """Boxes of pixels that hold all set squares: one for each group of them, or one for all when that is as small."""
    from scipy import ndimage

    labels, count = ndimage.label(cells, np.ones((3, 3)))
    if not count:
        return []
    boxes = [
        (
            place[1].start * CELL,
            place[0].start * CELL,
            min(columns, place[1].stop * CELL),
            min(rows, place[0].stop * CELL),
        )
        for place in ndimage.find_objects(labels)
    ]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) >= (right - left) * (bottom - top):
        return [(left, top, right, bottom)]
    return boxes


def _cut(mask: Mask, box: Box) -> Mask:
    return mask[box[1] : box[3], box[0] : box[2]]


def _moved(box: Box, part: Box) -> Box:
    return box[0] + part[0], box[1] + part[1], box[2] + part[0], box[3] + part[1]
