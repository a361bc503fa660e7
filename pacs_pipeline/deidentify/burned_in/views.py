"""One frame as people may see it, and pictures of that in which dim, small or coloured text stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from pacs_pipeline.deidentify.burned_in.frames import Layout
from pacs_pipeline.deidentify.burned_in.regions import Mask

Picture = NDArray[np.uint8]  # (rows, columns, 3)
GAIN = 4
_NEIGHBOURHOOD = 25  # pixels; a few letters of small text
_BLUR = 0.6  # pixels
_COLOURED = 24  # of 255; less is the noise of a grey picture stored as colour


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame or part of one as shown: ``grey`` (rows, columns), ``colour`` (rows, columns, 3; 0 to 255) or None.

    ``unit`` is how far apart in ``grey`` two shades are of which a viewer has 256.
    """

    grey: NDArray[np.float32]
    colour: NDArray[np.float32] | None
    unit: float


class Display:
    """Turns the raw samples of frames into pictures. Made once for an instance."""

    def __init__(self, ds: Dataset, layout: Layout) -> None:
        self.layout = layout
        self._palette = ds if layout.photometric == "PALETTE COLOR" else None
        self._window = _window(ds) if layout.samples == 1 and self._palette is None else None

    def shown(self, pixels: NDArray[Any], blanked: Mask) -> Shown:
        """What a viewer shows of ``pixels`` (see :meth:`Layout.pixels`).

        Where pixels were ``blanked`` (rows, columns) it is what lies around: the edges of black boxes look like
        strokes of letters, and nothing is hidden by a pixel that has the same value everywhere.
        """
        colour = self._colour(pixels)
        if colour is None:
            stored = self._stored(pixels)
            unit = self._unit(stored)
            return Shown(healed(stored, blanked).astype(np.float32), None, unit)
        shades: NDArray[np.float32] = healed(colour, blanked).astype(np.float32)
        grey = shades @ np.array((0.299, 0.587, 0.114), np.float32)
        coloured = float((shades.max(2) - shades.min(2)).max()) > _COLOURED
        return Shown(grey, shades if coloured else None, 1.0)

    @staticmethod
    def pictures(shown: Shown) -> list[Picture]:
        """Pictures for a detector, all (rows, columns, 3).

        The first holds three greys of each pixel: stretched over the values that occur; how far it is from those
        around it; and the same smoothed and :data:`GAIN` times enlarged, in which strong text runs into blots and
        faint text is seen best. The second is the colour, where there is any.
        """
        greys = _greys(shown)
        return [greys] if shown.colour is None else [greys, shown.colour.clip(0, 255).astype(np.uint8)]

    def _unit(self, stored: NDArray[Any]) -> float:
        """A 255th of what a viewer shows: of the header's window, or of the bits that the values use."""
        low, high = int(stored.min()), int(stored.max())
        bits = max(low.bit_length(), high.bit_length()) + (low < 0)
        values = float(1 << bits)
        if self.layout.stored <= 8:
            values = 256.0
        if self._window is not None:
            values = min(values, self._window[1])
        return max(values, 1.0) / 255

    def _stored(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The values of BitsStored; what the bits above say is not shown by a viewer."""
        unused = self.layout.allocated - self.layout.stored
        native = pixels.astype(self.layout.dtype.newbyteorder("="))
        return native << unused >> unused if unused else native

    def _colour(self, pixels: NDArray[Any]) -> Picture | None:
        layout = self.layout
        if self._palette is not None:
            found = apply_color_lut(pixels.astype(pixels.dtype.newbyteorder("=")), self._palette)
            return (found >> (found.dtype.itemsize - 1) * 8).astype(np.uint8)[..., :3]
        if layout.samples == 1:
            return None
        if layout.photometric == "RGB":
            native = pixels.astype(pixels.dtype.newbyteorder("="))
            return (native >> max(0, layout.stored - 8)).astype(np.uint8)
        if layout.subsampled:
            y = pixels[..., :2].reshape(pixels.shape[0], -1)
            cb, cr = np.repeat(pixels[..., 2], 2, axis=1), np.repeat(pixels[..., 3], 2, axis=1)
            return _rgb(y, cb, cr)
        return _rgb(pixels[..., 0], pixels[..., 1], pixels[..., 2])


def _greys(shown: Shown) -> Picture:
    from scipy import ndimage

    grey, unit = shown.grey, np.float32(shown.unit)
    around = ndimage.uniform_filter(grey, _NEIGHBOURHOOD)
    beside = np.clip(128 + (grey - around) / unit, 0, 255)
    smooth = np.clip(128 + (ndimage.gaussian_filter(grey, _BLUR) - around) * (GAIN / unit), 0, 255)
    return np.stack((_scaled(grey, float(grey.min()), float(grey.max())), beside, smooth), axis=-1).astype(np.uint8)


def healed(pixels: NDArray[Any], hidden: Mask) -> NDArray[Any]:
    """``pixels`` (rows, columns[, samples]) with the hidden ones replaced by what lies mirrored at their rim.

    A smooth patch in a coarse ground would look like a line of text; a mirrored one looks like its ground.
    """
    from scipy import ndimage

    if not hidden.any() or hidden.all():
        return pixels
    rows, columns = hidden.shape
    nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    y, x = np.nonzero(hidden)
    rim_y, rim_x = nearest[0][hidden], nearest[1][hidden]
    from_y, from_x = rim_y, rim_x
    for part in (4, 2, 1):  # as far behind the rim as the pixel lies before it; less where that is hidden too
        to_y, to_x = rim_y + (rim_y - y) // part, rim_x + (rim_x - x) // part
        seen = (to_y >= 0) & (to_y < rows) & (to_x >= 0) & (to_x < columns)
        seen[seen] = ~hidden[to_y[seen], to_x[seen]]
        from_y, from_x = np.where(seen, to_y, from_y), np.where(seen, to_x, from_x)
    filled = pixels.copy()
    filled[hidden] = pixels[from_y, from_x]
    return filled


def _scaled(grey: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = np.clip((grey - low) * np.float32(255 / max(high - low, 1)), 0, 255)
    return scaled


def _rgb(y: NDArray[Any], cb: NDArray[Any], cr: NDArray[Any]) -> Picture:
    """PS3.3 C.7.6.3.1.2, YBR_FULL."""
    luma, blue, red = y.astype(np.float32), cb.astype(np.float32) - 128, cr.astype(np.float32) - 128
    planes = (luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue)
    return np.clip(np.stack(planes, axis=-1) + 0.5, 0, 255).astype(np.uint8)


def _window(ds: Dataset) -> tuple[float, float] | None:
    """Window centre and width in stored values, when the header has them in a linear form."""
    centre, width = _first(ds, "WindowCenter"), _first(ds, "WindowWidth")
    slope, intercept = _first(ds, "RescaleSlope"), _first(ds, "RescaleIntercept")
    if centre is None or width is None or width <= 0 or slope == 0:
        return None
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    return (centre - intercept) / slope, abs(width / slope)


def _first(ds: Dataset, keyword: str) -> float | None:
    value = ds.get(keyword)
    if value is None or isinstance(value, str):
        return None
    try:
        number = float(value[0] if hasattr(value, "__getitem__") else value)
    except (IndexError, TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
