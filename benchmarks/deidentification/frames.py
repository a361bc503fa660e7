"""Pixels of an instance for the scorer. What cannot be decoded here is compared as it is encoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from benchmarks.deidentification.plant import anything_goes

KEPT = 0.5
"""The share of pixels outside a planted text that must stay for an image to be of use after redaction."""
_MARGIN = 4


def read(path: Path) -> Dataset:
    with anything_goes():
        return pydicom.dcmread(path, force=True)


def pixels(ds: Dataset) -> np.ndarray | None:
    """Samples as frames, rows, columns, samples; None where nothing here can decode them."""
    try:
        array = ds.pixel_array
    except Exception:  # noqa: BLE001 pydicom's decoders raise whatever they meet
        array = _by_pillow(ds)
    if array is None:
        return None
    shape = (int(ds.get("NumberOfFrames") or 1), int(ds.Rows), int(ds.Columns), int(ds.get("SamplesPerPixel") or 1))
    return array.reshape(shape) if array.size == np.prod(shape) else None


def _by_pillow(ds: Dataset) -> np.ndarray | None:
    try:
        frames = generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames") or 1))
        return np.stack([np.asarray(Image.open(io.BytesIO(frame))) for frame in frames])
    except (UnidentifiedImageError, ValueError, OSError):
        return None


def equal(one: Dataset, other: Dataset) -> bool:
    """Whether the decoded samples are the same, for instance after another encoding or cleaned frames."""
    mine, theirs = pixels(one), pixels(other)
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return False
    return bool((_stored(one, mine) == _stored(other, theirs)).all())


def _stored(ds: Dataset, samples: np.ndarray) -> np.ndarray:
    """The bits that are the value; the others are for the check of unused bits."""
    return samples.astype(np.int64) & ((1 << int(ds.BitsStored)) - 1) if samples.dtype.kind in "iu" else samples


def high_bits(ds: Dataset) -> bool:
    """Whether a native, unsigned image has anything in the bits above BitsStored."""
    if ds.BitsAllocated != 16 or ds.PixelRepresentation != 0:
        return False
    samples = np.frombuffer(ds.PixelData[: len(ds.PixelData) // 2 * 2], "<u2" if ds.original_encoding[1] else ">u2")
    return bool((samples >> int(ds.BitsStored)).any())


def region(text: str) -> tuple[slice, slice] | None:
    """``row,column,rows,columns``."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
        return None
    row, column, rows, columns = map(int, parts)
    return slice(row, row + rows), slice(column, column + columns)


def wider(part: slice) -> slice:
    """A few pixels more on both sides: nobody blanks to the pixel."""
    return slice(max(0, part.start - _MARGIN), part.stop + _MARGIN)
