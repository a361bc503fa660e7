"""Real compressed frames with text planted between their segments: the text goes, the decoded pixels do not change."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames

from pacs_pipeline.deidentify import burned_in
from pacs_pipeline.deidentify.codec import read
from pacs_pipeline.deidentify.pixel_data import jpeg, jpeg_2000, only_pixels, written_with
from pacs_pipeline.errors import Quarantine

needs_extra = pytest.mark.skipif(not burned_in.available(), reason="the extra 'pixels' is not installed")

SECRET = b"ABERNATHY"
RAMP = (np.add.outer(np.arange(40) * 5, np.arange(56) * 3) % 251).astype(np.uint8)
COLOUR = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)

of_jpeg = partial(jpeg.cleaned, lossless_coder=False)
of_jpeg_ls = partial(jpeg.cleaned, lossless_coder=True)


def written(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


JPEGS = {
    "grey": written(RAMP, "JPEG"),
    "colour": written(COLOUR, "JPEG", subsampling=2),
    "progressive": written(COLOUR, "JPEG", progressive=True),
    "restarts": written(RAMP, "JPEG", restart_marker_rows=1),
    "no colour transform": written(COLOUR, "JPEG", keep_rgb=True),
}
CODESTREAMS = {
    "grey": written(RAMP, "JPEG2000", no_jp2=True, irreversible=False),
    "colour": written(COLOUR, "JPEG2000", no_jp2=True, mct=1),
    "tiles": written(COLOUR, "JPEG2000", no_jp2=True, tile_size=(16, 16), plt=True),
}


def decoded(frame: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(frame)))


def test_ordinary_frames_are_left_alone() -> None:
    for frame in JPEGS.values():
        assert of_jpeg(frame) is frame
    for frame in CODESTREAMS.values():
        assert jpeg_2000.cleaned(frame) is frame


def places(frame: bytes) -> list[int]:
    """Where a segment may be inserted into a JPEG image: before every marker but SOI, after every scan too."""
    position, found = 2, []
    while True:
        found.append(position)
        code, length = frame[position + 1], int.from_bytes(frame[position + 2 : position + 4], "big")
        if code == 0xD9:
            return found
        position += 2 + length
        if code == 0xDA:
            match = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]").search(frame, position)
            assert match is not None
            position = match.start()


def segment(code: int, content: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(content) + 2) + content


APPLICATION = st.sampled_from([*range(0xE0, 0xF0), 0xFE])
PREFIXES = st.sampled_from(
    [b"", b"Exif\0\0", b"JFXX\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"SPIFF\0", b"LEAD Tech"]
)
TEXTS = st.tuples(PREFIXES, st.binary(max_size=40), st.binary(max_size=40)).map(
    lambda parts: parts[0] + parts[1].replace(SECRET, b"") + SECRET + parts[2]
)


@given(st.sampled_from(sorted(JPEGS)), st.data())
def test_text_in_segments_of_a_jpeg_goes_and_nothing_else(name: str, data: st.DataObject) -> None:
    frame = planted = JPEGS[name]
    segments = data.draw(st.lists(st.tuples(st.sampled_from(places(frame)), APPLICATION, TEXTS), min_size=1))
    for place, code, text in sorted(segments, reverse=True):
        planted = planted[:place] + b"\xff" * (code % 3) + segment(code, text) + planted[place:]
    planted += data.draw(st.one_of(st.just(b""), TEXTS))
    kept = of_jpeg(planted)
    assert kept == frame
    assert np.array_equal(decoded(planted), decoded(frame))  # so nothing was planted that decides


@pytest.mark.parametrize("name", ["colour", "no colour transform"])
def test_colour_segments_are_reduced_to_what_decides(name: str) -> None:
    frame = JPEGS[name]
    for marker in (b"JFIF", b"Adobe"):
        at = frame.find(marker)
        if at < 0:
            continue
        length = int.from_bytes(frame[at - 2 : at], "big")
        planted = frame[: at - 2] + struct.pack(">H", length + len(SECRET)) + frame[at : at + length - 2] + SECRET
        kept = of_jpeg(planted + frame[at + length - 2 :])
        assert SECRET not in kept
        assert np.array_equal(decoded(kept), decoded(frame))
        assert marker in kept


def headers(frame: bytes) -> list[int]:
    """Where a segment may be inserted into a codestream: in the main header behind SIZ, and behind every SOT."""
    found, position = [], 2
    while frame[position : position + 2] != b"\xff\x90":
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
        found.append(position)
    while frame[position : position + 2] == b"\xff\x90":
        found.append(position + 12)
        position += int.from_bytes(frame[position + 6 : position + 10], "big")
    return found


def parts(frame: bytes) -> list[int]:
    """The lengths of the tile-parts."""
    lengths, position = [], headers(frame)[-1] - 12
    for start in [place - 12 for place in headers(frame) if frame[place - 12 : place - 10] == b"\xff\x90"]:
        lengths.append(int.from_bytes(frame[start + 6 : start + 10], "big"))
        position = start
    assert position + lengths[-1] == len(frame) - 2
    return lengths


def with_comments(frame: bytes, comments: list[tuple[int, bytes]]) -> bytes:
    """``frame`` with comments at places; the lengths of the tile-parts follow."""
    for place, text in sorted(comments, reverse=True):
        comment = segment(0x64, b"\0\1" + text)
        start = place - 12
        if frame[start : start + 2] == b"\xff\x90":
            (size,) = struct.unpack_from(">L", frame, start + 6)
            frame = frame[: start + 6] + struct.pack(">L", size + len(comment)) + frame[start + 10 :]
        frame = frame[:place] + comment + frame[place:]
    return frame


def with_list(frame: bytes, lengths: list[int], *, index: int = 2, wide: bool = True) -> bytes:
    """``frame`` with TLM segments of three entries each, in reverse order, as Ztlm allows."""
    kind = index << 4 | (0x40 if wide else 0)
    entries = [
        (number.to_bytes(index, "big") if index else b"") + size.to_bytes(4 if wide else 2, "big")
        for number, size in enumerate(lengths)
    ]
    groups = [b"".join(entries[first : first + 3]) for first in range(0, len(entries), 3)]
    lists = [segment(0x55, bytes((number, kind)) + group) for number, group in enumerate(groups)]
    place = headers(frame)[0]
    return frame[:place] + b"".join(reversed(lists)) + frame[place:]


@given(st.sampled_from(sorted(CODESTREAMS)), st.data())
def test_comments_of_a_jpeg_2000_go_and_lengths_follow(name: str, data: st.DataObject) -> None:
    frame = CODESTREAMS[name]
    comments = st.lists(st.tuples(st.sampled_from(headers(frame)), TEXTS), min_size=1, unique_by=lambda pair: pair[0])
    planted = with_comments(frame, data.draw(comments)) + data.draw(st.one_of(st.just(b""), TEXTS))
    kept = jpeg_2000.cleaned(planted)
    assert kept == frame
    assert np.array_equal(decoded(kept), decoded(frame))


@pytest.mark.parametrize(("index", "wide"), [(0, True), (1, False), (2, True)])
def test_the_list_of_tile_parts_follows_a_cut(index: int, wide: bool) -> None:
    frame = CODESTREAMS["tiles"]
    places = [place for place in headers(frame) if frame[place - 12 : place - 10] == b"\xff\x90"]
    planted = with_comments(frame, [(place, SECRET) for place in places[1::2]])
    planted = with_list(planted, parts(planted), index=index, wide=wide)
    kept = jpeg_2000.cleaned(planted)
    assert kept == with_list(frame, parts(frame), index=index, wide=wide)
    assert jpeg_2000.cleaned(kept) is kept
    assert np.array_equal(decoded(kept), decoded(frame))


def test_a_list_of_tile_parts_that_is_not_right_is_dropped() -> None:
    frame = CODESTREAMS["tiles"]
    wrong = [length + 1 for length in parts(frame)]
    assert jpeg_2000.cleaned(with_list(frame, wrong)) == frame
    place = headers(frame)[0]
    assert jpeg_2000.cleaned(frame[:place] + segment(0x55, b"\0\x60" + SECRET) + frame[place:]) == frame


def test_a_last_tile_part_without_a_length_ends_with_the_codestream() -> None:
    frame = CODESTREAMS["grey"]
    start = headers(frame)[-1] - 12
    open_end = frame[: start + 6] + bytes(4) + frame[start + 10 :]
    assert jpeg_2000.cleaned(open_end) is open_end
    comment = segment(0x64, b"\0\1" + SECRET)
    assert jpeg_2000.cleaned(open_end[: start + 12] + comment + open_end[start + 12 :] + SECRET) == open_end


@pytest.mark.parametrize("clean", [of_jpeg, of_jpeg_ls, jpeg_2000.cleaned])
@given(data=st.data())
def test_a_damaged_frame_is_withheld_or_stays_itself(clean: Callable[[bytes], bytes], data: st.DataObject) -> None:
    frame = bytearray(data.draw(st.sampled_from([*JPEGS.values(), *CODESTREAMS.values()])))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), max_size=4)):
        frame[place] = value
    end = data.draw(st.one_of(st.just(len(frame)), st.integers(0, len(frame))))
    try:
        kept = clean(bytes(frame[:end]))
    except Quarantine:
        return
    assert clean(kept) is kept


REAL = {  # a frame of each kind that a decoder of the extra reads, inside pydicom's own files
    "JPEG-LL.dcm": "jpeg",
    "SC_rgb_jpeg_dcmtk.dcm": "jpeg",
    "SC_rgb_jpeg_gdcm.dcm": "jpeg",
    "MR_small_jpeg_ls_lossless.dcm": "jpeg",
    "SC_rgb_jls_lossy_line.dcm": "jpeg",
    "JPEG2000.dcm": "jpeg 2000",
    "MR_small_jp2klossless.dcm": "jpeg 2000",
}


@needs_extra
@pytest.mark.parametrize("name", sorted(REAL))
def test_real_files_decode_to_the_same_pixels(name: str, tmp_path: Path) -> None:
    source = get_testdata_file(name, download=False)
    if source is None:
        pytest.skip("pydicom-data is not installed")
    before = dcmread(source)
    frame = next(generate_frames(before.PixelData, number_of_frames=1))
    if REAL[name] == "jpeg":
        frame = frame[:2] + segment(0xE1, SECRET) + segment(0xFE, SECRET) + frame[2:]
    else:
        frame = with_comments(frame, [(headers(frame)[0], SECRET), (headers(frame)[-1], SECRET)])
    planted = dcmread(source)
    planted.PixelData = encapsulate([frame.rstrip(b"\0") + SECRET])
    planted.save_as(tmp_path / "in.dcm")
    parsed = read(tmp_path / "in.dcm", max_inflated_bytes=1 << 26, max_depth=8)
    pixels = only_pixels(parsed)
    assert pixels is not None
    written_with(pixels, parsed, tmp_path / "out.dcm")
    after = dcmread(tmp_path / "out.dcm")
    assert SECRET not in after.PixelData
    assert np.array_equal(after.pixel_array, before.pixel_array)
