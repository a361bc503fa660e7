"""The real detector on planted text: found and gone in every photometric interpretation; and its false alarms."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pacs_pipeline.deidentify.burned_in import DeviceRules, clean_pixels
from pacs_pipeline.deidentify.burned_in.regions import fill

from . import planted
from .conftest import needs_extra
from .planted import Kind

pytestmark = needs_extra

SEEN = ("black", "gradient", "bright")  # on strong speckle faint text is not seen: see test_probes.py
KINDS = [
    Kind(),
    Kind("MONOCHROME1"),
    Kind("MONOCHROME2", 16, 12),
    Kind("MONOCHROME2", 16, 16, signed=True),
    Kind("PALETTE COLOR"),
    Kind("RGB", planar=1),
    Kind("YBR_FULL"),
    Kind("YBR_FULL_422"),
    Kind("RGB", syntax="1.2.840.10008.1.2.5"),
    Kind("YBR_FULL_422", syntax="1.2.840.10008.1.2.4.50"),
    Kind("YBR_RCT", syntax="1.2.840.10008.1.2.4.90"),
    Kind("MONOCHROME2", 16, 12, syntax="1.2.840.10008.1.2.4.80"),
]


def cleaned(ds: object, folder: Path, rules: DeviceRules) -> np.ndarray:
    """The blanked pixels (rows, columns) of an instance."""
    src = planted.save(ds, folder / "in.dcm")  # type: ignore[arg-type]
    redaction = clean_pixels(src, folder / "out.dcm", rules=rules)
    after = dcmread(folder / "out.dcm")
    mask = np.zeros((after.Rows, after.Columns), np.bool_)
    return fill(mask, [region.box for region in redaction.regions])


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.name for kind in KINDS])
def test_planted_text_is_gone(number: int, tmp_path: Path, no_rules: DeviceRules) -> None:
    kind = KINDS[number]
    rng = np.random.default_rng(100 + number)
    picture = planted.ground(SEEN[number % len(SEEN)], 240, 320, rng)
    texts = planted.plant(picture, rng, 4, contrasts=(120, 200))
    mask = cleaned(planted.instance(kind, [picture]), tmp_path, no_rules)
    assert len(texts) >= 3
    assert [text.string for text in texts if not mask[text.strokes].all()] == []
    assert mask.mean() < 0.6


def test_coloured_text_on_ground_as_bright_as_itself(tmp_path: Path, no_rules: DeviceRules) -> None:
    picture = np.full((160, 320), 0.0)
    texts = planted.plant(picture, np.random.default_rng(3), 3, turns=(0,), sizes=(14, 18), contrasts=(200,))
    ds = planted.instance(Kind("RGB"), [picture])
    share = picture[..., None] / 200
    ground, ink = np.array((40, 120, 60.0)), np.array((200, 38, 60.0))  # the same luminance
    ds.PixelData = np.rint(ground * (1 - share) + ink * share).clip(0, 255).astype(np.uint8).tobytes()
    mask = cleaned(ds, tmp_path, no_rules)
    assert all(mask[text.strokes].all() for text in texts)


def test_text_of_one_frame_of_many(tmp_path: Path, no_rules: DeviceRules) -> None:
    rng = np.random.default_rng(8)
    frames = [planted.ground("black", 160, 240, rng) for _ in range(5)]
    texts = planted.plant(frames[3], rng, 2, contrasts=(200,), turns=(0,))
    mask = cleaned(planted.instance(Kind(), frames), tmp_path, no_rules)
    assert texts
    assert all(mask[text.strokes].all() for text in texts)


@pytest.mark.parametrize("ground", SEEN)
def test_frames_without_text_stay(ground: str, tmp_path: Path, no_rules: DeviceRules) -> None:
    picture = planted.ground(ground, 240, 320, np.random.default_rng(4))
    assert cleaned(planted.instance(Kind(), [picture]), tmp_path, no_rules).mean() < 0.02


def test_opencv_is_not_imported() -> None:
    assert "cv2" not in sys.modules
    assert "rapidocr_onnxruntime" not in sys.modules
