"""One frame as people may see it: 8-bit pictures in which dim, small or coloured text stands out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from pacs_pipeline.deidentify.burned_in.frames import Layout
from pacs_pipeline.deidentify.burned_in.regions import Mask

Picture = NDArray[np.uint8]  # (rows, columns, 3)
_NEIGHBOURHOOD = 25  # pixels; a few letters of small text
_SURROUNDINGS = 49
_COLOURED = 24  # of 255; less is the noise of a grey picture stored as colour


class Display:
    """Turns the raw samples of frames into pictures. Made once for an instance."""

    def __init__(self, ds: Dataset, layout: Layout) -> None:
        self.layout = layout
        self._palette = ds if layout.photometric == "PALETTE COLOR" else None
        self._window = _window(ds) if layout.samples == 1 and self._palette is None else None

    def pictures(self, pixels: NDArray[Any], blanked: Mask) -> list[Picture]:
        """Pictures of ``pixels`` (see :meth:`Layout.pixels`), all (rows, columns, 3).

        Where pixels were ``blanked`` (rows, columns) they show what is around: the edges of black boxes look
        like strokes of letters, and nothing is hidden by a pixel that has the same value everywhere.

        The first holds three greys of each pixel: stretched over the values that occur, the header's own window
        (or, without one, brightened shadows), and the contrast to the pixels around it. The second is the
        colour, where there is any.
        """
        colour = self._colour(pixels)
        if colour is None:
            return [self._greys(_healed(self._stored(pixels).astype(np.float32), blanked))]
        if blanked.any():
            planes = [_healed(colour[..., plane].astype(np.float32), blanked) for plane in range(3)]
            colour = np.stack(planes, axis=-1).astype(np.uint8)
        grey = colour.astype(np.float32) @ np.array((0.299, 0.587, 0.114), np.float32)
        spread = colour.max(2).astype(np.int16) - colour.min(2)
        return [self._greys(grey), colour] if int(spread.max()) > _COLOURED else [self._greys(grey)]

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

    def _greys(self, grey: NDArray[np.float32]) -> Picture:
        from scipy import ndimage

        low, high = (float(value) for value in np.percentile(grey[::2, ::2], (0.5, 99.5)))
        lowest, highest = float(grey.min()), float(grey.max())
        if high - low < (highest - lowest) / 64:  # little of the frame is anything but ground
            low, high = lowest, highest
        stretched = _scaled(grey, low, high)
        if self._window is None:
            second = np.sqrt(_scaled(grey, lowest, highest) / 255) * 255
        else:
            centre, width = self._window
            second = _scaled(grey, centre - width / 2, centre + width / 2)
        mean = ndimage.uniform_filter(grey, _NEIGHBOURHOOD)
        square = ndimage.uniform_filter(grey * grey, _NEIGHBOURHOOD)
        deviation = np.sqrt(np.maximum(square - mean * mean, 0))
        third = np.clip(128 + (grey - mean) / (deviation + max(high - low, 1) / 42) * 60, 0, 255)
        return np.stack((stretched, second, third), axis=-1).astype(np.uint8)


def _healed(grey: NDArray[np.float32], blanked: Mask) -> NDArray[np.float32]:
    """``grey`` with the blanked pixels replaced by the mean of those around them."""
    from scipy import ndimage

    if not blanked.any() or blanked.all():
        return grey
    left = ~blanked
    mean = np.float32(grey[left].mean())
    weight = ndimage.uniform_filter(left.astype(np.float32), _SURROUNDINGS)
    total = ndimage.uniform_filter(np.where(left, grey - mean, np.float32(0)), _SURROUNDINGS)
    healed: NDArray[np.float32] = np.where(left, grey, mean + total / np.maximum(weight, np.float32(1e-3)))
    return healed


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
