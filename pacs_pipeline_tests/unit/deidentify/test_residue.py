"""The residue scan finds what a faulty engine would leave, and leaves ordinary images alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from pacs_pipeline.deidentify import Deidentifier, rewrite
from pacs_pipeline.deidentify.codec import CHUNK, LITTLE, Element, Elements, read
from pacs_pipeline.deidentify.residue import ResidueScan
from pacs_pipeline.deidentify.residue_bytes import LONGEST_PATTERN, wide
from pacs_pipeline.deidentify.residue_identifiers import Harvest, renderings
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

from . import builder
from .conftest import Bench


@pytest.fixture
def look(bench: Bench) -> object:
    """Put something into a clean file behind the engine's back and look again."""

    def again(change: object, source: FileDataset | None = None) -> None:
        original = source or builder.image()
        outcome = bench.run(original)
        assert outcome.output is not None, outcome.detail
        clean = builder.load(outcome.output)
        change(clean)  # type: ignore[operator]
        builder.put(clean, 0x00100020, "LO", "PX")
        tampered = builder.save(clean, bench.folder / "tampered.dcm")
        content = bytearray(tampered.read_bytes())
        parsed = read(bench.folder / "in.dcm", max_inflated_bytes=1000, max_depth=9)
        tampered.write_bytes(content)
        ResidueScan().verify(tampered, Harvest().of(parsed.dataset), LITTLE)

    return again


def nothing(ds: Dataset) -> None:
    return


def test_a_clean_file_passes(look) -> None:  # type: ignore[no-untyped-def]
    look(nothing)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00081030, "LO", "CT for Mrs. Abernathy"),
        (0x00081030, "LO", "abernathy"),
        (0x00081030, "LO", "seen by ADAEZE"),
        (0x00081030, "LO", "MRN-5550123"),
        (0x00081030, "LO", "acc-778812"),
        (0x00081030, "LO", "study 778812"),
        (0x00200012, "IS", "5550123"),
        (0x00081030, "LO", "born 4.7.1951"),
        (0x00081030, "LO", "born 04-JUL-1951"),
        (0x00081030, "LO", "1951-07-04"),
        (0x00081030, "LO", "Marienhospital Nordstadt"),
        (0x00081030, "LO", "XABERNATHYX"),
        (0x00081030, "LO", "Jos\xe9"),
        (0x00180015, "CS", "ABERNATHY"),
        (0x00080070, "LO", "Abernathy"),
        (0x0020000E, "UI", "1.2.999.1.2.3"),
        (0x00281052, "DS", "19510704" + "0"),
        (0x00283006, "OW", b"xx ABERNATHY xx "),
        (0x00283006, "OW", "ABERNATHY".encode("utf-16-le")),
        (0x00283006, "OW", "ABERNATHY".encode("utf-16-be")),
        (0x00080104, "LO", "Chest of Abernathy"),
    ],
)
def test_an_identifier_is_found_wherever_it_stands(look, tag: int, vr: str, value: object) -> None:  # type: ignore[no-untyped-def]
    source = builder.image(OtherPatientIDs="195107040")

    def deep(ds: Dataset) -> None:
        item = Dataset()
        builder.put(item, tag, vr, value)
        ds.ReferencedSeriesSequence = Sequence([item])

    for change in (lambda ds: builder.put(ds, tag, vr, value), deep):
        with pytest.raises(Quarantine) as found:
            look(change, source)
        assert found.value.reason is Reason.RESIDUE
        assert "ABERNATHY" not in found.value.detail.upper()


@pytest.mark.filterwarnings("ignore:The value length")
def test_a_long_identifier_on_the_border_of_two_pieces_is_found(look) -> None:  # type: ignore[no-untyped-def]
    number = "QX7" * 30
    wide = number.lower().encode("utf-16-le")
    padding = b"\0" * (CHUNK - LONGEST_PATTERN - 10)

    def write(ds: Dataset) -> None:
        builder.put(ds, 0x00283006, "OW", padding + wide + b"\0" * 1000)

    with pytest.raises(Quarantine) as found:
        look(write, builder.image(OtherPatientIDs=number))
    assert found.value.reason is Reason.RESIDUE


def test_pixels_are_looked_through(look) -> None:  # type: ignore[no-untyped-def]
    def write(ds: Dataset) -> None:
        ds.PixelData = b"abernathy " + ds.PixelData[10:]

    with pytest.raises(Quarantine, match="PixelData"):
        look(write)


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: builder.put(ds, 0x00091001, "LO", "X"),
        lambda ds: delattr(ds, "PatientIdentityRemoved"),
        lambda ds: setattr(ds, "preamble", b"MZ" + bytes(126)),
        lambda ds: setattr(ds.file_meta, "SourceApplicationEntityTitle", "PACS"),
    ],
)
def test_the_structure_is_verified(look, change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Quarantine) as found:
        look(change)
    assert found.value.reason is Reason.RESIDUE


def test_bytes_behind_the_data_set_are_found(bench: Bench) -> None:
    outcome = bench.run(builder.image())
    assert outcome.output is not None
    copy = Path(shutil.copy(outcome.output, bench.folder / "copy.dcm"))
    with copy.open("ab") as file:
        file.write(b"\x00\x00")
    with pytest.raises(Quarantine):
        ResidueScan().verify(copy, Harvest().of({}), LITTLE)


CT = "1.2.840.10008.5.1.4.1.1.2"


def test_a_faulty_rule_is_caught_and_nothing_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the scan does not rely on the engine: an action that keeps what it should remove."""

    def keep(work: object, element: Element, dataset: Elements) -> Element:
        return element

    broken = Deidentifier(bench.engine.profile, bench.engine.keys)
    monkeypatch.setitem(broken._plan(CT)._steps, (0x00081030, "LO", 0), keep)
    path = builder.save(builder.image(), bench.folder / "in.dcm")
    outcome = broken.deidentify(path, bench.out)
    assert outcome.reason is Reason.RESIDUE
    assert outcome.detail == "StudyDescription"
    assert [entry for entry in bench.out.rglob("*") if entry.is_file()] == []
    assert rewrite  # the module is what it was


@pytest.mark.parametrize(
    "values",
    [
        {"PatientName": "Chest^Axial"},
        {"PatientName": "Hand^Siemens", "BodyPartExamined": "HAND"},
        {"PatientName": "Li^A", "Manufacturer": "SIEMENS"},
        {"PatientID": "1"},
        {"PatientID": "16", "AccessionNumber": "12", "StudyID": "2"},
        {"InstitutionName": "SIEMENS"},
        {"StationName": "CT"},
        {"PatientID": "0000000", "PixelData": b"0" * (16 * 12 * 2), "BitsStored": 16, "HighBit": 15},
        {"PatientName": "Anonymous"},
        {"PatientBirthDate": "20200317"},
    ],
)
def test_ordinary_words_and_numbers_do_not_withhold_an_image(bench: Bench, values: dict[str, object]) -> None:
    outcome = bench.run(builder.image(**values))
    assert outcome.released, (outcome.reason, outcome.detail)


def test_many_patients_are_released_whatever_their_numbers(bench: Bench) -> None:
    """Numbers of six digits appear by chance in UIDs; that must not withhold anybody."""
    for number in range(123400, 123460):
        outcome = bench.run(builder.image(PatientID=str(number), AccessionNumber=str(number + 1)))
        assert outcome.released, outcome.detail


def test_renderings_hold_the_usual_ways() -> None:
    usual = "19510704 1951-07-04 04.07.1951 07/04/1951 4.7.1951 7/4/1951 04-jul-1951 04jul1951 1951.07.04 04071951"
    assert set(usual.split()) <= renderings(1951, 7, 4)


@settings(max_examples=60, deadline=None)
@given(
    name=st.text("abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=30),
    before=st.binary(max_size=9),
    after=st.binary(max_size=9),
    codec=st.sampled_from(["utf-16-le", "utf-16-be"]),
    upper=st.booleans(),
)
def test_a_name_in_utf_16_is_seen_wherever_it_stands(
    name: str, before: bytes, after: bytes, codec: str, upper: bool
) -> None:
    written = (name.upper() if upper else name).encode(codec)
    assert any(name.encode() in text for text in wide(np.frombuffer(before + written + after, np.uint8)))


def test_what_an_item_says_of_identity_is_not_said_of_the_instance(look) -> None:  # type: ignore[no-untyped-def]
    def moved_into_an_item(ds: Dataset) -> None:
        del ds.PatientIdentityRemoved
        item = Dataset()
        item.PatientIdentityRemoved = "YES"
        ds.ReferencedSeriesSequence = Sequence([item])

    with pytest.raises(Quarantine, match="PatientIdentityRemoved"):
        look(moved_into_an_item)
