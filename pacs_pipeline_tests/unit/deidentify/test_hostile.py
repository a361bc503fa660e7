"""Broken, hostile and foreign files end with a reason, quickly, and never take the worker along."""

from __future__ import annotations

import json
import pickle
import random
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from pacs_pipeline.deidentify import Deidentifier, engine
from pacs_pipeline.deidentify.codec import Encoding, Source, encode, read
from pacs_pipeline.records import Reason

from . import builder
from .conftest import Bench

SHIPPED = Path(str(pydicom.data.__file__)).parent / "test_files"
QUICK = 5.0  # seconds; the machine may be busy


def foreign_files() -> list[Path]:
    import data_store
    import deid_data

    roots = [SHIPPED, Path(data_store.__file__).parent / "data", Path(deid_data.__file__).parent / "data"]
    return sorted(path for root in roots for path in root.rglob("*") if path.is_file() and path.suffix != ".py")


def meta(syntax: str) -> bytes:
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
    return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(element)) + element


def body(ds: Dataset, folder: Path) -> bytes:
    content = builder.save(ds, folder / "body.dcm").read_bytes()  # type: ignore[arg-type]
    return content[content.index(b"\x08\x00\x05\x00CS") :]


def refused(bench: Bench, content: bytes) -> tuple[Reason | None, str]:
    path = bench.folder / "hostile.dcm"
    path.write_bytes(content)
    start = time.monotonic()
    outcome = bench.engine.deidentify(path, bench.out)
    assert time.monotonic() - start < QUICK
    assert outcome.output is None or outcome.released
    if not outcome.released:
        assert not bench.out.exists() or not [found for found in bench.out.rglob("*") if found.is_file()]
    return outcome.reason, outcome.detail


LE = "1.2.840.10008.1.2.1"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.UNREADABLE),
        (b"%PDF-1.4 Abernathy", Reason.UNREADABLE),
        (bytes(4096), Reason.UNREADABLE),
        (bytes(128) + b"DICM", Reason.UNREADABLE),
        (meta(LE), Reason.UNREADABLE),
        (meta(LE) + struct.pack("<HH2sHL", 0x10, 0x4000, b"UT", 0, 0xFFFFFFF0) + b"x", Reason.TRUNCATED),
        (meta(LE) + struct.pack("<HH2sH", 0x10, 0x10, b"PN", 60) + b"Abernathy", Reason.TRUNCATED),
        (meta(LE) + struct.pack("<HH2sH", 0x10, 0x10, b"zz", 4) + b"Aber", Reason.UNREADABLE),
        (meta(LE) + struct.pack("<HH2sHL", 0x10, 0x10, b"UT", 0, 0xFFFFFFFF) + bytes(99), Reason.UNREADABLE),
        (meta(LE) + struct.pack("<HHL", 0xFFFE, 0xE000, 4) + bytes(4), Reason.UNREADABLE),
        (meta(LE) + (struct.pack("<HH2sH", 8, 0x60, b"CS", 2) + b"CT") * 2, Reason.UNREADABLE),
    ],
)
def test_garbage_is_named_as_such(bench: Bench, content: bytes, reason: Reason) -> None:
    assert refused(bench, content)[0] is reason


def test_a_file_cut_anywhere_is_never_released_short(bench: Bench) -> None:
    content = builder.save(builder.image(), bench.folder / "whole.dcm").read_bytes()
    pixels = len(content) - 16 * 12 * 2
    for size in [*range(0, pixels, 7), *range(pixels, len(content), 13)]:
        reason, _ = refused(bench, content[:size])
        assert reason in (Reason.TRUNCATED, Reason.UNREADABLE), size


@pytest.mark.parametrize(("depth", "defined"), [(40, True), (1000, True), (40, False), (1000, False), (20000, False)])
def test_deep_nesting_ends(bench: Bench, depth: int, defined: bool) -> None:
    content = b""
    if defined:
        for _ in range(depth):
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content
            content = struct.pack("<HH2sHL", 0x0008, 0x1115, b"SQ", 0, len(item)) + item
    else:
        head = struct.pack("<HH2sHL", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF)
        content = (head + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth
    assert refused(bench, meta(LE) + content)[0] is Reason.TOO_DEEP


def test_a_deflate_bomb_is_not_inflated(keys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from pacs_pipeline.deidentify import load_profile

    limit = 4 * 1024 * 1024
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(400 * 1024 * 1024)) + packer.flush()
    path = tmp_path / "bomb.dcm"
    path.write_bytes(meta("1.2.840.10008.1.2.1.99") + packed)
    careful = Deidentifier(load_profile("basic"), keys, max_inflated_bytes=limit)
    tracemalloc.start()
    outcome = careful.deidentify(path, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.reason is Reason.TOO_LARGE
    assert peak < 8 * limit


def test_a_deflated_instance_comes_out_deflated_and_readable(bench: Bench) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packer.compress(body(builder.image(), bench.folder)) + packer.flush()
    path = bench.folder / "deflated.dcm"
    path.write_bytes(meta("1.2.840.10008.1.2.1.99") + content)
    outcome = bench.engine.deidentify(path, bench.out)
    assert outcome.released, outcome.detail
    clean = builder.load(outcome.output)  # type: ignore[arg-type]
    assert clean.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1.99"
    assert clean.PixelData == builder.image().PixelData
    bad = bench.folder / "bad.dcm"
    bad.write_bytes(meta("1.2.840.10008.1.2.1.99") + content[:-9])
    assert bench.engine.deidentify(bad, bench.out).reason is Reason.TRUNCATED


@pytest.mark.parametrize("syntax", [LE, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
def test_every_native_syntax_comes_out_as_it_went_in(bench: Bench, syntax: str) -> None:
    image = builder.image()
    builder.nested(image).PatientComments = "Abernathy"
    if syntax.endswith(".2.2"):  # pydicom writes pixel data as they are
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    pixels = image.PixelData
    ds = Dataset()
    ds.update(image)
    ds.file_meta = image.file_meta
    path = bench.folder / "in.dcm"
    explicit, little = syntax != "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
    ds.file_meta.TransferSyntaxUID = syntax
    ds["PixelData"].VR = "OW"
    ds.save_as(path, implicit_vr=not explicit, little_endian=little, enforce_file_format=True)
    outcome = bench.engine.deidentify(path, bench.out)
    assert outcome.released, (outcome.reason, outcome.detail)
    clean = builder.load(outcome.output)  # type: ignore[arg-type]
    assert clean.file_meta.TransferSyntaxUID == syntax
    assert (clean.Rows, clean.PixelData) == (16, pixels)
    assert json.loads(str(outcome.row["header"]))["Rows"] == 16


def test_a_data_set_without_file_meta_is_read_when_it_makes_sense(bench: Bench) -> None:
    path = bench.folder / "bare.dcm"
    path.write_bytes(body(builder.image(), bench.folder))
    assert bench.engine.deidentify(path, bench.out).released


def test_every_foreign_file_ends_released_or_with_a_reason(bench: Bench) -> None:
    """All that pydicom, pydicom-data and deid-data ship; warnings are errors here."""
    files = foreign_files()
    assert len(files) > 250
    released = 0
    for path in files:
        start = time.monotonic()
        outcome = bench.engine.deidentify(path, bench.out)
        assert time.monotonic() - start < QUICK, path.name
        assert outcome.reason is not Reason.INTERNAL, (path.name, outcome.detail)
        if outcome.released:
            released += 1
            _check(path, outcome.output)  # type: ignore[arg-type]
    assert released >= 60


def _check(source: Path, output: Path) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = dcmread(source, force=True), dcmread(output)  # one of them has no file meta information
        pixels = before.get("PixelData", b"")
        assert after.get("PixelData", b"")[: len(pixels)] == pixels
        assert after.PatientIdentityRemoved == "YES"
        assert not [element for element in after.iterall() if element.tag.is_private]
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "InstitutionName"):
            if before.get(keyword):
                assert after.get(keyword) != before.get(keyword), keyword
        for keyword in ("Rows", "Columns", "Modality", "SOPClassUID", "PixelSpacing", "ImageOrientationPatient"):
            assert after.get(keyword) == before.get(keyword), keyword


_SEEDS = ("CT_small.dcm", "MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small_expb.dcm", "MR_small_jp2klossless.dcm")
_SEEDS += ("rtstruct.dcm", "rtplan.dcm", "rtdose.dcm", "liver_1frame.dcm", "waveform_ecg.dcm")
_SOURCES = [(SHIPPED / name).read_bytes() for name in _SEEDS]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(_SOURCES) - 1), st.integers(0, 2**32), st.integers(1, 12))
def test_mutated_files_never_crash(bench: Bench, which: int, seed: int, changes: int) -> None:
    content = bytearray(_SOURCES[which])
    chance = random.Random(seed)
    for _ in range(changes):
        at = chance.randrange(len(content) // 4 if chance.random() < 0.7 else len(content))
        kind = chance.random()
        if kind < 0.5:
            content[at] = chance.randrange(256)
        elif kind < 0.7:
            content[at : at + 4] = struct.pack("<L", chance.choice([0xFFFFFFFF, 0xFFFFFFFE, 0, 1, 0x7FFFFFFF]))
        elif kind < 0.85:
            del content[at : at + chance.randrange(1, 40)]
        else:
            content[at:at] = bytes(content[at : at + 40])
    path = bench.folder / "mutated.dcm"
    path.write_bytes(bytes(content))
    outcome = bench.engine.deidentify(path, bench.out)
    assert outcome.reason is not Reason.INTERNAL, outcome.detail


_VALUES = {
    "LO": st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=20),
    "CS": st.sampled_from(["AXIAL", "", "HELICAL MODE"]),
    "US": st.integers(0, 65535),
    "FD": st.floats(allow_nan=False),
    "OB": st.binary(max_size=9),
    "UT": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300),
}
_TAGS = {"LO": 0x00081030, "CS": 0x00180015, "US": 0x00280010, "FD": 0x00189073, "OB": 0x00282000, "UT": 0x00404FFF}


def data_sets() -> st.SearchStrategy[Dataset]:
    def flat(values: dict[str, object], items: list[Dataset]) -> Dataset:
        ds = Dataset()
        for vr, value in values.items():
            if vr == "UT":
                ds.TextValue = str(value)
            else:
                ds.add_new(_TAGS[vr], vr, value)
        if items:
            ds.ReferencedSeriesSequence = Sequence(items)
            for item in items:
                item.is_undefined_length_sequence_item = bool(len(values) % 2)
            ds["ReferencedSeriesSequence"].is_undefined_length = len(items) % 2 == 0
        return ds

    values = st.fixed_dictionaries({}, optional=dict(_VALUES))
    leaf = st.builds(flat, values, st.just([]))
    return st.recursive(leaf, lambda inner: st.builds(flat, values, st.lists(inner, max_size=3)), max_leaves=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data_sets(), st.sampled_from([(True, True), (False, True), (True, False)]))
def test_what_we_write_reads_back_in_pydicom_as_it_was(tmp_path: Path, ds: Dataset, how: tuple[bool, bool]) -> None:
    explicit, little = how
    ds.SOPClassUID = builder.CT
    syntax = {(True, True): LE, (False, True): str(ImplicitVRLittleEndian), (True, False): "1.2.840.10008.1.2.2"}[how]
    path = tmp_path / "in.dcm"
    ds.save_as(path, implicit_vr=not explicit, little_endian=little)
    path.write_bytes(meta(syntax) + path.read_bytes())
    source: Source = read(path, max_inflated_bytes=1 << 20, max_depth=20)
    pieces = encode(source.dataset, Encoding(explicit, little))
    again = tmp_path / "again.dcm"
    again.write_bytes(meta(syntax) + b"".join(piece for piece in pieces if isinstance(piece, bytes)))
    assert dcmread(again).to_json() == dcmread(path).to_json()


def test_the_same_input_gives_the_same_bytes(bench: Bench) -> None:
    path = builder.save(builder.image(), bench.folder / "in.dcm")
    one = bench.engine.deidentify(path, bench.folder / "one")
    two = Deidentifier(bench.engine.profile, bench.engine.keys).deidentify(path, bench.folder / "two")
    assert one.sha256 == two.sha256
    assert one.row == two.row
    assert one.input_sha256 == two.input_sha256 != one.sha256


def test_the_engine_can_be_sent_to_a_worker(bench: Bench) -> None:
    there = pickle.loads(pickle.dumps(bench.engine))
    path = builder.save(builder.image(), bench.folder / "in.dcm")
    assert there.deidentify(path, bench.out).sha256 == bench.engine.deidentify(path, bench.out).sha256
    assert pickle.loads(pickle.dumps(bench.engine)) is there  # one engine per worker keeps its memory


@pytest.mark.parametrize("defect", engine.DEFECTS, ids=lambda defect: defect.__name__)
def test_a_defect_costs_one_instance(bench: Bench, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]) -> None:
    def fail(*args: object) -> None:
        raise defect("Abernathy")

    monkeypatch.setattr(engine, "instance_row", fail)
    outcome = bench.run(builder.image())
    assert (outcome.reason, outcome.detail) == (Reason.INTERNAL, defect.__name__)
    assert not [found for found in bench.out.rglob("*") if found.is_file()]


def test_a_large_image_is_streamed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from pacs_pipeline.deidentify import codec

    monkeypatch.setattr(codec, "IN_MEMORY", 1024)
    rows, columns = 2048, 2048
    ds = builder.image(Rows=rows, Columns=columns, NumberOfFrames="4", PixelData=bytes(rows * columns * 8))
    path = builder.save(ds, bench.folder / "large.dcm")
    tracemalloc.start()
    outcome = bench.engine.deidentify(path, bench.out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.released, outcome.detail
    assert outcome.size > 32 * 1024 * 1024
    assert peak < 16 * 1024 * 1024
