"""What is remembered from one instance to the next decides nothing: an engine that has seen others is as new."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacs_pipeline.deidentify import Deidentifier, Keys, Outcome, load_profile
from pacs_pipeline.deidentify.codec import LITTLE
from pacs_pipeline.deidentify.residue import ResidueScan
from pacs_pipeline.deidentify.residue_bytes import holds, needles_of, readable, wide
from pacs_pipeline.deidentify.residue_identifiers import Identifiers
from pacs_pipeline.deidentify.series import Last, Made, Pieces
from pacs_pipeline.errors import Quarantine

from . import builder

RESEARCH = load_profile("research")
KEYS = Keys.derive(b"a secret of the tests, long enough", "series")
GE, PHILIPS = "GEMS_ACQU_01", "Philips Imaging DD 001"

Change = Callable[[FileDataset], None]


def setting(keyword: str, value: object) -> Change:
    return lambda ds: setattr(ds, keyword, value)


def private(creator: str, element: int, vr: str, value: object) -> Change:
    def change(ds: FileDataset) -> None:
        builder.put(ds, 0x00190010, "LO", creator)
        builder.put(ds, 0x00191000 | element, vr, value)

    return change


def request(text: str) -> Change:
    def change(ds: FileDataset) -> None:
        item = Dataset()
        item.RequestedProcedureDescription = text
        item.ReferencedSOPInstanceUID = "1.2.999.1.2.3.9"
        ds.RequestAttributesSequence = Sequence([item])

    return change


def table(entries: int) -> Change:
    """A lookup table whose length fits its descriptor, or does not: a step that looks at another element."""

    def change(ds: FileDataset) -> None:
        builder.put(ds, 0x00281101, "US", [entries, 0, 16])
        builder.put(ds, 0x00281201, "OW", np.arange(0, 64, 2, dtype="<u2").tobytes())

    return change


CHANGES: list[Change] = [
    setting("PatientName", "Kidney^Brain"),
    setting("PatientName", "Smith^John"),
    setting("PatientID", "4711"),
    setting("PatientID", "880017"),
    setting("IssuerOfPatientID", "NORTH"),
    setting("AccessionNumber", "880017"),
    setting("StudyDescription", "CT CHEST SMITH"),
    setting("StudyDescription", "CT CHEST KIDNEY"),
    setting("SeriesDescription", "BRAIN 5MM"),
    setting("SpecificCharacterSet", "ISO_IR 192"),
    setting("SpecificCharacterSet", ["", "ISO 2022 IR 87"]),
    setting("InstanceNumber", 880017),
    setting("InstanceNumber", 18),
    setting("SOPInstanceUID", "1.2.999.1.2.3.9"),
    setting("SeriesInstanceUID", "1.2.999.1.2.8"),
    setting("StudyDate", "20200317"),
    lambda ds: builder.put(ds, 0x00080020, "DA", "2020"),
    setting("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"),
    setting("PatientAge", "093Y"),
    setting("PixelRepresentation", 1),
    setting("SmallestImagePixelValue", 7),
    request("CT CHEST SMITH"),
    request("MRI BRAIN"),
    private(GE, 0x0F, "DS", "5"),
    private(PHILIPS, 0x0F, "DS", "5"),
    private(GE, 0x0F, "DS", "880017"),
    table(32),
    table(16),
]
SYNTAXES = [ExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


@st.composite
def instances(draw: st.DrawFn) -> FileDataset:
    ds = builder.image()
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=5)):
        change(ds)
    syntax = draw(st.sampled_from(SYNTAXES))
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    return ds


def saved(ds: FileDataset, path: Path) -> Path:
    meta = ds.file_meta
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    syntax = meta.TransferSyntaxUID
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    copy = Dataset()
    copy.update(ds)
    copy.file_meta = meta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy.save_as(path, enforce_file_format=True, little_endian=little, implicit_vr=implicit)
    return path


def told(outcome: Outcome) -> Outcome:
    """What counts: everything but where the files are."""
    return replace(outcome, source=Path(), output=None)


@settings(max_examples=150, deadline=None)
@given(st.lists(instances(), min_size=2, max_size=6))
def test_an_engine_that_has_seen_others_decides_as_a_new_one(series: list[FileDataset]) -> None:
    used = Deidentifier(RESEARCH, KEYS)
    with tempfile.TemporaryDirectory() as folder:
        for number, ds in enumerate(series):
            source = saved(ds, Path(folder) / f"{number}.dcm")
            one = used.deidentify(source, Path(folder) / "used")
            other = Deidentifier(RESEARCH, KEYS).deidentify(source, Path(folder) / "new")
            assert told(one) == told(other)


def test_a_word_that_becomes_a_name_goes(tmp_path: Path) -> None:
    engine = Deidentifier(RESEARCH, KEYS)
    kept = []
    for name in ("Other^Person", "Kidney^Brain", "Other^Person"):
        ds = builder.image(PatientName=name, StudyDescription="CT KIDNEY", SeriesDescription="AXIAL BRAIN")
        outcome = engine.deidentify(builder.save(ds, tmp_path / "in.dcm"), tmp_path / "out")
        assert outcome.output is not None, outcome.detail
        clean = builder.load(outcome.output)
        kept.append((clean.get("StudyDescription"), clean.get("SeriesDescription")))
    assert kept[0] == kept[2] == ("CT KIDNEY", "AXIAL BRAIN")
    assert "KIDNEY" not in str(kept[1])
    assert "BRAIN" not in str(kept[1])


def test_the_scan_looks_for_the_uids_of_every_instance(tmp_path: Path) -> None:
    """What was clean beside the instance before is not beside the one whose UID it holds; nor another's name."""
    source = builder.save(builder.image(), tmp_path / "in.dcm")
    output = Deidentifier(RESEARCH, KEYS).deidentify(source, tmp_path / "out").output
    assert output is not None
    scan, harmless = ResidueScan(RESEARCH.safe_private), Identifiers(names=frozenset(["oyelaran"]))
    scan.verify(output, harmless, LITTLE)
    scan.verify(output, harmless, LITTLE)
    for found in (
        replace(harmless, uids=frozenset([str(builder.load(output).SeriesInstanceUID)])),
        replace(harmless, names=frozenset(["chest"]), texts=frozenset(["contrast", "ct chest for"])),
        replace(harmless, texts=frozenset(["siemens"]), names=frozenset(["siemens"])),
    ):
        with pytest.raises(Quarantine):
            scan.verify(output, found, LITTLE)
        scan.verify(output, harmless, LITTLE)


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=6))
def test_pieces_are_what_stands_there(series: list[list[int]]) -> None:
    """Six elements of which each has one of four values or is missing: found or parsed, they are the same."""
    values = [b"", b"a", b"bb", b"abb"]
    before: Pieces[str] | None = None
    for kinds in series:
        elements = {tag: b"%d:%s;" % (tag, values[kind]) for tag, kind in enumerate(kinds) if kind}
        data = b"".join(elements.values())
        pieces = Pieces("little", before)
        found: dict[int, str] = {}
        position = 0
        while position < len(data):
            run = pieces.find(data, position)
            if run is None:
                end = data.index(b";", position) + 1
                tag, encoded = int(data[position : position + 1]), data[position:end]
                pieces.add(tag, encoded, encoded.decode())
                found[tag] = encoded.decode()
            else:
                end = position + len(run.encoded)
                found |= run.elements
            position = end
        assert found == {tag: encoded.decode() for tag, encoded in elements.items()}
        before = pieces


def test_pieces_that_repeat_are_found_together() -> None:
    def read(text: bytes, before: Pieces[bytes] | None) -> tuple[Pieces[bytes], int]:
        pieces, position, finds = Pieces("little", before), 0, 0
        while position < len(text):
            run = pieces.find(text, position)
            finds += 1
            if run is None:
                pieces.add(position, text[position : position + 1], text[position : position + 1])
            position += 1 if run is None else len(run.encoded)
        return pieces, finds

    first, _ = read(b"aaaa0bbbb", None)
    second, _ = read(b"aaaa1bbbb", first)
    third, finds = read(b"aaaa2bbbb", second)
    assert finds == 3
    fourth, finds = read(b"aaaa3bbcb", third)
    assert finds == 1 + 1 + 4  # the second run falls apart
    assert Pieces("big", fourth).find(b"aaaa", 0) is None


def test_pieces_beside_something_that_is_not_found_again_are_no_run() -> None:
    before: Pieces[bytes] | None = None
    for middle in (b"x", b"y", b"z"):
        text, pieces, position, finds = b"aa" + middle + b"bb", Pieces[bytes]("little", before), 0, 0
        while position < len(text):
            run = pieces.find(text, position) if position != 2 else None
            finds += position != 2
            if run is None:
                one = text[position : position + 1]
                pieces.add(position, None if position == 2 else one, one)
            position += 1 if run is None else len(run.encoded)
        before = pieces
    assert finds == 2  # one on either side


def test_what_was_made_is_kept_for_the_next_under_equal_circumstances() -> None:
    made: Made[str, str] = Made()
    calls: list[str] = []

    def make(text: str) -> str:
        calls.append(text)
        return text.upper()

    assert made.of("ab", make, 1) == ["A", "B"]
    assert made.of("bc", make, 1) == ["B", "C"]
    assert made.of("bc", make, 2) == ["B", "C"]
    assert made.of("ab", make, 2) == ["A", "B"]
    assert calls == ["a", "b", "c", "b", "c", "a"]


@settings(max_examples=300, deadline=None)
@given(
    before=st.binary(max_size=40),
    name=st.sampled_from(["abernathy", "o'neill-smith", "jean luc", "x_a.b-c d"]),
    utf_16=st.sampled_from(["", "utf-16-le", "utf-16-be"]),
    upper=st.booleans(),
    darkness=st.sampled_from([0x1F, 0xFF]),
    behind=st.binary(max_size=40),
)
def test_the_quick_look_at_bytes_misses_nothing_the_thorough_one_finds(
    before: bytes, name: str, utf_16: str, upper: bool, darkness: int, behind: bytes
) -> None:
    """Pixels whose every second byte is small are looked through in a quicker way."""
    needles = needles_of([name], [], [])
    noise = np.frombuffer(before + behind + b"\0" * (len(before + behind) % 2), np.uint8).copy()
    noise[1::2] &= darkness
    written = (name.upper() if upper else name).encode(utf_16 or "ascii")
    cut = len(before) - len(before) % 2
    data = noise.tobytes()[:cut] + written + b"\0" * (len(written) % 2) + noise.tobytes()[cut:]
    values = np.frombuffer(data, np.uint8)
    thorough = any(n in readable(values) for n in needles.words)
    thorough |= any(n in text for text in wide(values) for n in needles.wide)
    assert holds(data, needles, (), in_pixels=True) == thorough
    assert thorough


def test_most_of_what_was_made_is_kept_wherever_it_stands() -> None:
    made: Made[str, str] = Made()
    calls: list[str] = []

    def make(text: str) -> str:
        calls.append(text)
        return text.upper()

    for text in ("abcdefgh", "abXdefgh", "bXdefgh", "abXdefgh", "cabXdefg"):
        assert "".join(made.of(text, make)) == text.upper()
    assert "".join(calls) == "abcdefgh" + "X" + "a" + "c"


def test_the_last_is_kept_while_it_is_equal() -> None:
    last: Last[list[int], int] = Last()
    calls: list[list[int]] = []

    def make(numbers: list[int]) -> int:
        calls.append(numbers)
        return sum(numbers)

    assert [last.of(numbers, make) for numbers in ([1, 2], [1, 2], [1, 3], [1, 2])] == [3, 3, 4, 3]
    assert calls == [[1, 2], [1, 3], [1, 2]]
