"""The option Clean Pixel Data in the engine: who is looked at, what is recorded, and what nobody may see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from pacs_pipeline.deidentify import Deidentifier, Keys, Outcome, burned_in, engine, load_profile
from pacs_pipeline.records import Reason

from . import builder

CT, CR, US, SC = (f"1.2.840.10008.5.1.4.1.1.{suffix}" for suffix in ("2", "1", "6.1", "7"))
LOOKING = load_profile("basic-modified-dates", options=("clean-pixel-data",))
needs_extra = pytest.mark.skipif(not burned_in.available(), reason="the extra 'pixels' is not installed")


class Told:
    """A detector that finds what the test says, once."""

    def __init__(self, *boxes: tuple[int, int, int, int]) -> None:
        self.boxes, self.looked = list(boxes), 0

    def __call__(self, pictures: object, *, again: bool = False) -> list[tuple[int, int, int, int]]:
        self.looked += 1
        return [] if again else self.boxes


def run(
    ds: FileDataset, keys: Keys, folder: Path, detector: Told, *, profile: object = LOOKING
) -> tuple[Outcome, FileDataset | None]:
    folder.mkdir(exist_ok=True)
    work = Deidentifier(profile, keys)  # type: ignore[arg-type]
    work._detector = detector  # type: ignore[assignment]
    outcome = work.deidentify(builder.save(ds, folder / "in.dcm"), folder / "out")
    left = [path.name for path in (folder / "out").rglob("*") if path.name.startswith(engine.SCRATCH)]
    assert left == []  # what was looked at is still identified
    return outcome, None if outcome.output is None else builder.load(outcome.output)


def picture(sop_class: str, **attributes: object) -> FileDataset:
    ds = builder.image(SOPClassUID=sop_class, **attributes)
    ds.Rows, ds.Columns = 64, 80
    ds.BitsStored, ds.HighBit = 16, 15
    ds.PixelData = np.full((64, 80), 700, "<u2").tobytes()
    return ds


@needs_extra
@pytest.mark.parametrize("sop_class", [US, SC, CR])
def test_what_may_show_text_is_looked_at_and_blanked(keys: Keys, tmp_path: Path, sop_class: str) -> None:
    detector = Told((10, 20, 40, 30))
    outcome, clean = run(picture(sop_class), keys, tmp_path, detector)
    assert clean is not None, outcome.detail
    assert detector.looked
    pixels = clean.pixel_array
    assert not pixels[20:30, 10:40].any()
    assert pixels[0, 0] == pixels[63, 79] == 700
    assert clean.BurnedInAnnotation == "NO"
    codes = [item.CodeValue for item in clean.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101", "113107"]
    assert ("7FE00010", "PixelData", "R", 1) in outcome.actions
    assert "Abernathy" not in str(clean)


@needs_extra
def test_what_is_no_pixel_is_taken_out_before_anybody_looks(keys: Keys, tmp_path: Path) -> None:
    ds = picture(CR)
    ds.BitsStored, ds.HighBit = 12, 11
    ds.PixelData = np.full((64, 80), 700 | 0x4000, "<u2").tobytes() + b"ABERNATHY "
    outcome, clean = run(ds, keys, tmp_path, Told((10, 20, 40, 30)))
    assert clean is not None, outcome.detail
    pixels = np.frombuffer(clean.PixelData, "<u2").reshape(64, 80)
    assert not pixels[20:30, 10:40].any()
    assert pixels[0, 0] == pixels[63, 79] == 700
    assert {action[2] for action in outcome.actions if action[0] == "7FE00010"} == {"C", "R"}
    assert outcome.row["regions_redacted"] == 1


@needs_extra
@pytest.mark.parametrize("profile", ["basic", "research", "limited"])
def test_what_was_done_to_the_pixels_is_said(keys: Keys, tmp_path: Path, profile: str) -> None:
    ds = picture(US, DerivationDescription="Lossy 10:1 for Abernathy", RecognizableVisualFeatures="NO")
    looking = load_profile(profile, options=("clean-pixel-data",))
    _, clean = run(ds, keys, tmp_path / "a", Told((10, 20, 40, 30)), profile=looking)
    assert clean is not None
    assert clean.DerivationDescription == "Burned-in text blanked"
    assert clean.ImageType[0] == "DERIVED"
    assert clean.RecognizableVisualFeatures == "NO"  # as it was: nothing is done about faces, and nothing claimed
    _, clean = run(ds, keys, tmp_path / "b", Told(), profile=looking)
    assert clean is not None
    assert "blanked" not in clean.get("DerivationDescription", "")
    assert clean.BurnedInAnnotation == "NO"


@needs_extra
def test_a_ct_costs_nothing_and_claims_nothing(keys: Keys, tmp_path: Path) -> None:
    detector = Told((0, 0, 80, 64))
    ds = picture(CT)
    _, clean = run(ds, keys, tmp_path, detector)
    assert clean is not None
    assert detector.looked == 0
    assert clean.PixelData == ds.PixelData
    assert "113101" not in [item.CodeValue for item in clean.DeidentificationMethodCodeSequence]


@needs_extra
def test_a_ct_that_says_it_shows_text_is_looked_at(keys: Keys, tmp_path: Path) -> None:
    detector = Told()
    _, clean = run(picture(CT, BurnedInAnnotation="YES"), keys, tmp_path, detector)
    assert clean is not None
    assert detector.looked
    assert clean.BurnedInAnnotation == "NO"


@needs_extra
def test_text_that_stays_sets_the_instance_aside(keys: Keys, tmp_path: Path) -> None:
    class Stubborn(Told):
        def __call__(
            self, pictures: object, *, again: bool = False, fine: bool = False
        ) -> list[tuple[int, int, int, int]]:
            self.looked += 1
            return [(9 * self.looked, 9, 9 * self.looked + 8, 17)]  # always more

    outcome, _ = run(picture(US), keys, tmp_path, Stubborn())
    assert outcome.reason is Reason.BURNED_IN_TEXT
    assert not list((tmp_path / "out").rglob("*.dcm"))


@pytest.mark.parametrize(
    "attributes", [{"Modality": "DOC"}, {"ConversionType": "SD"}, {"ConversionType": "DF"}, {"Modality": "SR"}]
)
def test_paper_stays_inside(keys: Keys, tmp_path: Path, attributes: dict[str, str]) -> None:
    outcome, _ = run(picture(SC, **attributes), keys, tmp_path, Told())
    assert outcome.reason is Reason.BURNED_IN_TEXT


def test_without_the_extra_it_stays_inside(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_pipeline.deidentify.burned_in.clean.available", lambda: False)
    work = Deidentifier(LOOKING, keys)
    work._detector = None
    outcome = work.deidentify(builder.save(picture(US), tmp_path / "in.dcm"), tmp_path / "out")
    assert outcome.reason is Reason.BURNED_IN_TEXT
    assert "pixels" in outcome.detail


def test_without_the_option_it_stays_inside(keys: Keys, tmp_path: Path) -> None:
    outcome, _ = run(picture(US), keys, tmp_path, Told(), profile=load_profile("research"))
    assert outcome.reason is Reason.BURNED_IN_TEXT


@needs_extra
def test_the_same_input_gives_the_same_bytes(keys: Keys, tmp_path: Path) -> None:
    first, _ = run(picture(US), keys, tmp_path / "a", Told((10, 20, 40, 30)))
    second, _ = run(picture(US), keys, tmp_path / "b", Told((10, 20, 40, 30)))
    assert first.sha256 == second.sha256 != ""


def test_installing_the_extra_makes_what_was_withheld_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_profile("basic", options=("clean-pixel-data",)).fingerprint
    monkeypatch.setattr("pacs_pipeline.deidentify.profile.model_version", lambda: "another")
    assert load_profile("basic", options=("clean-pixel-data",)).fingerprint != before
