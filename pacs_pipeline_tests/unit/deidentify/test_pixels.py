"""Pixel data that hold something else than the header says are withheld; ordinary ones come out identical."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from pacs_pipeline.records import Reason

from . import builder
from .conftest import Bench

HIDDEN, TRUNCATED, UNREADABLE = Reason.HIDDEN_CONTENT, Reason.TRUNCATED, Reason.UNREADABLE
JPEG, JPEG_LS, J2K, RLE = (
    UID("1.2.840.10008.1.2.4.70"),
    UID("1.2.840.10008.1.2.4.80"),
    UID("1.2.840.10008.1.2.4.90"),
    UID("1.2.840.10008.1.2.5"),
)


def segment(code: int, content: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(content) + 2) + content


def jpeg(*extra: bytes, tail: bytes = b"", frame: int = 0xC3) -> bytes:
    head = b"\xff\xd8" + b"".join(extra) + segment(frame, bytes((12, 0, 16, 0, 12, 1, 1, 0x11, 0)))
    return head + segment(0xDA, bytes((1, 1, 0, 1, 0, 0))) + b"\x12\xff\x00\x55" * 9 + b"\xff\xd9" + tail


def j2k(*extra: bytes, tail: bytes = b"", codes: bytes = b"\x01\x02\x03\x04") -> bytes:
    head = b"\xff\x4f" + segment(0x51, bytes(39)) + segment(0x52, bytes(10)) + segment(0x5C, bytes(4)) + b"".join(extra)
    part = struct.pack(">HHHLBB", 0xFF90, 10, 0, 14 + len(codes), 0, 1) + b"\xff\x93" + codes
    return head + part + b"\xff\xd9" + tail


def compressed(frames: list[bytes], syntax: UID, **values: object) -> builder.FileDataset:
    ds = builder.image(PixelData=encapsulate(frames), **values)
    ds.file_meta.TransferSyntaxUID = syntax
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def test_native_pixels_come_out_identical(bench: Bench) -> None:
    ds = builder.image()
    assert bench.clean(ds).PixelData == ds.PixelData


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (bytes(16 * 12 * 2 - 2), TRUNCATED),
        (bytes(16 * 12 * 2) + b"ABERNATHY ", HIDDEN),
        (bytes(16 * 12 * 2) + bytes(10), None),
        (np.full(16 * 12, 0x1001, "<u2").tobytes(), HIDDEN),
        (np.full(16 * 12, 0x0FFF, "<u2").tobytes(), None),
    ],
)
def test_native_length_and_unused_bits(bench: Bench, pixels: bytes, reason: Reason | None) -> None:
    assert bench.run(builder.image(PixelData=pixels)).reason is reason


def test_the_sign_and_the_padding_value_may_use_the_high_bits(bench: Bench) -> None:
    signed = np.array([-5, 7] * 96, "<i2")
    assert bench.run(builder.image(PixelRepresentation=1, PixelData=signed.tobytes())).released
    signed[3] ^= 0x2000
    assert bench.run(builder.image(PixelRepresentation=1, PixelData=signed.tobytes())).reason is HIDDEN
    padded = np.array([0xF830, 7] * 96, "<u2")
    assert bench.run(builder.image(PixelPaddingValue=0xF830, PixelData=padded.tobytes())).released


def test_an_overlay_in_the_pixels_is_withheld(bench: Bench) -> None:
    ds = builder.image()
    builder.put(ds, 0x60000102, "US", 12)
    assert bench.run(ds).reason is HIDDEN


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"Rows": None}, UNREADABLE),
        ({"BitsStored": 17}, UNREADABLE),
        ({"NumberOfFrames": "0"}, UNREADABLE),
        ({"NumberOfFrames": "9"}, TRUNCATED),
        ({"PixelData": None}, TRUNCATED),
    ],
)
def test_an_impossible_image_is_withheld(bench: Bench, values: dict[str, object], reason: Reason) -> None:
    assert bench.run(builder.image(**values)).reason is reason


STAMP_LS = segment(0xFE, b"LEAD Technologies Inc. V1.01\x00")
STAMP_2K = segment(0x64, b"\x00\x01Created by OpenJPEG version 2.5.0")
JFIF = segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
ADOBE = segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x01")


@pytest.mark.parametrize(
    ("frame", "syntax", "reason"),
    [
        (jpeg(), JPEG, None),
        (jpeg(JFIF, ADOBE, STAMP_LS), JPEG, None),
        (jpeg(segment(0xFE, b"ABERNATHY")), JPEG, HIDDEN),
        (jpeg(segment(0xFE, b"LEAD Technologies Inc. V1.01 ABERNATHY")), JPEG, HIDDEN),
        (jpeg(segment(0xE1, b"Exif\x00\x00ABERNATHY")), JPEG, HIDDEN),
        (jpeg(segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x02\x01thumbs")), JPEG, HIDDEN),
        (jpeg(tail=b"ABERNATHY"), JPEG, HIDDEN),
        (jpeg(tail=b"\x00"), JPEG, None),
        (jpeg()[:-2] + segment(0xFE, b"ABERNATHY") + b"\xff\xd9", JPEG, HIDDEN),
        (jpeg()[:-2], JPEG, TRUNCATED),
        (b"ABERNATHY\xff\xd9", JPEG, HIDDEN),
        (jpeg(frame=0xF7), JPEG_LS, None),
        (jpeg(segment(0xE8, b"ABERNATHY"), frame=0xF7), JPEG_LS, HIDDEN),
        (j2k(), J2K, None),
        (j2k(STAMP_2K), J2K, None),
        (j2k(codes=b"\x05\xff\x10" * 40), J2K, None),
        (j2k(segment(0x64, b"\x00\x01ABERNATHY")), J2K, HIDDEN),
        (j2k(segment(0x70, b"ABERNATHY")), J2K, HIDDEN),
        (j2k(tail=b"ABERNATHY"), J2K, HIDDEN),
        (j2k()[:-8], J2K, TRUNCATED),
        (b"\x00\x00\x00\x0cjP  ABERNATHY\xff\xd9", J2K, HIDDEN),
    ],
)
def test_compressed_frames_hold_an_image_and_nothing_else(
    bench: Bench, frame: bytes, syntax: UID, reason: Reason | None
) -> None:
    ds = compressed([frame], syntax)
    outcome = bench.run(ds)
    assert outcome.reason is reason, outcome.detail
    if outcome.output is not None:
        assert builder.load(outcome.output).PixelData == ds.PixelData


def packed(plane: bytes) -> bytes:
    """PackBits as literal runs."""
    return b"".join(bytes((len(plane[n : n + 128]) - 1,)) + plane[n : n + 128] for n in range(0, len(plane), 128))


def rle(*planes: bytes, tail: bytes = b"") -> bytes:
    parts = [packed(plane) for plane in planes]
    parts = [part + b"\0" * (len(part) % 2) for part in parts]
    starts = [64 + sum(len(part) for part in parts[:n]) for n in range(len(parts))]
    return struct.pack("<16L", len(parts), *starts, *[0] * (15 - len(parts))) + b"".join(parts) + tail


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (rle(bytes(192), bytes(range(192))), None),
        (rle(bytes(192), bytes(range(192)), tail=b"ABERNATHY "), HIDDEN),
        (rle(bytes([0x10]) * 192, bytes(192)), HIDDEN),
        (rle(bytes(192), bytes(100)), TRUNCATED),
        (rle(bytes(192)), HIDDEN),
        (b"short", TRUNCATED),
    ],
)
def test_rle_segments_fill_their_planes(bench: Bench, frame: bytes, reason: Reason | None) -> None:
    assert bench.run(compressed([frame], RLE)).reason is reason


def test_frames_are_counted(bench: Bench) -> None:
    assert bench.run(compressed([jpeg(), jpeg()], JPEG, NumberOfFrames="2")).released
    assert bench.run(compressed([jpeg(), jpeg()], JPEG, NumberOfFrames="3")).reason is TRUNCATED


def test_offset_tables_hold_offsets(bench: Bench, tmp_path: Path) -> None:
    path = builder.save(compressed([jpeg(), jpeg()], JPEG, NumberOfFrames="2"), tmp_path / "in.dcm")
    content = path.read_bytes()
    at = content.index(b"\xfe\xff\x00\xe0\x08\x00\x00\x00") + 8
    path.write_bytes(content[:at] + b"ABERNATH" + content[at + 8 :])
    assert bench.engine.deidentify(path, bench.out).reason is HIDDEN


def test_a_syntax_without_a_rule_is_withheld(bench: Bench) -> None:
    assert bench.run(compressed([b"video"], UID("1.2.840.10008.1.2.4.102"))).reason is Reason.UNSUPPORTED


def test_native_data_under_a_compressed_syntax_are_unreadable(bench: Bench) -> None:
    path = builder.save(builder.image(), bench.folder / "in.dcm")
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)
    path.write_bytes(content)
    assert bench.engine.deidentify(path, bench.out).reason is UNREADABLE
