"""The frames of one instance as plain arrays: decoded one by one into a private file, blanked there in place."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID

from pacs_pipeline.deidentify.burned_in.regions import Box
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LS, JPEG_LS_LOSSY = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
J2K, J2K_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
# One decoder for each, so that every machine decodes alike
DECODERS = {
    RLE: "pylibjpeg",
    JPEG_BASELINE: "pillow",
    "1.2.840.10008.1.2.4.51": "gdcm",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    JPEG_LS: "pyjpegls",
    JPEG_LS_LOSSY: "pyjpegls",
    J2K: "pylibjpeg",
    J2K_LOSSY: "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
}
# What a decoder raises on bytes that are no image of its kind
DECODE_ERRORS = (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError)

_GREY = frozenset(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"))
_COLOUR = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422"))
_CHUNK = 1024 * 1024

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one native frame lies in its bytes (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    planar: bool = False  # colour by plane (PlanarConfiguration 1)
    big_endian: bool = False

    @property
    def subsampled(self) -> bool:
        """Whether two pixels share their colour: Y0 Y1 Cb Cr (YBR_FULL_422)."""
        return self.photometric == "YBR_FULL_422"

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.rows * self.columns * (2 if self.subsampled else self.samples) * self.allocated // 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of one sample."""
        return np.dtype(f"{'>' if self.big_endian else '<'}{'i' if self.signed else 'u'}{self.allocated // 8}")

    def pixels(self, frame: Array) -> Array:
        """A view on the bytes of one frame: (rows, columns), (rows, columns, 3), or (rows, columns / 2, 4)."""
        values = frame.view(self.dtype)
        if self.subsampled:
            return values.reshape(self.rows, self.columns // 2, 4)
        if self.samples == 1:
            return values.reshape(self.rows, self.columns)
        if self.planar:
            return np.moveaxis(values.reshape(self.samples, self.rows, self.columns), 0, 2)
        return values.reshape(self.rows, self.columns, self.samples)

    def widened(self, box: Box) -> Box:
        """``box`` as it can be blanked: pixels that share their colour go together."""
        if not self.subsampled:
            return box
        return box[0] // 2 * 2, box[1], min(self.columns, (box[2] + 1) // 2 * 2), box[3]


def layout_of(ds: Dataset, *, big_endian: bool) -> Layout:
    """The layout the header declares. Raises Quarantine (UNSUPPORTED, UNREADABLE)."""
    try:
        stored = int(ds.BitsStored)
        layout = Layout(
            rows=int(ds.Rows),
            columns=int(ds.Columns),
            samples=int(ds.SamplesPerPixel),
            frames=int(ds.get("NumberOfFrames") or 1),
            allocated=int(ds.BitsAllocated),
            stored=stored,
            signed=int(ds.get("PixelRepresentation") or 0) == 1,
            photometric=str(ds.PhotometricInterpretation),
            planar=int(ds.get("PlanarConfiguration") or 0) == 1 and int(ds.SamplesPerPixel) > 1,
            big_endian=big_endian,
        )
        high_bit = int(ds.get("HighBit", stored - 1))
    except (AttributeError, TypeError, ValueError) as error:
        raise Quarantine(Reason.UNREADABLE, "the image pixel module is incomplete") from error
    if min(layout.rows, layout.columns, layout.frames) < 1 or not 0 < stored <= layout.allocated:
        raise Quarantine(Reason.UNREADABLE, "the image pixel module is impossible")
    if layout.allocated not in (8, 16) or high_bit != stored - 1:
        raise Quarantine(Reason.UNSUPPORTED, "pixels of this depth are not cleaned (BitsAllocated, HighBit)")
    return layout


def checked(layout: Layout) -> Layout:
    """``layout`` when its native frames can be blanked. Raises Quarantine (UNSUPPORTED)."""
    grey = layout.samples == 1 and layout.photometric in _GREY
    colour = layout.samples == 3 and layout.photometric in _COLOUR and not layout.signed
    if not (grey or colour):
        raise Quarantine(Reason.UNSUPPORTED, "no rule says how to blank this PhotometricInterpretation")
    if layout.subsampled and (layout.columns % 2 or layout.allocated != 8 or layout.planar):
        raise Quarantine(Reason.UNSUPPORTED, "subsampled colour of this kind is not cleaned")
    if colour and layout.photometric != "RGB" and (layout.allocated, layout.stored) != (8, 8):
        raise Quarantine(Reason.UNSUPPORTED, "YBR colour of this depth is not cleaned")
    return layout


class Frames:
    """The native frames of one instance in a file without a name, mapped into memory; close it after use."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        self.layout = layout
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (close() does it), mode 0600
        self.size = layout.frame_bytes * layout.frames
        os.truncate(self.file.fileno(), self.size + self.size % 2)  # the pad byte of an odd length is there already

    def __len__(self) -> int:
        return self.layout.frames

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def raw(self, index: int) -> Array:
        """The bytes of one frame as a writable view of the file; the mapping lasts as long as the array."""
        size = self.layout.frame_bytes
        return np.memmap(self.file, np.uint8, "r+", offset=index * size, shape=(size,))

    def pixels(self, index: int) -> Array:
        """The samples of one frame, see :meth:`Layout.pixels`."""
        return self.layout.pixels(self.raw(index))

    def put(self, index: int, values: Array) -> None:
        """Store the decoded samples of one frame, (rows, columns[, 3])."""
        self.pixels(index)[...] = values


def copied(file: BinaryIO, length: int, layout: Layout, folder: Path) -> Frames:
    """The frames of native pixel data: ``length`` bytes from where ``file`` stands.

    Raises Quarantine: TRUNCATED when there are fewer than declared, HIDDEN_CONTENT when there are more.
    """
    frames = Frames(checked(layout), folder)
    if length < frames.size:
        frames.file.close()
        raise Quarantine(Reason.TRUNCATED, "PixelData is shorter than its header says")
    left = frames.size
    while left:
        piece = file.read(min(_CHUNK, left))
        if not piece:
            frames.file.close()
            raise Quarantine(Reason.TRUNCATED, "PixelData is shorter than its header says")
        frames.file.write(piece)
        left -= len(piece)
    excess = length - frames.size
    if excess > 1 and (excess > _CHUNK or any(file.read(excess))):
        frames.file.close()
        raise Quarantine(Reason.HIDDEN_CONTENT, "PixelData is longer than its header says")
    frames.file.flush()
    return frames


def decoded(file: BinaryIO, layout: Layout, syntax: str, folder: Path, offsets: Any) -> Frames:
    """The frames of encapsulated pixel data that begin where ``file`` stands, decoded without loss.

    Raises Quarantine: UNSUPPORTED for a syntax or depth nothing decodes, TRUNCATED for a wrong number of frames
    or bytes that cannot be decoded.
    """
    pictures = _arrays(file, layout, syntax, offsets)
    frames: Frames | None = None
    try:
        for index, found in zip_longest(range(layout.frames), pictures):
            if index is None or found is None:
                raise Quarantine(Reason.TRUNCATED, "PixelData has another number of frames than its header says")
            values, photometric = found
            if frames is None:
                frames = Frames(checked(native(layout, photometric)), folder)
            if photometric != frames.layout.photometric or values.dtype.itemsize * 8 != layout.allocated:
                raise Quarantine(Reason.UNSUPPORTED, "the frames are not encoded as the header says")
            frames.put(index, values)
    except DECODE_ERRORS as error:
        if frames is not None:
            frames.file.close()
        raise Quarantine(Reason.TRUNCATED, f"a frame cannot be decoded ({type(error).__name__})") from None
    except Quarantine:
        if frames is not None:
            frames.file.close()
        raise
    assert frames is not None
    return frames


def _arrays(file: BinaryIO, layout: Layout, syntax: str, offsets: Any) -> Iterator[tuple[Array, str]]:
    if syntax not in DECODERS or DECODERS[syntax] not in get_decoder(UID(syntax)).available_plugins:
        raise Quarantine(Reason.UNSUPPORTED, "nothing decodes this transfer syntax")
    decoder = get_decoder(UID(syntax))
    start = file.tell()
    for code in generate_frames(file, number_of_frames=layout.frames, extended_offsets=offsets):
        if syntax != RLE and _size(code) != (layout.rows, layout.columns):  # or it could decode to any size
            raise Quarantine(Reason.TRUNCATED, "a compressed frame has another size than its header says")
    file.seek(start)
    options: dict[str, Any] = options_of(layout) | {"pixel_keyword": "PixelData", "number_of_frames": layout.frames}
    if offsets is not None:
        options["extended_offsets"] = offsets
    for values, about in decoder.iter_array(file, raw=True, decoding_plugin=DECODERS[syntax], **options):
        photometric = str(about["photometric_interpretation"])
        # a decoder names the subsampling of the code; its array has the colour of every pixel
        yield values, "YBR_FULL" if photometric == "YBR_FULL_422" else photometric


def _size(code: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 image as it says itself, None when it does not."""
    if code[:4] == b"\xff\x4f\xff\x51":  # SIZ, ISO 15444-1 A.5.1
        if len(code) < 24:
            return None
        right, bottom, left, top = struct.unpack_from(">4L", code, 8)
        return bottom - top, right - left
    position = 2
    while position + 9 <= len(code) and code[position] == 0xFF:
        marker = code[position + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):  # SOF
            rows, columns = struct.unpack_from(">2H", code, position + 5)
            return rows, columns
        position += 1 if marker == 0xFF else 2 + int.from_bytes(code[position + 2 : position + 4], "big")
    return None


def options_of(layout: Layout) -> dict[str, Any]:
    """The layout of one frame in the words of pydicom's coders."""
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
    }
    if layout.samples > 1:
        options["planar_configuration"] = int(layout.planar)
    return options


def native(layout: Layout, photometric: str) -> Layout:
    """The layout of a decoded frame: by pixel, in little endian, its colour no longer subsampled."""
    return Layout(
        rows=layout.rows,
        columns=layout.columns,
        samples=layout.samples,
        frames=layout.frames,
        allocated=layout.allocated,
        stored=layout.stored,
        signed=layout.signed,
        photometric=photometric,
    )


def black(ds: Dataset, layout: Layout) -> Array:
    """The samples of a black pixel as displayed, in the shape of the last axis of :meth:`Layout.pixels`.

    MONOCHROME1 the largest value, MONOCHROME2 the smallest, a palette the index of its darkest colour (the
    first of several), YBR 0, 128, 128. Raises Quarantine (UNSUPPORTED) for a palette that cannot be read.
    """
    if layout.subsampled:
        return np.array((0, 0, 128, 128), layout.dtype)
    if layout.samples == 3:
        return np.array((0, 0, 0) if layout.photometric == "RGB" else (0, 128, 128), layout.dtype)
    if layout.photometric == "PALETTE COLOR":
        indices = np.arange(1 << layout.stored, dtype=f"u{layout.allocated // 8}")
        try:
            colours = apply_color_lut(indices.reshape(1, -1), ds).astype(np.int64)[0]
        except DECODE_ERRORS as error:
            raise Quarantine(Reason.UNSUPPORTED, "the colour palette cannot be read") from error
        return np.array(int(np.argmin(colours @ np.array((299, 587, 114)))), layout.dtype)
    low, high = (
        (-(1 << layout.stored - 1), (1 << layout.stored - 1) - 1) if layout.signed else (0, (1 << layout.stored) - 1)
    )
    return np.array(high if layout.photometric == "MONOCHROME1" else low, layout.dtype)


def blank(frames: Frames, index: int, boxes: list[Box], value: Array) -> None:
    """Set ``boxes`` of one frame to ``value``, see :func:`black`; nothing else is touched."""
    pixels = frames.pixels(index)
    for box in boxes:
        left, top, right, bottom = frames.layout.widened(box)
        step = 2 if frames.layout.subsampled else 1
        pixels[top:bottom, left // step : -(-right // step)] = value
