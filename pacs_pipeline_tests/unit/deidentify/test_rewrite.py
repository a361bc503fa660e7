"""What a released instance looks like: dates, UIDs, sequences, codes, text, the marks of the profile."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from pacs_pipeline.deidentify import Deidentifier, Keys, load_profile
from pacs_pipeline.deidentify.dates import shifted

from . import builder
from .conftest import Bench


def day(text: str) -> dt.date:
    return dt.datetime.strptime(text[:8], "%Y%m%d").date()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dates(dt.date(1930, 1, 1), dt.date(2030, 1, 1)), min_size=3, max_size=3))
def test_intervals_between_any_two_dates_are_kept(bench: Bench, days: list[dt.date]) -> None:
    study, series, deep = (f"{value:%Y%m%d}" for value in days)
    ds = builder.image(StudyDate=study, SeriesDate=series, AcquisitionDateTime=f"{deep}101112.5+0100")
    builder.nested(ds).AcquisitionDateTime = deep
    clean = bench.clean(ds)
    moved = [clean.StudyDate, clean.SeriesDate, clean.AcquisitionDateTime]
    assert clean.AcquisitionDateTime.endswith("101112.5+0100")
    assert [day(text) - day(moved[0]) for text in moved] == [value - days[0] for value in days]
    assert 1 <= (days[0] - day(moved[0])).days <= 3650
    deepest = clean.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].PurposeOfReferenceCodeSequence[0]
    assert deepest.AcquisitionDateTime == moved[2][:8]


def test_the_shift_is_the_patients_own(bench: Bench) -> None:
    first = bench.clean(builder.image(SOPInstanceUID="1.2.9.1", StudyInstanceUID="1.2.9.2")).StudyDate
    again = bench.clean(builder.image(SOPInstanceUID="1.2.9.3", SeriesInstanceUID="1.2.9.4")).StudyDate
    other = bench.clean(builder.image(PatientID="MRN-5550124")).StudyDate
    assert first == again != other


@pytest.mark.parametrize(
    "value", ["2020", "195002", "00000000", "20201301", "20200230", "yesterday", "20200101-20200301"]
)
def test_what_is_no_date_is_not_kept(bench: Bench, value: str) -> None:
    ds = builder.image()
    for tag, vr in ((0x00080020, "DA"), (0x00080022, "DA"), (0x00080021, "DA"), (0x0008002A, "DT")):
        builder.put(ds, tag, vr, value)
    clean = bench.clean(ds)
    assert clean.StudyDate == ""  # table: Z
    assert clean.AcquisitionDate == ""  # X/Z
    assert clean.SeriesDate == "19000101"  # X/D: a dummy
    assert value not in str(clean)


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [
        ("DA", "20200310", "20200301"),
        ("DA", "1997.04.24", "19970415"),
        ("DA", "00010105", None),
        ("DT", "20200310", "20200301"),
        ("DT", "20200310235960.123456-0500", "20200301235960.123456-0500"),
        ("DT", "202003102360", None),
        ("DT", "2020", None),
    ],
)
def test_shifted(vr: str, text: str, expected: str | None) -> None:
    assert shifted(vr, text, 9) == expected


def test_several_dates_move_together_or_not_at_all(bench: Bench) -> None:
    ds = builder.image()
    ds.DateOfLastCalibration = ["20200101", "20200111"]
    first, second = bench.clean(ds).DateOfLastCalibration
    assert (day(second) - day(first)).days == 10
    builder.put(ds, 0x00181200, "DA", ["20200101", "no date"])
    assert "DateOfLastCalibration" not in bench.clean(ds)


def test_times_stay_with_modified_dates_and_go_without(bench: Bench, basic: Deidentifier, tmp_path: Path) -> None:
    ds = builder.image(StudyTime="101500")
    builder.put(ds, 0x00080032, "TM", "10:15:07")
    builder.put(ds, 0x00080033, "TM", "ABERNATHY")
    clean = bench.clean(ds)
    assert (clean.StudyTime, clean.AcquisitionTime) == ("101500", "101507")
    assert clean.ContentTime == ""
    outcome = basic.deidentify(builder.save(ds, tmp_path / "b.dcm"), tmp_path / "basic")
    plain = builder.load(outcome.output)  # type: ignore[arg-type]
    assert (plain.StudyDate, plain.StudyTime) == ("", "")
    assert plain.LongitudinalTemporalInformationModified == "REMOVED"
    assert [item.CodeValue for item in plain.DeidentificationMethodCodeSequence] == ["113100"]
    assert outcome.row["StudyDate"] is None


def test_the_marks_say_exactly_what_was_done(bench: Bench) -> None:
    ds = builder.image(DeidentificationMethod="by hand, for Dr. Oyelaran", PatientIdentityRemoved="NO")
    clean = bench.clean(ds)
    assert clean.PatientIdentityRemoved == "YES"
    assert clean.DeidentificationMethod.startswith("pacs-pipeline profile basic-modified-dates ")
    codes = [(i.CodeValue, i.CodingSchemeDesignator, i.CodeMeaning) for i in clean.DeidentificationMethodCodeSequence]
    assert codes == [
        ("113100", "DCM", "Basic Application Confidentiality Profile"),
        ("113107", "DCM", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ]
    assert clean.LongitudinalTemporalInformationModified == "MODIFIED"


def test_uids_are_replaced_consistently_and_never_merged(bench: Bench) -> None:
    ds = builder.image()
    ds.FailedSOPInstanceUIDList = ["1.2.999.7.1", "1.2.999.7.2", "1.2.999.1.2.3.4"]
    reference = Dataset()
    reference.ReferencedSOPClassUID = builder.CT
    reference.ReferencedSOPInstanceUID = "1.2.999.7.1"
    ds.ReferencedImageSequence = Sequence([reference])
    builder.put(ds, 0x00089123, "UI", "MRN-5550123")  # no UID at all
    clean = bench.clean(ds)
    new = list(clean.FailedSOPInstanceUIDList)
    assert len(set(new)) == 3
    assert new[2] == clean.SOPInstanceUID == clean.file_meta.MediaStorageSOPInstanceUID
    assert clean.ReferencedImageSequence[0].ReferencedSOPInstanceUID == new[0]
    assert clean.ReferencedImageSequence[0].ReferencedSOPClassUID == builder.CT
    assert all(UID(uid).is_valid for uid in [*new, clean.CreatorVersionUID, clean.FrameOfReferenceUID])


def test_an_instance_under_a_registered_uid_gets_its_own(bench: Bench) -> None:
    clean = bench.clean(builder.image(SOPInstanceUID="1.2.840.10008.1.2.1"))
    assert clean.SOPInstanceUID.startswith("2.25.")


def test_what_is_useful_stays(bench: Bench) -> None:
    source = builder.image(SoftwareVersions="syngo CT 2012B", ManufacturerModelName="SOMATOM Definition AS+")
    clean = bench.clean(source)
    kept = (
        "ImageType Modality Manufacturer ManufacturerModelName SoftwareVersions SliceThickness KVP ConvolutionKernel "
        "BodyPartExamined SeriesNumber InstanceNumber ImagePositionPatient PixelSpacing Rows Columns PixelData StudyTime"
    )
    for keyword in kept.split():
        assert clean[keyword].value == source[keyword].value, keyword


def test_only_what_was_there_comes_out(bench: Bench) -> None:
    source = builder.image()
    added = set(bench.clean(source).keys()) - set(source.keys())
    marks = ["PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"]
    assert added == {tag_for_keyword(keyword) for keyword in [*marks, "LongitudinalTemporalInformationModified"]}


def test_codes_are_published_or_unknown(bench: Bench) -> None:
    ds = builder.image()

    def code(value: str, scheme: str, meaning: str) -> Dataset:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
        return item

    ds.AnatomicRegionSequence = Sequence(
        [
            code("T-D3000", "SRT", "Chest"),
            code("51185008", "SCT", "Abernathy's chest"),
            code("X17", "99KLINIK", "Bed 7"),
        ]
    )
    clean = [(i.CodeValue, i.CodeMeaning) for i in bench.clean(ds).AnatomicRegionSequence]
    assert clean[0] == ("T-D3000", "Chest")
    assert clean[1][0] == "51185008"
    assert "Abernathy" not in clean[1][1]
    assert clean[2] == ("261665006", "Unknown")


def test_dummies_fit_their_vr_at_every_depth(bench: Bench) -> None:
    ds = builder.image(OperatorsName="Oyelaran^Adaeze", StationName="CT-7")
    person = Dataset()
    person.InstitutionName = "Marienhospital Nordstadt"
    person.PersonName = "Abernathy"
    deeper = Dataset()
    deeper.CodeValue, deeper.CodeMeaning = "9", "Abernathy"
    person.PersonIdentificationCodeSequence = Sequence([deeper])
    ds.OperatorIdentificationSequence = Sequence([person, person])
    clean = bench.clean(ds)
    assert (clean.OperatorsName, clean.StationName) == ("ANONYMIZED", "ANONYMIZED")
    assert len(clean.OperatorIdentificationSequence) == 1
    assert clean.OperatorIdentificationSequence[0].InstitutionName == "ANONYMIZED"
    assert clean.OperatorIdentificationSequence[0].PersonIdentificationCodeSequence[0].CodeMeaning == "ANONYMIZED"


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 192", "Müller^Jürgen=王^小东"),
        ("ISO_IR 100", "Ångström^José"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_foreign_names_go_and_the_character_set_still_fits(bench: Bench, charset: str | list[str], name: str) -> None:
    ds = builder.image(SpecificCharacterSet=charset)
    ds.PatientName = name
    ds.InstitutionName = name.split("=")[-1]
    ds.OtherPatientNames = name
    clean = bench.clean(ds)
    assert clean.SpecificCharacterSet == (charset if isinstance(charset, str) else charset)
    text = clean.to_json()
    assert not [part for part in name.replace("=", "^").split("^") if part in text]
    assert clean.PatientName == clean.PatientID


def test_persons_without_an_id_are_not_merged(bench: Bench) -> None:
    def pseudonym(**values: object) -> str:
        return str(bench.clean(builder.image(PatientID="", **values)).PatientID)

    anna = pseudonym(PatientName="Berg^Anna")
    assert anna == pseudonym(PatientName="BERG^ANNA", StudyInstanceUID="1.2.999.5")
    assert anna != pseudonym(PatientName="Berg^Karl")
    assert pseudonym(PatientName="", StudyInstanceUID="1.2.8") != pseudonym(PatientName="", StudyInstanceUID="1.2.9")


def test_the_issuer_tells_two_patients_apart(keys: Keys, tmp_path: Path) -> None:
    profile = load_profile("basic-modified-dates")
    path = builder.save(builder.image(), tmp_path / "in.dcm")
    north, south = (
        Deidentifier(profile, keys, default_issuer=site).deidentify(path, tmp_path / site).row["PatientID"]
        for site in ("north", "south")
    )
    assert north != south
    path = builder.save(builder.image(IssuerOfPatientID="north"), tmp_path / "in.dcm")
    assert Deidentifier(profile, keys).deidentify(path, tmp_path / "own").row["PatientID"] == north


def test_the_row_tells_what_the_output_holds(bench: Bench) -> None:
    outcome = bench.run(builder.image(NumberOfFrames=1))
    clean = builder.load(outcome.output)  # type: ignore[arg-type]
    row = outcome.row
    assert row["SOPInstanceUID"] == clean.SOPInstanceUID
    assert row["ImageType"] == "ORIGINAL\\PRIMARY\\AXIAL"
    assert f"{row['StudyDate']:%Y%m%d}" == clean.StudyDate
    assert (row["Rows"], row["Columns"], row["NumberOfFrames"], row["SeriesNumber"]) == (16, 12, 1, 2)
    assert row["size"] == outcome.output.stat().st_size  # type: ignore[union-attr]
    header = json.loads(str(row["header"]))
    assert header["ImagePositionPatient"] == [-10.5, 20, 30]
    assert header["DeidentificationMethodCodeSequence"][0]["CodeValue"] == "113100"
    assert "PixelData" not in header
    assert "Abernathy" not in str(row)
    assert {keyword: letter for _, keyword, letter, _ in outcome.actions}["StudyDate"] == "C"
