"""What the options of PS3.15 E.3 keep, clean and remove, told by the standard's own table."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from pacs_pipeline.deidentify import Deidentifier, Keys, load_profile
from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.iod import attribute_type
from pacs_pipeline.deidentify.profile import OPTIONS, PROFILES
from pacs_pipeline.deidentify.values import vrs_of
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import Reason

from . import builder
from .conftest import Bench

Make = Callable[..., Bench]
CT, DX, MG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.2"
ABERNATHY = "Abernathy"


@pytest.fixture
def bench_of(keys: Keys, tmp_path: Path) -> Make:
    def make(name: str = "basic", *options: str, **more: Path) -> Bench:
        return Bench(Deidentifier(load_profile(name, options=options, **more), keys), tmp_path)

    return make


# --- which options there are ---


def test_every_option_of_the_standard_is_a_switch() -> None:
    written = {option.code for option in OPTIONS.values()}
    assert written == {
        f"1131{number:02d}" for number in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    }  # 02: no faces are cleaned


def test_faces_are_a_declared_non_goal() -> None:
    with pytest.raises(SettingsError, match="faces in head scans"):
        load_profile("basic", options=("clean-recognizable-visual-features",))


def test_an_unknown_option_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="no de-identification option 'keep-all'") as caught:
        load_profile("basic", options=("keep-all",))
    assert "retain-uids" in caught.value.fix


@pytest.mark.parametrize("profile", ["research", "basic-modified-dates"])
def test_dates_are_kept_or_modified(profile: str) -> None:
    with pytest.raises(SettingsError, match="not both"):
        load_profile(profile, options=("retain-full-dates",))


def test_every_choice_of_options_has_its_own_fingerprint() -> None:
    prints = {load_profile(name).fingerprint for name in PROFILES}
    prints |= {load_profile("basic", options=(option,)).fingerprint for option in OPTIONS if option != "modified-dates"}
    assert len(prints) == len(PROFILES) + len(OPTIONS) - 1


def test_the_codes_are_those_of_the_options(bench_of: Make) -> None:
    clean = bench_of("basic", "retain-uids", "retain-full-dates").clean(builder.image())
    codes = [item.CodeValue for item in clean.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113106", "113110"]
    assert clean.LongitudinalTemporalInformationModified == "UNMODIFIED"


# --- actions by type (PS3.15 E.1) ---


def test_a_choice_is_made_by_the_attributes_type(bench_of: Make) -> None:
    assert attribute_type(CT, 0, 0x00081010) == "3"
    clean = bench_of().clean(builder.image(StationName="CT-NORTH", ContentDate="20200318", AcquisitionDate="20200318"))
    assert "StationName" not in clean  # X/Z/D, type 3
    assert "AcquisitionDate" not in clean  # X/Z, type 3
    assert clean.ContentDate == ""  # Z/D, type 2C


def test_a_type_1_attribute_gets_a_dummy() -> None:
    required = [
        (row.tag, scope)
        for row in read_table()
        for scope in (MG, DX)
        if row.basic in ("X/D", "X/Z/D", "Z/D") and attribute_type(scope, 0, int(row.tag, 16)) == "1"
    ]
    assert required
    for tag, scope in required:
        field = f"({tag[:4].lower()},{tag[4:].lower()})"
        (line,) = [rule.line for rule in load_profile("basic").rules_for(scope) if rule.field == field]
        assert line == f"REPLACE {field} func:dummy"


def test_of_an_unknown_class_every_type_is_served() -> None:
    lines = {rule.field: rule.line for rule in load_profile("basic").rules_for("1.2.3")}
    assert lines["(0008,0022)"] == "BLANK (0008,0022)"
    assert lines["(0008,1010)"] == "REPLACE (0008,1010) func:dummy"


def test_below_a_sequence_the_item_decides() -> None:
    observers = 0x0040A078  # AuthorObserverSequence
    assert attribute_type(CT, observers, 0x00080080) in ("2", "1")


# --- what is kept ---

KEPT = [
    (option, int(row.tag, 16), vr)
    for option, column in (
        ("retain-device-identity", "retain_device_identity"),
        ("retain-institution-identity", "retain_institution_identity"),
        ("retain-patient-characteristics", "retain_patient_characteristics"),
        ("retain-full-dates", "retain_longitudinal_full_dates"),
        ("retain-uids", "retain_uids"),
    )
    for row in read_table()
    if row.options.get(column) == "K" and "x" not in row.tag
    for vr in vrs_of(int(row.tag, 16))[:1]
    if vr in ("LO", "SH", "ST", "LT", "UT", "UC", "DA", "DT", "TM", "UI", "AS", "DS", "CS")
]
VALUES = {"DA": "20190821", "DT": "20190821101112.5", "TM": "101112", "UI": "1.2.999.44"}
VALUES |= {"AS": "044Y", "DS": "81.5", "CS": "NO"}


@pytest.mark.parametrize("option", sorted({option for option, _, _ in KEPT}))
def test_what_the_table_retains_is_retained(bench_of: Make, option: str) -> None:
    rows = [(tag, vr) for chosen, tag, vr in KEPT if chosen == option and tag >> 16 >= 0x0008]
    ds = builder.image()
    values = {tag: "+0100" if tag == 0x00080201 else VALUES.get(vr, f"Quartz {tag:08X}") for tag, vr in rows}
    for tag, vr in rows:
        builder.put(ds, tag, vr, values[tag])
    clean = bench_of("basic", option).clean(ds)
    lost = {f"{tag:08X}" for tag, _ in rows if str(clean.get(tag, Dataset()) and clean[tag].value) != values[tag]}
    assert lost == set()


@pytest.mark.parametrize("option", sorted({option for option, _, _ in KEPT}))
def test_without_the_option_it_is_not(bench_of: Make, option: str) -> None:
    kinds = ("LO", "SH", "ST", "DA", "UI")
    rows = [(tag, vr) for chosen, tag, vr in KEPT if chosen == option and vr in kinds and tag >> 16 >= 0x0008]
    ds = builder.image()
    for tag, vr in rows:
        builder.put(ds, tag, vr, VALUES.get(vr, f"Quartz {tag:08X}"))
    clean = bench_of("basic").clean(ds)
    assert not {f"{tag:08X}" for tag, vr in rows if tag in clean and str(clean[tag].value) == str(ds[tag].value)}


def test_a_kept_text_loses_the_patients_name(bench_of: Make) -> None:
    clean = bench_of("basic", "retain-institution-identity").clean(
        builder.image(InstitutionName="Haus Abernathy am See", InstitutionAddress="Uferweg 1")
    )
    assert clean.InstitutionName == "Haus am See"
    assert clean.InstitutionAddress == "Uferweg 1"


def test_kept_uids_keep_their_references(bench_of: Make) -> None:
    ds = builder.image()
    clean = bench_of("basic", "retain-uids").clean(ds)
    assert (clean.SOPInstanceUID, clean.StudyInstanceUID) == (ds.SOPInstanceUID, ds.StudyInstanceUID)
    assert clean.FrameOfReferenceUID == ds.FrameOfReferenceUID


@pytest.mark.parametrize(
    ("profile", "age", "kept"),
    [
        ("research", "089Y", "089Y"),
        ("research", "090Y", "090Y"),
        ("research", "091Y", "090Y"),
        ("research", "107Y", "090Y"),
        ("research", "011M", "011M"),
        ("limited", "107Y", "090Y"),
        ("basic", "044Y", None),
    ],
)
def test_ages_over_89_become_90(bench_of: Make, profile: str, age: str, kept: str | None) -> None:
    assert bench_of(profile).clean(builder.image(PatientAge=age)).get("PatientAge") == kept


@pytest.mark.parametrize("text", ["ABERNATHY", "44", "Y044"])
def test_what_is_no_age_is_not_kept(bench_of: Make, text: str) -> None:
    ds = builder.image()
    builder.put(ds, 0x00101010, "AS", text)
    assert "PatientAge" not in bench_of("research").clean(ds)


@pytest.mark.parametrize("date", ["2020", "00000000", "20200231", "ABERNATH"])
def test_what_is_no_date_is_not_kept(bench_of: Make, date: str) -> None:
    ds = builder.image()
    builder.put(ds, 0x00080022, "DA", date)
    assert "AcquisitionDate" not in bench_of("basic", "retain-full-dates").clean(ds)


# --- private elements ---

SIEMENS = "SIEMENS MR HEADER"


def with_private(block: int, *, creator: str = SIEMENS, vr: str = "IS", value: object = "1000") -> FileDataset:
    ds = builder.image()
    builder.put(ds, 0x00190000 | block, "LO", creator)
    builder.put(ds, 0x00190000 | block << 8 | 0x0C, vr, value)  # B Value
    return ds


@pytest.mark.parametrize("block", [0x10, 0x11, 0x7F, 0xFF])
def test_a_safe_private_element_stays_wherever_its_block_lies(bench_of: Make, block: int) -> None:
    clean = bench_of("research").clean(with_private(block))
    assert clean[0x00190000 | block].value == SIEMENS
    assert clean[0x00190000 | block << 8 | 0x0C].value == 1000


def test_without_the_option_it_goes(bench_of: Make) -> None:
    clean = bench_of("basic").clean(with_private(0x10))
    assert not [element for element in clean if element.tag.is_private]


@pytest.mark.parametrize(
    "ds",
    [
        with_private(0x10, creator="ACME"),
        with_private(0x10, creator=f"{SIEMENS}\\{ABERNATHY}", value="1000"),
        with_private(0x10, vr="LO", value=ABERNATHY),
        with_private(0x10, vr="UN", value=b"Abernathy1"),
    ],
    ids=["another creator", "a creator that says more", "another VR", "no number"],
)
def test_what_is_not_exactly_on_the_list_goes(bench_of: Make, ds: FileDataset) -> None:
    outcome = bench_of("research").run(ds)
    assert outcome.output is not None
    clean = builder.load(outcome.output)
    assert ABERNATHY not in str(clean)
    assert 0x0019100C not in clean or clean[0x0019100C].value == 1000


def test_a_private_element_without_its_creator_goes(bench_of: Make) -> None:
    ds = builder.image()
    builder.put(ds, 0x0019100C, "IS", "1000")
    clean = bench_of("research").clean(ds)
    assert not [element for element in clean if element.tag.is_private]


def test_a_creator_with_nothing_safe_goes_too(bench_of: Make) -> None:
    ds = builder.image()
    builder.put(ds, 0x00190010, "LO", SIEMENS)
    builder.put(ds, 0x00191099, "LO", ABERNATHY)
    assert not [element for element in bench_of("research").clean(ds) if element.tag.is_private]


def test_safe_private_elements_in_sequences(bench_of: Make) -> None:
    item = Dataset()
    builder.put(item, 0x00190010, "LO", SIEMENS)
    builder.put(item, 0x0019100C, "IS", "700")
    builder.put(item, 0x00191099, "LO", ABERNATHY)
    ds = builder.image()
    ds.SharedFunctionalGroupsSequence = Sequence([item])
    (clean,) = bench_of("research").clean(ds).SharedFunctionalGroupsSequence
    assert clean[0x0019100C].value == 700
    assert 0x00191099 not in clean


def test_a_project_has_safe_elements_of_its_own(bench_of: Make, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("group,element,private_creator,vr\n0019,xx01,ACME,CS\n")
    ds = builder.image()
    builder.put(ds, 0x00190012, "LO", "ACME")
    builder.put(ds, 0x00191201, "CS", "AXIAL")
    assert bench_of("research", safe_private=own).clean(ds)[0x00191201].value == "AXIAL"
    ds[0x00191201].value = "ABERNATHY"
    assert 0x00191201 not in bench_of("research", safe_private=own).clean(ds)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0018,xx01,ACME,CS", "line 2"),
        ("0019,1001,ACME,CS", "line 2"),
        ("0019,xx01,,CS", "creator"),
        ("0019,xx01,ACME,OB", "VR OB"),
    ],
)
def test_a_line_of_the_list_that_cannot_be_used_is_named(tmp_path: Path, line: str, problem: str) -> None:
    own = tmp_path / "own.csv"
    own.write_text(f"group,element,private_creator,vr\n{line}\n")
    with pytest.raises(SettingsError, match=problem):
        load_profile("research", safe_private=own)


def test_a_list_that_has_no_effect_is_an_error(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("group,element,private_creator,vr\n0019,xx01,ACME,CS\n")
    with pytest.raises(SettingsError, match="no effect"):
        load_profile("basic", safe_private=own)


def test_the_scan_still_sees_what_an_option_does_not_keep(bench_of: Make) -> None:
    """Kept device attributes are not sought, everything else is."""
    ds = builder.image(DeviceSerialNumber="SN-991177", StudyComments="SN-991177", SeriesDescription="x")
    assert bench_of("basic", "retain-device-identity").clean(ds).DeviceSerialNumber == "SN-991177"
    ds = builder.image(DeviceSerialNumber="MRN-5550123")  # the device is named like the patient
    outcome = bench_of("basic", "retain-device-identity").run(ds)
    assert outcome.reason in (None, Reason.RESIDUE)
    if outcome.output is not None:
        assert builder.load(outcome.output).get("DeviceSerialNumber") != "MRN-5550123"


def test_a_profile_travels_to_a_worker_as_the_same_profile() -> None:
    profile = load_profile("research")
    first, second = (pickle.loads(pickle.dumps(profile)) for _ in range(2))
    assert first == profile
    assert first.rules == profile.rules
    assert first is second  # made once, however many tasks bring it
    assert pickle.loads(pickle.dumps(first)) == profile


def test_rows_newer_than_pydicoms_dictionary_are_known(keys: Keys, tmp_path: Path) -> None:
    ds = builder.image()
    builder.put(ds, 0x00102162, "UC", "CAUCASIAN")
    builder.put(ds, 0x00100012, "LT", "Quillfeather")
    builder.put(ds, 0x00081040, "LO", "Quillfeather ward")
    ds.SeriesDescription = "CHEST QUILLFEATHER"
    builder.put(ds, 0x0040B034, "DT", "20200317101500")
    outcome = Deidentifier(load_profile("research"), keys).deidentify(builder.save(ds, tmp_path / "in.dcm"), tmp_path)
    assert outcome.output is not None, outcome.detail
    clean = builder.load(outcome.output)
    assert clean[0x00102162].value in ("CAUCASIAN", b"CAUCASIAN ")
    assert 0x00100012 not in clean
    assert clean.SeriesDescription == "CHEST"
    assert b"Quillfeather" not in outcome.output.read_bytes()
    assert clean[0x0040B034].value != "20200317101500"
    assert all(vrs_of(int(row.tag, 16)) for row in read_table() if "x" not in row.tag and row.tag != "PRIVATE")
