"""Rectangles and blanking: exactly the region is blanked, nothing else is touched, in every layout."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pacs_pipeline.deidentify.burned_in.frames import Frames, Layout, black, blank
from pacs_pipeline.deidentify.burned_in.regions import clipped, fill, rectangles
from pacs_pipeline.deidentify.burned_in.ultrasound import outside

ROWS, COLUMNS = 9, 12
boxes = st.lists(
    st.tuples(st.integers(-3, 13), st.integers(-3, 10), st.integers(-3, 15), st.integers(-3, 12)).map(
        lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    ),
    max_size=6,
)
LAYOUTS = [
    Layout(ROWS, COLUMNS, 1, 2, 8, 8, False, "MONOCHROME2"),
    Layout(ROWS, COLUMNS, 1, 2, 8, 8, False, "MONOCHROME1"),
    Layout(ROWS, COLUMNS, 1, 2, 16, 12, True, "MONOCHROME2"),
    Layout(ROWS, COLUMNS, 1, 2, 16, 16, False, "MONOCHROME1", big_endian=True),
    Layout(ROWS, COLUMNS, 3, 2, 8, 8, False, "RGB"),
    Layout(ROWS, COLUMNS, 3, 2, 8, 8, False, "YBR_FULL", planar=True),
    Layout(ROWS, COLUMNS, 3, 2, 8, 8, False, "YBR_FULL_422"),
]
BLACK = (0, 255, -2048, 65535, [0, 0, 0], [0, 128, 128], [0, 0, 128, 128])


@given(boxes)
def test_rectangles_cover_exactly_the_union(found: list[tuple[int, int, int, int]]) -> None:
    mask = fill(np.zeros((ROWS, COLUMNS), np.bool_), found)
    for y in range(ROWS):
        for x in range(COLUMNS):
            assert mask[y, x] == any(b[0] <= x < b[2] and b[1] <= y < b[3] for b in found)
    cover = np.zeros((ROWS, COLUMNS), int)
    for left, top, right, bottom in rectangles(mask):
        cover[top:bottom, left:right] += 1
    assert np.array_equal(cover, mask.astype(int))


@pytest.mark.parametrize(("layout", "value"), list(zip(LAYOUTS, BLACK, strict=True)), ids=lambda v: str(v)[:60])
@given(found=boxes, seed=st.integers(0, 2**32 - 1))
def test_the_region_is_black_and_the_rest_is_identical(
    layout: Layout, value: object, found: list[tuple[int, int, int, int]], seed: int
) -> None:
    inside = [box for given_box in found if (box := clipped(given_box, ROWS, COLUMNS))]
    mask = fill(np.zeros((ROWS, COLUMNS), np.bool_), [layout.widened(box) for box in inside])
    with Frames(layout, Path(tempfile.gettempdir())) as frames:
        noise = np.random.default_rng(seed).integers(0, 256, (2, layout.frame_bytes), np.uint8)
        for index in range(2):
            frames.raw(index)[...] = noise[index]
        blank(frames, 1, inside, black(Dataset(), layout))
        assert np.array_equal(frames.raw(0), noise[0])
        pixels, before = frames.pixels(1), layout.pixels(noise[1])
        where = mask[:, ::2] if layout.subsampled else mask
        assert (pixels[where] == value).all()
        assert np.array_equal(pixels[~where], before[~where])


def test_the_darkest_colour_of_a_palette_is_black() -> None:
    ds = Dataset()
    for colour, values in (("Red", (9, 1, 200, 0)), ("Green", (9, 2, 200, 80)), ("Blue", (9, 3, 200, 0))):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", (np.array(values, "<u2") * 257).tobytes())
    ds["RedPaletteColorLookupTableDescriptor"].VR = "US"
    assert black(ds, Layout(4, 4, 1, 1, 8, 8, False, "PALETTE COLOR")) == 1


def us_region(left: int, top: int, right: int, bottom: int, form: int = 1, kind: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = form, kind
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


def kept(*items: Dataset) -> np.ndarray:
    ds = Dataset()
    ds.SequenceOfUltrasoundRegions = list(items)
    return ~fill(np.zeros((20, 30), np.bool_), outside(ds, 20, 30))


def test_the_complement_of_the_ultrasound_regions_is_blanked() -> None:
    expected = np.zeros((20, 30), np.bool_)
    expected[2:9, 3:11] = True
    expected[5:20, 15:30] = True
    assert np.array_equal(kept(us_region(3, 2, 10, 8), us_region(15, 5, 99, 99)), expected)


@pytest.mark.parametrize(
    "item",
    [
        us_region(3, 2, 10, 8, form=5),  # graphics
        us_region(3, 2, 10, 8, form=0),
        us_region(3, 2, 10, 8, kind=0),
        us_region(10, 2, 3, 8),
        us_region(40, 2, 50, 8),
        Dataset(),
    ],
)
def test_a_region_that_is_no_image_is_not_kept(item: Dataset) -> None:
    good = us_region(15, 5, 20, 10)
    assert kept(good, item).sum() == 36
    assert kept(item).all()  # nothing usable: the sequence says nothing
