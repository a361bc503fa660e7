"""Identifiers planted in every row of the table and in every other place: none may come out."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pacs_pipeline.deidentify import Deidentifier
from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.values import SIZES
from pacs_pipeline.records import Reason

from . import builder
from .conftest import Bench

MARK = "QUILLFEATHER"


def marked(vr: str) -> tuple[object, bytes]:
    """A value of ``vr`` that carries a mark nobody else uses, and the bytes to look for."""
    if vr == "SQ":
        item = Dataset()
        item.PatientComments = MARK
        builder.put(item, 0x00080100, "SH", MARK)
        builder.put(item, 0x00080104, "LO", MARK)
        item.PersonName = MARK
        return Sequence([item]), MARK.encode()
    if vr in ("DA", "DT"):
        return "19371013", b"19371013"
    if vr == "TM":
        return MARK, MARK.encode()
    if vr == "UI":
        return "1.2.840.99999.77.19371013", b"99999.77"
    if vr == "AS":
        return "071Y", b"071Y"
    if vr in ("DS", "IS"):
        return "7193713", b"7193713"
    if vr in SIZES:
        packed = struct.pack("<H", 0x5A51) * (SIZES[vr] // 2)
        return (0x5A51 if SIZES[vr] == 2 else struct.unpack({4: "<f", 8: "<d"}[SIZES[vr]], packed)[0]), b""
    if vr in ("OB", "OW", "UN", "OF", "OD", "OL", "OV"):
        return MARK.encode() * 2, MARK.encode()
    return MARK, MARK.encode()


def vr_of(tag: int) -> str:
    try:
        return dictionary_VR(tag).split(" or ")[0]
    except KeyError:
        return "LO"


def rows() -> list[tuple[int, str]]:
    found = []
    for row in read_table():
        if row.tag == "PRIVATE":
            found.append((0x00091010, "LO"))
            continue
        for group in ("00", "04") if "x" in row.tag else ("",):
            tag = int(row.tag[:4].replace("xx", group) + row.tag[4:].replace("xxxx", "3000"), 16)
            if tag >> 16 >= 0x0008:
                found.append((tag, vr_of(tag)))
    return found


DOCUMENT = 0x00420011
OWNED = {0x00080018, 0x0020000D, 0x0020000E}  # needed by every instance; tested by themselves


BATCH = 12  # rows in one file


@pytest.mark.parametrize("depth", [0, 3])
def test_no_row_of_the_table_leaks(bench: Bench, depth: int) -> None:
    leaks, held = [], []
    wanted = [(tag, vr) for tag, vr in rows() if tag != DOCUMENT and (depth or tag not in OWNED)]
    for start in range(0, len(wanted), BATCH):
        ds = builder.image(PatientBirthDate="19370101")
        place = builder.nested(ds, depth) if depth else ds
        batch = wanted[start : start + BATCH]
        for tag, vr in batch:
            if tag == 0x00091010:
                builder.put(place, 0x00090010, "LO", MARK)
            builder.put(place, tag, vr, marked(vr)[0])
        outcome = bench.run(ds)
        if outcome.output is None:
            held.append((f"{batch[0][0]:08X} …", outcome.reason, outcome.detail))
            continue
        content = outcome.output.read_bytes()
        leaks += [f"{tag:08X}" for tag, vr in batch if (needle := marked(vr)[1]) and needle in content]
    assert leaks == []
    assert held == []  # and nothing useful is lost


def test_an_encapsulated_document_is_withheld(bench: Bench) -> None:
    ds = builder.image()
    builder.put(ds, DOCUMENT, "OB", MARK.encode())
    assert bench.run(ds).reason is Reason.ENCAPSULATED_DOCUMENT


@pytest.mark.parametrize("depth", [0, 3])
def test_no_text_attribute_of_the_dictionary_leaks(bench: Bench, depth: int) -> None:
    """The table is not all there is: no text attribute may carry a word that is not published."""
    texts = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "UN", "OB", "OW", "TM", "AS"}
    free = [tag for tag, entry in DicomDictionary.items() if set(entry[0].split(" or ")) & texts and tag >> 16 > 8]
    skipped = {0x00280004, 0x7FE00010, 0x00420011, 0x00280301}  # what makes an instance withheld as a whole
    for start in range(0, len(free), 40):
        ds = builder.image()
        place = builder.nested(ds, depth) if depth else ds
        for tag in free[start : start + 40]:
            if tag not in skipped:
                vr = next(vr for vr in DicomDictionary[tag][0].split(" or ") if vr in texts)
                builder.put(place, tag, vr, MARK.encode() if vr in ("OB", "OW", "UN") else MARK)
        outcome = bench.run(ds)
        assert outcome.released, (outcome.reason, outcome.detail)
        assert MARK.encode() not in outcome.output.read_bytes()  # type: ignore[union-attr]


@pytest.mark.parametrize("vr", ["LO", "UN", "OB", "UT", "US", "SH", "PN", "ST", "FD", "DA", "CS", "UI", "SQ", "LT"])
@pytest.mark.parametrize("tag", [0x00100010, 0x00081030, 0x00080070, 0x00180015, 0x00189074, 0x00181030, 0x00081140])
def test_a_wrong_vr_hides_nothing(engine: Deidentifier, tmp_path: Path, tag: int, vr: str) -> None:
    ds = builder.image()
    if tag in ds:
        del ds[tag]
    path = builder.save(ds, tmp_path / "in.dcm")
    raw = path.read_bytes()
    value = MARK.encode() * 2
    if vr == "SQ":
        inner = struct.pack("<HH2sH", 0x0010, 0x4000, b"LT", len(value)) + value
        value = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    long = vr in ("OB", "UN", "UT", "SQ")
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    element = head + (struct.pack("<HL", 0, len(value)) if long else struct.pack("<H", len(value))) + value
    at = raw.rindex(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    if struct.pack("<HH", tag >> 16, tag & 0xFFFF) in raw[132:at]:
        ds = builder.image()
        del ds[tag]
        raw = builder.save(ds, path).read_bytes()
        at = raw.rindex(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    path.write_bytes(raw[:at] + element + raw[at:])
    outcome = engine.deidentify(path, tmp_path / "out")
    assert outcome.released, (outcome.reason, outcome.detail)
    assert MARK.encode() not in outcome.output.read_bytes()  # type: ignore[union-attr]


def test_preamble_file_meta_and_trailing_bytes_do_not_pass(bench: Bench) -> None:
    ds = builder.image()
    ds.preamble = (MARK * 11).encode()[:128]
    ds.file_meta.SourceApplicationEntityTitle = MARK
    ds.file_meta.ImplementationVersionName = MARK
    ds.file_meta.PrivateInformationCreatorUID = "1.2.3"
    ds.file_meta.PrivateInformation = MARK.encode()
    builder.put(ds, 0xFFFCFFFC, "OB", MARK.encode())
    path = builder.save(ds, bench.folder / "in.dcm")
    with path.open("ab") as file:
        file.write(MARK.encode() * 9)
    outcome = bench.engine.deidentify(path, bench.out)
    assert outcome.released, outcome.detail
    content = outcome.output.read_bytes()  # type: ignore[union-attr]
    assert MARK.encode() not in content
    assert content[:132] == bytes(128) + b"DICM"


def test_private_elements_go_at_every_depth_under_every_vr(bench: Bench) -> None:
    ds = builder.image()
    for place in (ds, builder.nested(ds, 1), builder.nested(ds, 3)):
        block = place.private_block(0x0029, f"{MARK} CREATOR", create=True)
        for offset, vr in enumerate(("LO", "UN", "OB", "PN", "UT", "CS")):
            block.add_new(offset, vr, MARK.encode() if vr in ("OB", "UN") else MARK)
        inner = Dataset()
        inner.PatientName = MARK
        block.add_new(0x20, "SQ", Sequence([inner]))
        builder.put(place, 0x00330101, "LO", MARK)  # an orphan without creator
    clean = bench.clean(ds)
    assert not [element for element in builder.everything(clean) if element.tag.is_private]


def test_overlays_and_curves_go_as_whole_groups(bench: Bench) -> None:
    ds = builder.image()
    for group in (0x6000, 0x6010, 0x5000, 0x5002):
        builder.put(ds, group << 16 | 0x0010, "US", 16)
        builder.put(ds, group << 16 | 0x0022, "LO", MARK)
        builder.put(ds, group << 16 | 0x3000, "OW", MARK.encode())
    clean = bench.clean(ds)
    assert not [tag for tag in clean.keys() if tag >> 24 in (0x50, 0x60)]  # noqa: SIM118


_TEXT = st.text(st.sampled_from("ABCDEFGHJKLMNPRSTUVWXYZ"), min_size=6, max_size=12).map(lambda text: "ZX" + text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=_TEXT,
    number=_TEXT,
    places=st.lists(
        st.tuples(
            st.sampled_from(
                [0x00100010, 0x00100020, 0x00080050, 0x00080090, 0x00081030, 0x00080080, 0x00204000, 0x00181030]
                + [0x00101000, 0x00324000, 0x00400253, 0x00081010, 0x00380010, 0x00181000, 0x00091010, 0x00102180]
            ),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_generated_identifiers_never_survive(
    bench: Bench, name: str, number: str, places: list[tuple[int, int]]
) -> None:
    ds = builder.image(PatientName=f"{name}^{number}", PatientID=number)
    item: Dataset = ds
    levels = [ds]
    for _ in range(3):
        deeper = Dataset()
        item.ReferencedSeriesSequence = Sequence([deeper])
        levels.append(deeper)
        item = deeper
    for tag, depth in places:
        builder.put(levels[depth], tag, vr_of(tag), f"{name} {number}"[:16])
    outcome = bench.run(ds)
    assert outcome.released, (outcome.reason, outcome.detail)
    content = outcome.output.read_bytes().upper()  # type: ignore[union-attr]
    assert name.encode() not in content
    assert number.encode() not in content


def test_a_technical_word_that_is_the_patients_name_goes(bench: Bench) -> None:
    kept = bench.clean(builder.image(ConvolutionKernel="SHARP", ManufacturerModelName="Somatom Force"))
    assert (kept.ConvolutionKernel, kept.ManufacturerModelName) == ("SHARP", "Somatom Force")
    clean = bench.clean(
        builder.image(PatientName="Sharp^Vera", ConvolutionKernel="SHARP", ManufacturerModelName="Somatom Force")
    )
    assert not clean.get("ConvolutionKernel")
    assert clean.ManufacturerModelName == "Somatom Force"


@pytest.mark.parametrize("bits", [8, 16])
def test_a_lookup_table_that_spells_a_name_goes(bench: Bench, bits: int) -> None:
    item = Dataset()
    written = b"ROSALINDFRANKLIN"
    item.LUTDescriptor = [len(written) // (bits // 8), 0, bits]
    item.add(DataElement(0x00283006, "OW", written))
    clean = bench.clean(builder.image(VOILUTSequence=Sequence([item])))
    assert written not in clean.VOILUTSequence[0].get("LUTData", b"")


@pytest.mark.parametrize("order", [1, -1])
def test_a_lookup_table_that_follows_a_curve_stays(bench: Bench, order: int) -> None:
    entries = np.arange(0, 65536, 16, dtype="<u2")[::order]
    item = Dataset()
    item.LUTDescriptor = [len(entries), 0, 16]
    item.add(DataElement(0x00283006, "OW", entries.tobytes()))
    clean = bench.clean(builder.image(VOILUTSequence=Sequence([item])))
    assert clean.VOILUTSequence[0].LUTData == entries.tobytes()


@pytest.mark.parametrize("number", ["5550123", "05550123", "+5550123", "5550123.0"])
def test_a_number_that_is_the_patients_goes_and_the_instance_stays(bench: Bench, number: str) -> None:
    ds = builder.image(PatientID="MRN-5550123", SliceLocation="12.5")
    builder.put(ds, 0x00181150, "IS" if number.isdigit() else "DS", number)
    ds[0x00181150].VR = "IS"
    clean = bench.clean(ds)
    assert not clean.get("ExposureTime")
    assert clean.SliceLocation == 12.5


def test_other_numbers_stay(bench: Bench) -> None:
    clean = bench.clean(
        builder.image(PatientID="MRN-5550123", ExposureTime="5550124", ImagePositionPatient=["-10.55501", "0", "1"])
    )
    assert clean.ExposureTime == 5550124
    assert list(clean.ImagePositionPatient) == [-10.55501, 0, 1]
