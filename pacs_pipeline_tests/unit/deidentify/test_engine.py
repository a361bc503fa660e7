"""The engine on real files: every file ends released or with a reason, and what is released is clean."""

from pathlib import Path

import pydicom
import pydicom.data
import pytest
from pydicom.data import get_testdata_file

from pacs_pipeline.deidentify import Deidentifier, Keys, Outcome, load_profile
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import Reason

KEYS = Keys.derive(b"k" * 32, "tests")
PROFILE = load_profile("basic-modified-dates")
CT = Path(str(get_testdata_file("CT_small.dcm")))


@pytest.fixture
def engine() -> Deidentifier:
    return Deidentifier(PROFILE, KEYS)


def planted(tmp_path: Path, **values: str) -> Path:
    ds = pydicom.dcmread(CT)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    path = tmp_path / "planted.dcm"
    ds.save_as(path)
    return path


def released(outcome: Outcome) -> Path:
    assert outcome.released, (outcome.reason, outcome.detail)
    assert outcome.output is not None
    return outcome.output


def test_every_shipped_file_ends_released_or_with_a_reason(engine: Deidentifier, tmp_path: Path) -> None:
    shipped = Path(pydicom.data.__file__).parent / "test_files"
    outcomes = [engine.deidentify(path, tmp_path) for path in sorted(shipped.glob("*.dcm"))]
    assert len(outcomes) > 50
    assert all(o.released != (o.reason is not None) for o in outcomes)
    assert not [o.source.name for o in outcomes if o.reason is Reason.INTERNAL]
    assert sum(o.released for o in outcomes) >= 10


def test_identifiers_are_gone_and_pixels_are_not(engine: Deidentifier, tmp_path: Path) -> None:
    source = planted(
        tmp_path,
        PatientName="Abernathy^Quillon",
        PatientID="MRN-7788123",
        AccessionNumber="ACC5566778",
        ReferringPhysicianName="Vandersloot^Mira",
        StudyDescription="CT CHEST FOR ABERNATHY",
        PatientBirthDate="19501231",
    )
    output = released(engine.deidentify(source, tmp_path / "out"))
    content = output.read_bytes().lower()
    for identifier in (b"abernathy", b"quillon", b"7788123", b"acc5566778", b"vandersloot", b"19501231"):
        assert identifier not in content
    before, after = pydicom.dcmread(source), pydicom.dcmread(output)
    assert after.PixelData == before.PixelData
    assert after.PatientIdentityRemoved == "YES"
    assert [item.CodeValue for item in after.DeidentificationMethodCodeSequence] == ["113100", "113107"]
    assert not [e for e in after.iterall() if e.tag.is_private]
    assert after.SOPInstanceUID.startswith("2.25.")
    assert output.read_bytes()[:128] == bytes(128)


def test_intervals_between_dates_of_a_patient_are_kept(engine: Deidentifier, tmp_path: Path) -> None:
    first = planted(tmp_path, StudyDate="20240110")
    row = engine.deidentify(first, tmp_path / "a").row
    second = planted(tmp_path, StudyDate="20240309", StudyInstanceUID="1.2.3.4.5", SOPInstanceUID="1.2.3.4.6")
    other = engine.deidentify(second, tmp_path / "b").row
    assert (other["StudyDate"] - row["StudyDate"]).days == 59  # type: ignore[operator]
    assert other["PatientID"] == row["PatientID"]


def test_the_same_input_gives_the_same_bytes(engine: Deidentifier, tmp_path: Path) -> None:
    first = released(engine.deidentify(CT, tmp_path / "a"))
    second = released(Deidentifier(PROFILE, KEYS).deidentify(CT, tmp_path / "b"))
    assert first.read_bytes() == second.read_bytes()


def test_projects_cannot_be_linked(tmp_path: Path) -> None:
    rows = [
        Deidentifier(PROFILE, Keys.derive(b"k" * 32, name)).deidentify(CT, tmp_path / name).row for name in ("a", "b")
    ]
    for column in ("PatientID", "SOPInstanceUID", "StudyInstanceUID"):
        assert rows[0][column] != rows[1][column]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a DICOM file at all", Reason.UNREADABLE),
        (CT.read_bytes()[:-500], Reason.TRUNCATED),
        (CT.read_bytes()[:600], None),
    ],
)
def test_broken_files_are_set_aside(
    engine: Deidentifier, tmp_path: Path, content: bytes, reason: Reason | None
) -> None:
    path = tmp_path / "broken.dcm"
    path.write_bytes(content)
    outcome = engine.deidentify(path, tmp_path / "out")
    assert not outcome.released
    assert reason is None or outcome.reason is reason
    assert not list((tmp_path / "out").rglob("*.dcm"))


@pytest.mark.parametrize("keyword", ["BurnedInAnnotation"])
def test_burned_in_text_is_withheld(engine: Deidentifier, tmp_path: Path, keyword: str) -> None:
    outcome = engine.deidentify(planted(tmp_path, **{keyword: "YES"}), tmp_path / "out")
    assert outcome.reason is Reason.BURNED_IN_TEXT


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="basic-modified-dates"):
        load_profile("nothing")
