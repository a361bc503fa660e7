"""Faint strings planted in a copy of a frame, to learn whether text on its ground would be seen at all.

A detector that finds nothing says nothing: there is no text, or it is blind there. So strings as faint as text may be
are drawn over the whole frame, and where one of them is not found the detector is not believed. This is a sample: it
makes a miss in silence rare, not impossible (measured by benchmarks/burned_in.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pacs_pipeline.deidentify.burned_in.regions import Box, Mask, fill
from pacs_pipeline.deidentify.burned_in.views import Shown
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

SIZES = ((9, 16), (12, 24))  # pixels
FAINTEST = 40.0  # of 255: fainter text is not asked for
READABLE = 2.5  # times the deviation of what is there: a person can still read it
BLOCK, MARGIN = 96, 8  # pixels: each such square holds two strings
APART = 12  # pixels from what was blanked: what is left of a line there must be seen for itself
ROOM = 3  # pixels that a box must have to spare: the margin is there for text, not for the measurement
_STRINGS = ("14:32", "KM473", "F 06Y", "J. Ill")  # thin, broken and close letters are the hardest
EDGE = 10.0  # grey values that the ground differs from its surroundings by, more than noise explains
PLAIN = 0.5  # grey values: on such ground a mark is seen without a network, see plain.py
HIDDEN = 0.8  # of a frame is blanked: what is left need not be measured
_AROUND = 25  # pixels
_SMOOTH = 9  # pixels: what varies over more is the ground, what varies within is noise

Grey = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Probe:
    """A planted string: its box in the frame and which pixels of it are strokes."""

    box: Box
    strokes: Mask


def planted(shown: Shown, blanked: Mask) -> tuple[Shown, list[Probe]]:
    """A copy of ``shown`` with strings added, and these.

    Places depend on the size of the frame only. None is planted where pixels are ``blanked``, nor across a sharp
    edge. Raises Quarantine (BURNED_IN_TEXT) when edges or blanked text are nearly everywhere: little is learned then.
    """
    from scipy import ndimage

    grey, noise = shown.grey.copy(), deviation(shown.grey)
    ground = ndimage.uniform_filter(shown.grey, _AROUND)
    middle = (float(grey.min()) + float(grey.max())) / 2  # strings are bright on dark ground and dark on bright
    probes, edges = [], 0
    for left, top, drawn in _places(*grey.shape):
        high, wide = drawn.shape
        place = np.s_[top : top + high, left : left + wide]
        around = np.s_[max(0, top - APART) : top + high + APART, max(0, left - APART) : left + wide + APART]
        part = grey[place]
        if part.shape != drawn.shape or blanked[around].any():
            continue
        spread = float((part - ground[place]).std())
        if spread > EDGE * shown.unit + 3 * float(np.median(noise[place])):
            edges += 1
            continue
        contrast = max(FAINTEST * shown.unit, READABLE * spread)
        grey[place] = part * (1 - drawn) + (ground[place] + (contrast if part.mean() <= middle else -contrast)) * drawn
        probes.append(Probe((left, top, left + wide, top + high), drawn > 0.3))
    unmeasured = not probes and blanked.mean() < HIDDEN and min(grey.shape) >= BLOCK
    if edges > len(probes) or (unmeasured and float(np.median(noise[~blanked])) > PLAIN * shown.unit):
        raise Quarantine(Reason.BURNED_IN_TEXT, "there is hardly any ground to measure on")
    colour = None if shown.colour is None else shown.colour + (grey - shown.grey)[..., None]
    return Shown(grey, colour, shown.unit), probes


def unseen(probes: Sequence[Probe], boxes: Sequence[Box]) -> list[Probe]:
    """The probes of which a stroke lies in none of ``boxes``, or so near a rim that it is there by the margin alone."""
    missed = []
    for probe in probes:
        covered = np.zeros(probe.strokes.shape, np.bool_)
        left, top = probe.box[:2]
        inner = ((x0 + ROOM, y0 + ROOM, x1 - ROOM, y1 - ROOM) for x0, y0, x1, y1 in boxes)
        fill(covered, [(x0 - left, y0 - top, x1 - left, y1 - top) for x0, y0, x1, y1 in inner])
        if not covered[probe.strokes].all():
            missed.append(probe)
    return missed


def explained(probes: Sequence[Probe], box: Box) -> bool:
    """Whether all of ``box`` is one or several of the probes and what lies around them."""
    width, height = box[2] - box[0], box[3] - box[1]
    near = np.zeros((height, width), np.bool_)
    for left, top, right, bottom in (probe.box for probe in probes):
        more = 2 * min(right - left, bottom - top) + 8
        fill(near, [(left - more - box[0], top - more - box[1], right + more - box[0], bottom + more - box[1])])
    return bool(near.all())


def deviation(grey: Grey) -> Grey:
    """The deviation of the noise around each pixel; an edge is none."""
    from scipy import ndimage

    rough = np.abs(grey - ndimage.uniform_filter(grey, _SMOOTH))
    small = rough[::4, ::4]
    spread = ndimage.median_filter(small, 7) * np.float32(1.4826)
    wide: Grey = np.repeat(np.repeat(spread, 4, axis=0), 4, axis=1)[: grey.shape[0], : grey.shape[1]]
    return wide


def _places(rows: int, columns: int) -> Iterator[tuple[int, int, Grey]]:
    """Left, top and letters of every string: two in each square, upright in one and turned in the next."""
    down, right = max(1, rows // BLOCK), max(1, columns // BLOCK)
    for y in range(down):
        for x in range(right):
            left, top = columns * x // right + MARGIN, rows * y // down + MARGIN
            for second, size in enumerate(SIZES[(y + x // 2) % len(SIZES)]):
                along = second * BLOCK // 2
                if (x + y) % 2:
                    yield left + along, top, letters(_STRINGS[(x + second) % len(_STRINGS)], size, 2 * second + 1)
                else:
                    yield left, top + along, letters(_STRINGS[(y + second) % len(_STRINGS)], size, 0)


@lru_cache(maxsize=64)
def letters(string: str, size: int, quarters: int) -> Grey:
    """``string`` in white (1) on black (0), turned by quarters of a circle."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(string)
    image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), string, 255, font=font)
    return np.ascontiguousarray(np.rot90(np.asarray(image, np.float32) / np.float32(255), quarters))
