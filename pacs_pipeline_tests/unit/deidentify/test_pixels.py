"""What is no pixel is taken out of PixelData or withheld; ordinary pixel data come out identical."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from pacs_pipeline.deidentify import codec
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


CLEANED = ("7FE00010", "PixelData", "C", 1)


def stripped(bench: Bench, ds: builder.FileDataset) -> bytes:
    """PixelData of the released instance; an action says whether they are others than those of ``ds``."""
    outcome = bench.run(ds)
    assert outcome.output is not None, (outcome.reason, outcome.detail)
    pixels = builder.load(outcome.output).PixelData
    assert (CLEANED in outcome.actions) == (pixels != ds.PixelData)
    assert isinstance(pixels, bytes)
    return pixels


PLAIN = np.arange(16 * 12, dtype="<u2").tobytes()


def test_native_pixels_that_are_too_few_are_withheld(bench: Bench) -> None:
    assert bench.run(builder.image(PixelData=PLAIN[:-2])).reason is TRUNCATED


@pytest.mark.parametrize(
    ("behind", "kept"),
    [(b"ABERNATHY ", b""), (b"\0" * 600 + b"ABERNATHY " + b"\0" * 10, b""), (bytes(10), bytes(10))],
)
def test_native_pixels_are_cut_to_their_length(bench: Bench, behind: bytes, kept: bytes) -> None:
    assert stripped(bench, builder.image(PixelData=PLAIN + behind)) == PLAIN + kept


def test_the_pad_byte_becomes_zero(bench: Bench) -> None:
    values = {"Rows": 3, "Columns": 3, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    ds = builder.image(**values, PixelData=b"123456789Z")
    ds["PixelData"].VR = "OB"
    assert stripped(bench, ds) == b"123456789\0"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_bits_outside_the_stored_ones_are_cleared_and_only_they(bench: Bench, syntax: str) -> None:
    order = ">u2" if syntax.endswith("2.2") else "<u2"
    drawn = (np.arange(192) * 21 % 4096) | ((np.arange(192) % 5 == 0) << 13)
    ds = builder.image(PixelData=drawn.astype(order).tobytes())
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.set_original_encoding(syntax == "1.2.840.10008.1.2", order == "<u2")
    assert stripped(bench, ds) == (drawn & 0x0FFF).astype(order).tobytes()
    ds.PixelData = np.full(192, 0x0FFF, order).tobytes()
    assert stripped(bench, ds) == ds.PixelData


def test_bits_below_the_stored_ones_are_cleared(bench: Bench) -> None:
    ds = builder.image(HighBit=15, PixelData=np.full(192, 0xABC7, "<u2").tobytes())
    assert stripped(bench, ds) == np.full(192, 0xABC0, "<u2").tobytes()


@pytest.mark.parametrize("above", [0x0000, 0xF000])
def test_negative_samples_have_zeros_or_the_sign_above_them(bench: Bench, above: int) -> None:
    signed = np.array([0x0FFB | above, 7] * 96, "<u2")
    ds = builder.image(PixelRepresentation=1, PixelData=signed.tobytes())
    assert stripped(bench, ds) == ds.PixelData
    signed[4] ^= 0x2000
    ds.PixelData = signed.tobytes()
    assert stripped(bench, ds) == np.array([-5, 7] * 96, "<i2").tobytes()


def test_letters_drawn_with_the_sign_are_cleared(bench: Bench) -> None:
    ds = builder.image(PixelRepresentation=1, PixelData=np.array([0x0FFB, 0xFFFB] * 96, "<u2").tobytes())
    assert stripped(bench, ds) == np.full(192, -5, "<i2").tobytes()


def test_the_padding_value_may_use_the_high_bits(bench: Bench) -> None:
    ds = builder.image(PixelPaddingValue=0xF830, PixelData=np.array([0xF830, 7] * 96, "<u2").tobytes())
    assert stripped(bench, ds) == ds.PixelData
    ds.PixelData = np.array([0xF830, 0x1007] * 96, "<u2").tobytes()
    assert stripped(bench, ds) == np.array([0xF830, 7] * 96, "<u2").tobytes()


def embedded(position: int, allocated: int = 16, **values: object) -> builder.FileDataset:
    """An image with an overlay that says it is in bit ``position`` of PixelData."""
    ds = builder.image(**values)
    for tag, vr, value in ((0x10, "US", 16), (0x11, "US", 12), (0x100, "US", allocated), (0x102, "US", position)):
        builder.put(ds, 0x60000000 | tag, vr, value)
    return ds


def test_an_overlay_in_unused_bits_is_taken_out(bench: Bench) -> None:
    pixels = np.arange(192) | (1 << 14)
    assert stripped(bench, embedded(14, PixelData=pixels.astype("<u2").tobytes())) == PLAIN
    assert stripped(bench, embedded(14)) == PLAIN  # nothing is drawn


@pytest.mark.parametrize(("position", "allocated"), [(3, 16), (11, 1), (0, 16)])
def test_an_overlay_in_bits_of_the_samples_is_withheld(bench: Bench, position: int, allocated: int) -> None:
    assert bench.run(embedded(position, allocated)).reason is HIDDEN


def test_an_overlay_in_bits_of_the_padding_value_is_withheld(bench: Bench) -> None:
    assert bench.run(embedded(14, PixelPaddingValue=0xF830)).reason is HIDDEN


def test_an_overlay_that_claims_bits_of_compressed_pixels_is_withheld(bench: Bench) -> None:
    ds = compressed([jpeg()], JPEG)
    builder.put(ds, 0x60000102, "US", 12)
    assert bench.run(ds).reason is HIDDEN


def test_large_pixels_are_cleaned_piece_by_piece(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped file, in pieces that do not end with a sample."""
    monkeypatch.setattr(codec, "IN_MEMORY", 0)
    monkeypatch.setattr(codec, "CHUNK", 333)
    pixels = np.arange(192 * 40) % 4096
    dirty = (pixels | 0x4000).astype("<u2").tobytes() + b"ABERNATHY!"
    ds = builder.image(NumberOfFrames=40, PixelData=dirty)
    assert stripped(bench, ds) == pixels.astype("<u2").tobytes()


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
    ("frame", "syntax", "kept"),
    [
        (jpeg(), JPEG, jpeg()),
        (jpeg(JFIF, ADOBE, STAMP_LS), JPEG, jpeg(JFIF, ADOBE, STAMP_LS)),
        (jpeg(segment(0xFE, b"ABERNATHY")), JPEG, jpeg()),
        (jpeg(segment(0xFE, b"LEAD Technologies Inc. V1.01 ABERNATHY")), JPEG, jpeg()),
        (jpeg(segment(0xFE, b"LEAD Technologies Inc. V5550123")), JPEG, jpeg()),
        (jpeg(segment(0xE1, b"Exif\x00\x00ABERNATHY")), JPEG, jpeg()),
        (jpeg(JFIF[:-2] + b"\x02\x01"), JPEG, jpeg(JFIF)),  # a thumbnail that is not there
        (jpeg(segment(0xE0, JFIF[4:-2] + b"\x01\x02thumbs")), JPEG, jpeg(JFIF)),
        (jpeg(segment(0xE0, b"JFXX\x00\x13ABERNATHY")), JPEG, jpeg()),
        (jpeg(segment(0xEE, b"Adobe\x00\x64JOHN\x01ABERNATHY")), JPEG, jpeg(ADOBE)),
        (jpeg(segment(0xEE, b"ABERNATHY JOSEPHINE")), JPEG, jpeg()),
        (jpeg(segment(0xE8, b"mrfx\x03ABERNATHY"), frame=0xF7), JPEG_LS, jpeg(segment(0xE8, b"mrfx\x03"), frame=0xF7)),
        (jpeg(tail=b"ABERNATHY"), JPEG, jpeg()),
        (jpeg(tail=b"\xff"), JPEG, jpeg(tail=b"\xff")),
        (jpeg()[:-2] + segment(0xFE, b"ABERNATHY") + b"\xff\xd9", JPEG, jpeg()),
        (jpeg(frame=0xF7), JPEG_LS, jpeg(frame=0xF7)),
        (jpeg(segment(0xE8, b"SPIFF\x00ABERNATHY"), frame=0xF7), JPEG_LS, jpeg(frame=0xF7)),
        (j2k(), J2K, j2k()),
        (j2k(STAMP_2K), J2K, j2k(STAMP_2K)),
        (j2k(codes=b"\x05\xff\x10" * 40), J2K, j2k(codes=b"\x05\xff\x10" * 40)),
        (j2k(segment(0x64, b"\x00\x01ABERNATHY")), J2K, j2k()),
        (j2k(segment(0x64, b"AB" + STAMP_2K[6:])), J2K, j2k()),
        (j2k(tail=b"ABERNATHY"), J2K, j2k()),
    ],
)
def test_comments_and_trailing_bytes_are_cut_out_of_compressed_frames(
    bench: Bench, frame: bytes, syntax: UID, kept: bytes
) -> None:
    assert stripped(bench, compressed([frame], syntax)) == compressed([kept], syntax).PixelData


@pytest.mark.parametrize(
    ("frame", "syntax", "reason"),
    [
        (jpeg()[:-2], JPEG, TRUNCATED),
        (b"ABERNATHY\xff\xd9", JPEG, HIDDEN),
        (jpeg(segment(0xC8, b"ABERNATHY")), JPEG, HIDDEN),
        (jpeg(segment(0xDB, b"\0" * 65 + b"ABERNATHY")), JPEG, HIDDEN),
        (jpeg(segment(0xC4, b"\0\1" + b"\0" * 15 + b"AABERNATHY")), JPEG, HIDDEN),
        (jpeg(segment(0xDD, b"\0\1ABERNATHY")), JPEG, HIDDEN),
        (jpeg(segment(0xEE, b"Adobe\x00\x64\0\0\0\0\x07")), JPEG, HIDDEN),
        (jpeg(segment(0xE8, b"mrfx\x09"), frame=0xF7), JPEG_LS, HIDDEN),
        (jpeg(segment(0xF8, b"\x02\x01\x01ABERNATHY"), frame=0xF7), JPEG_LS, HIDDEN),
        (j2k(segment(0x70, b"ABERNATHY")), J2K, HIDDEN),
        (j2k(codes=b"\x01\x02\xff\xd9ABERNATHY"), J2K, HIDDEN),
        (j2k()[:-8], J2K, TRUNCATED),
        (b"\x00\x00\x00\x0cjP  ABERNATHY\xff\xd9", J2K, HIDDEN),
    ],
)
def test_what_decoding_may_need_and_nobody_understands_is_withheld(
    bench: Bench, frame: bytes, syntax: UID, reason: Reason
) -> None:
    assert bench.run(compressed([frame], syntax)).reason is reason


def packed(plane: bytes) -> bytes:
    """PackBits as literal runs."""
    return b"".join(bytes((len(plane[n : n + 128]) - 1,)) + plane[n : n + 128] for n in range(0, len(plane), 128))


def rle(*planes: bytes, tail: bytes = b"") -> bytes:
    parts = [packed(plane) for plane in planes]
    parts = [part + b"\0" * (len(part) % 2) for part in parts]
    starts = [64 + sum(len(part) for part in parts[:n]) for n in range(len(parts))]
    return struct.pack("<16L", len(parts), *starts, *[0] * (15 - len(parts))) + b"".join(parts) + tail


GOOD = rle(bytes(192), bytes(range(192)))


@pytest.mark.parametrize(
    ("frame", "kept"),
    [
        (GOOD, GOOD),
        (rle(bytes(192), bytes(range(192)), tail=b"ABERNATHY "), GOOD),
        (GOOD[:12] + b"ABERNATHY JOSEPHINE " + GOOD[32:], GOOD),
        (struct.pack("<3L", 2, 74, 74 + 194) + GOOD[12:64] + b"ABERNATHY " + GOOD[64:], GOOD),
    ],
)
def test_an_rle_frame_is_its_segments(bench: Bench, frame: bytes, kept: bytes) -> None:
    assert stripped(bench, compressed([frame], RLE)) == compressed([kept], RLE).PixelData


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (rle(bytes(192), bytes(100)), TRUNCATED),
        (rle(bytes(192)), HIDDEN),
        (struct.pack("<3L", 2, 32, 74) + GOOD[12:], TRUNCATED),
        (b"short", TRUNCATED),
    ],
)
def test_an_rle_frame_that_is_none_is_withheld(bench: Bench, frame: bytes, reason: Reason) -> None:
    assert bench.run(compressed([frame], RLE)).reason is reason


def test_unused_bits_of_rle_are_cleared(bench: Bench) -> None:
    samples = np.arange(2 * 192) * 7 % 4096
    samples[40:90] = 5
    drawn = (samples | ((np.arange(2 * 192) % 7 == 0) << 12)).astype(">u2").view(np.uint8).reshape(2, 192, 2)
    frames = [rle(frame[:, 0].tobytes(), frame[:, 1].tobytes()) for frame in drawn]
    outcome = bench.run(compressed(frames, RLE, NumberOfFrames="2"))
    assert outcome.output is not None
    assert builder.load(outcome.output).pixel_array.ravel().tolist() == samples.tolist()


def test_frames_are_counted(bench: Bench) -> None:
    assert bench.run(compressed([jpeg(), jpeg()], JPEG, NumberOfFrames="2")).released
    assert bench.run(compressed([jpeg(), jpeg()], JPEG, NumberOfFrames="3")).reason is TRUNCATED


DIRTY = jpeg(segment(0xFE, b"ABERNATHY"))


@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("fragments", [1, 2, 5])
def test_frames_are_made_anew_one_fragment_each(bench: Bench, fragments: int, has_table: bool) -> None:
    frames = [DIRTY, jpeg(), DIRTY]
    ds = compressed(frames, JPEG, NumberOfFrames="3")
    ds.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=has_table)
    assert stripped(bench, ds) == encapsulate([jpeg()] * 3, has_bot=has_table)


def test_an_end_marker_between_two_fragments_ends_a_frame(bench: Bench) -> None:
    first, second = jpeg(), jpeg()
    items = [first[:-1], first[-1:] + b"\0", second]
    assert len(items[0]) % 2 == 0
    ds = compressed([first, second], JPEG, NumberOfFrames="2")
    ds.PixelData = encapsulate(items, has_bot=False)
    assert stripped(bench, ds) == ds.PixelData


@pytest.mark.parametrize(("frame", "syntax"), [(jpeg(), JPEG), (GOOD, RLE), (j2k(), J2K)])
@pytest.mark.parametrize("has_table", [True, False])
def test_fragments_behind_the_last_frame_are_cut_off(
    bench: Bench, frame: bytes, syntax: UID, *, has_table: bool
) -> None:
    ds = compressed([frame, frame], syntax, NumberOfFrames="2")
    clean = encapsulate([frame, frame], has_bot=has_table)
    ds.PixelData = clean + b"\xfe\xff\x00\xe0\x0a\0\0\0ABERNATHY "
    assert stripped(bench, ds) == clean


def test_an_extended_offset_table_goes(bench: Bench) -> None:
    ds = compressed([DIRTY, jpeg()], JPEG, NumberOfFrames="2")
    ds.PixelData = encapsulate([DIRTY, jpeg()], has_bot=False)
    builder.put(ds, 0x7FE00001, "OV", struct.pack("<2Q", 0, len(DIRTY) + 8))
    builder.put(ds, 0x7FE00002, "OV", struct.pack("<2Q", len(DIRTY), len(jpeg())))
    outcome = bench.run(ds)
    assert outcome.output is not None
    clean = builder.load(outcome.output)
    assert 0x7FE00001 not in clean
    assert 0x7FE00002 not in clean
    assert clean.PixelData == encapsulate([jpeg(), jpeg()], has_bot=False)


def test_an_offset_table_of_something_else_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    path = builder.save(compressed([jpeg(), jpeg()], JPEG, NumberOfFrames="2"), tmp_path / "in.dcm")
    content = path.read_bytes()
    at = content.index(b"\xfe\xff\x00\xe0\x08\x00\x00\x00") + 8
    path.write_bytes(content[:at] + b"ABERNATH" + content[at + 8 :])
    outcome = bench.engine.deidentify(path, bench.out)
    assert outcome.output is not None
    assert builder.load(outcome.output).PixelData == encapsulate([jpeg(), jpeg()])


def test_a_syntax_without_a_rule_is_withheld(bench: Bench) -> None:
    assert bench.run(compressed([b"video"], UID("1.2.840.10008.1.2.4.102"))).reason is Reason.UNSUPPORTED


def test_native_data_under_a_compressed_syntax_are_unreadable(bench: Bench) -> None:
    path = builder.save(builder.image(), bench.folder / "in.dcm")
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)
    path.write_bytes(content)
    assert bench.engine.deidentify(path, bench.out).reason is UNREADABLE
