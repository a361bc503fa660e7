"""Nothing is missed in silence: text on ground that blinds the detector sets the instance aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from pacs_pipeline.deidentify.burned_in import DeviceRules, TextDetector, clean_pixels, probes
from pacs_pipeline.deidentify.burned_in.plain import marks
from pacs_pipeline.deidentify.burned_in.regions import bridges, fill
from pacs_pipeline.deidentify.burned_in.views import Display, Shown
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

from . import planted
from .conftest import needs_extra
from .planted import Kind

Grey = NDArray[np.float64]
ROWS, COLUMNS = 288, 384


def speckle(rng: np.random.Generator, share: float) -> Grey:
    return planted.ground("speckle", ROWS, COLUMNS, rng) * share


def blanked(picture: Grey, folder: Path, rules: DeviceRules) -> NDArray[np.bool_]:
    """The blanked pixels of a released instance. Raises Quarantine."""
    src = planted.save(planted.instance(Kind(), [picture]), folder / "in.dcm")
    redaction = clean_pixels(src, folder / "out.dcm", rules=rules)
    assert dcmread(folder / "out.dcm").BurnedInAnnotation == "NO"
    return fill(np.zeros(picture.shape, np.bool_), [region.box for region in redaction.regions])


@needs_extra
@pytest.mark.parametrize("seed", range(4))
def test_a_faint_string_on_speckle_never_comes_out(seed: int, tmp_path: Path, no_rules: DeviceRules) -> None:
    rng = np.random.default_rng(seed)
    picture = speckle(rng, 1.0)
    texts = planted.plant(picture, rng, 3, sizes=(9, 10, 12, 14), contrasts=(40,))
    with pytest.raises(Quarantine) as caught:
        blanked(picture, tmp_path, no_rules)
    assert texts
    assert caught.value.reason is Reason.BURNED_IN_TEXT
    assert "would not be seen" in caught.value.detail
    assert not (tmp_path / "out.dcm").exists()


@needs_extra
def test_a_clear_string_on_weak_speckle_is_removed(tmp_path: Path, no_rules: DeviceRules) -> None:
    rng = np.random.default_rng(2)
    picture = speckle(rng, 0.1)
    texts = planted.plant(picture, rng, 3, sizes=(12, 18, 24), contrasts=(120, 200))
    mask = blanked(picture, tmp_path, no_rules)
    assert len(texts) == 3
    assert all(mask[text.strokes].all() for text in texts)
    assert mask.mean() < 0.5


@needs_extra
@pytest.mark.parametrize(
    "make",
    [
        lambda rng: np.zeros((ROWS, COLUMNS)),
        lambda rng: planted.ground("gradient", ROWS, COLUMNS, rng),
        lambda rng: 100 + rng.normal(0, 1.5, (ROWS, COLUMNS)),
        lambda rng: speckle(rng, 0.1),
    ],
    ids=["black", "graded", "film", "weak speckle"],
)
def test_a_clean_frame_is_released_as_it_is(
    make: Callable[[np.random.Generator], Grey], tmp_path: Path, no_rules: DeviceRules
) -> None:
    assert blanked(make(np.random.default_rng(3)), tmp_path, no_rules).mean() == 0


@needs_extra
def test_one_frame_that_blinds_withholds_all(tmp_path: Path, no_rules: DeviceRules) -> None:
    rng = np.random.default_rng(4)
    ds = planted.instance(Kind(), [np.zeros((ROWS, COLUMNS)), speckle(rng, 1.0)])
    with pytest.raises(Quarantine, match="burned-in"):
        clean_pixels(planted.save(ds, tmp_path / "in.dcm"), tmp_path / "out.dcm", rules=no_rules)


@needs_extra
def test_a_detector_that_misses_one_probe_is_not_believed(
    tmp_path: Path, no_rules: DeviceRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sleepy(TextDetector):
        def __call__(self, pictures: object, *, again: bool = False) -> list[tuple[int, ...]]:
            return [box for box in TextDetector.__call__(self, pictures) if box[0] > 60]  # type: ignore[arg-type]

    src = planted.save(planted.instance(Kind(), [np.zeros((ROWS, COLUMNS))]), tmp_path / "in.dcm")
    with pytest.raises(Quarantine, match="burned-in"):
        clean_pixels(src, tmp_path / "out.dcm", rules=no_rules, detector=Sleepy())  # type: ignore[arg-type]


@needs_extra
def test_probes_are_where_the_frame_can_be_seen_and_always_the_same() -> None:
    grey = np.full((ROWS, COLUMNS), 50, np.float32)
    hidden = fill(np.zeros(grey.shape, np.bool_), [(0, 0, 200, 100)])
    shown, found = probes.planted(Shown(grey, None, 1.0), hidden)
    again, _ = probes.planted(Shown(grey, None, 1.0), hidden)
    assert np.array_equal(shown.grey, again.grey)
    assert np.array_equal(grey, np.full_like(grey, 50))  # the frame itself is not touched
    changed = shown.grey != grey
    assert not changed[hidden].any()
    assert changed[:, 300:].any()
    assert changed[200:].any()
    assert probes.unseen(found, []) == found
    held = [(left - 4, top - 4, right + 4, bottom + 4) for left, top, right, bottom in (probe.box for probe in found)]
    assert probes.unseen(found, held) == []
    assert len(probes.unseen(found, held[1:])) == 1
    assert probes.unseen(found, [probe.box for probe in found]) == found  # by a hair is not enough


@needs_extra
def test_probes_are_stronger_where_the_ground_is_rough_and_none_lies_on_an_edge() -> None:
    rng = np.random.default_rng(5)
    rough = (100 + rng.normal(0, 30, (ROWS, COLUMNS))).astype(np.float32)
    shown, _ = probes.planted(Shown(rough, None, 1.0), np.zeros(rough.shape, np.bool_))
    assert np.abs(shown.grey - rough).max() > 2 * probes.FAINTEST
    y, x = np.mgrid[:ROWS, :COLUMNS]
    squares = np.where((y // 32 + x // 32) % 2, 255, 0).astype(np.float32)
    with pytest.raises(Quarantine, match="burned-in"):
        probes.planted(Shown(squares, None, 1.0), np.zeros(squares.shape, np.bool_))


@needs_extra
def test_what_was_found_beside_a_probe_is_text() -> None:
    _, found = probes.planted(Shown(np.zeros((ROWS, COLUMNS), np.float32), None, 1.0), np.zeros((ROWS, COLUMNS), bool))
    left, top, right, bottom = found[0].box
    assert probes.explained(found, (left - 6, top - 4, right + 6, bottom + 4))
    assert not probes.explained(found[:1], (left, top, right + 150, bottom))
    assert not probes.explained([], (0, 0, 5, 5))


@needs_extra
def test_marks_on_plain_ground() -> None:
    picture = np.full((200, 300), 7, np.uint8)
    picture[20:29, 30:60:3] = 8  # as faint as can be
    picture[100:200, 150:300] = np.random.default_rng(1).integers(0, 255, (100, 150))  # a picture
    picture[80, 10:140] = 99  # a line
    assert [box for box in marks(picture) if box[1] < 70] == [(27, 17, 61, 32)]
    assert all(box[1] < 70 for box in marks(picture))
    assert list(marks(np.full((20, 20), 3, np.uint8))) == []


def test_the_letters_between_two_boxes_of_a_line_go_with_them() -> None:
    line = [(10, 10, 50, 20), (70, 11, 90, 20)]
    assert list(bridges(line)) == [(50, 10, 70, 20)]
    assert list(bridges([(y0, x0, y1, x1) for x0, y0, x1, y1 in line])) == [(10, 50, 20, 70)]
    assert list(bridges([(10, 10, 50, 20), (90, 10, 120, 20)])) == []  # too far
    assert list(bridges([(10, 10, 50, 20), (70, 30, 90, 40)])) == []  # another line


def test_the_shades_of_a_viewer() -> None:
    def unit(kind: Kind, **values: object) -> float:
        from pacs_pipeline.deidentify.burned_in.frames import layout_of

        ds = planted.instance(kind, [np.linspace(0, 200, 4096).reshape(64, 64)], **values)
        layout = layout_of(ds, big_endian=False)
        raw = np.frombuffer(ds.PixelData, np.uint8)
        return Display(ds, layout).shown(layout.pixels(raw), np.zeros((64, 64), np.bool_)).unit

    assert unit(Kind()) == pytest.approx(1, rel=0.01)
    assert unit(Kind("MONOCHROME2", 16, 12)) == pytest.approx(4096 / 255)
    assert unit(Kind("MONOCHROME2", 16, 12), WindowCenter=500, WindowWidth=510) == pytest.approx(2)
    assert unit(Kind("MONOCHROME2", 16, 12), WindowCenter=0, WindowWidth=60000) == pytest.approx(4096 / 255)
