"""What SequenceOfUltrasoundRegions (0018,6011) says is image; everything else of the frame may be text."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from pacs_pipeline.deidentify.burned_in.regions import Box, clipped, fill, rectangles

# Region Spatial Format and Region Data Type, PS3.3 C.8.5.5.1.1 and C.8.5.5.1.2. "None" and "graphics" may be text,
# as may a type that is not listed.
_SPATIAL_FORMATS = frozenset((1, 2, 3, 4))  # 2D, M-mode, spectral, waveform
_DATA_TYPES = frozenset((*range(0x01, 0x13), 0x14))  # tissue, flow, Doppler, traces, bars, physiological signals


def outside(ds: Dataset, rows: int, columns: int) -> list[Box]:
    """The boxes of a frame that lie outside of all its ultrasound regions.

    Empty when the data set has no usable region: then the sequence proves nothing, and only the other sources
    say what is blanked. A region is usable when it has its four bounds in order, begins inside the image, and
    its format and type are those of an image or a trace. Bounds are inclusive (PS3.3 C.8.5.5).
    """
    keep = [box for item in ds.get("SequenceOfUltrasoundRegions") or () if (box := _box(item, rows, columns))]
    if not keep:
        return []
    return rectangles(~fill(np.zeros((rows, columns), np.bool_), keep))


def _box(item: Dataset, rows: int, columns: int) -> Box | None:
    if item.get("RegionSpatialFormat") not in _SPATIAL_FORMATS or item.get("RegionDataType") not in _DATA_TYPES:
        return None
    bounds = [item.get(f"RegionLocation{name}") for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
    numbers = [bound for bound in bounds if isinstance(bound, int)]
    if len(numbers) != 4:
        return None
    left, top, right, bottom = numbers
    if not (0 <= left < right and 0 <= top < bottom):
        return None
    return clipped((left, top, right + 1, bottom + 1), rows, columns)
