"""Proves that pixel data are pixels and nothing else: length, unused bits, and segments of compressed frames.

Nothing is changed here; what is more, less or other than the header declares sets the instance aside.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pacs_pipeline.deidentify.codec import NATIVE, PIXEL_DATA, Buffer, Element, Elements, Source, Span, components
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

RLE = "1.2.840.10008.1.2.5"
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
_JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
_LARGEST_FRAME = 512 * 1024 * 1024

# Stamps that encoders leave in every file; nothing else may stand in a comment.
_STAMP = re.compile(
    rb"(?:Created by (?:GDCM/)?OpenJPEG version [\d.]{1,12}|Kakadu-[v\d.]{1,12}|Creator: JasPer Version [\d.]{1,12}"
    rb"|LEAD Technologies Inc\. V[\d.]{1,8}"
    rb"|Kdu-Layer-Info: log_2\{Delta-D\([\w()/*{}, -]{1,80}\}\n[\d\s.,e+-]{0,512})\x00?"
)
_ADOBE = re.compile(rb"Adobe\x00[\x64\x65]\x00?[\x00-\xff]{4}[\x00-\x02]")
_JFIF = re.compile(rb"JFIF\x00\x01[\x00-\x02][\x00-\x02][\x00-\xff]{4}\x00\x00")
# Tables, frame headers, restart intervals; LSE and SOF of JPEG-LS
_STRUCTURAL = frozenset((*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xF7, 0xF8))
_MARKER_JPEG = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_MARKER_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")

_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _HIGH_BIT, _SIGNED, _PADDING = 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120


@dataclass(frozen=True, slots=True)
class Shape:
    """What the Image Pixel module declares (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    photometric: str

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame."""
        samples = 2 if self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422") else self.samples
        return self.rows * self.columns * samples * self.allocated

    @property
    def length(self) -> int:
        """Bytes of native pixel data without padding."""
        return (self.frame_bits * self.frames + 7) // 8


def check_pixels(source: Source) -> None:
    """Raise Quarantine (TRUNCATED, HIDDEN_CONTENT, UNSUPPORTED, UNREADABLE) unless PixelData is what it says."""
    dataset = source.dataset
    _check_overlays(dataset)
    element = dataset[PIXEL_DATA]
    shape = _shape(dataset, source)
    native = source.transfer_syntax in NATIVE
    if native != (element.fragments is None):
        raise Quarantine(Reason.UNREADABLE, "PixelData is not encoded as the transfer syntax says")
    if native:
        _check_native(source, element, shape)
    else:
        _check_encapsulated(source, element, shape)


def _check_overlays(dataset: Elements) -> None:
    """Overlays are removed as groups; one that lives in the pixels themselves cannot be (PS3.3 C.9.2)."""
    for tag, element in dataset.items():
        if tag >> 24 == 0x60 and not (tag >> 16) & 1 and tag & 0xFFFF == 0x0102 and _nonzero(element):
            raise Quarantine(Reason.HIDDEN_CONTENT, "an overlay is embedded in PixelData (OverlayBitPosition)")


def _nonzero(element: Element) -> bool:
    return not isinstance(element.value, bytes) or any(element.value)


def _shape(dataset: Elements, source: Source) -> Shape:
    order = source.encoding.order

    def number(tag: int, default: int | None = None) -> int:
        element = dataset.get(tag)
        value = element.value if element is not None else b""
        if isinstance(value, bytes) and len(value) == 2:
            return int(struct.unpack(order + "H", value)[0])
        if default is None:
            raise Quarantine(Reason.UNREADABLE, "the image pixel module is incomplete")
        return default

    allocated = number(_ALLOCATED)
    stored = number(_STORED, allocated)
    frames = dataset.get(_FRAMES)
    try:
        count = int(components(frames.value)[0] or 1) if frames and isinstance(frames.value, bytes) else 1
    except ValueError as error:
        raise Quarantine(Reason.UNREADABLE, "NumberOfFrames is no number") from error
    photometric = dataset.get(_PHOTOMETRIC)
    shape = Shape(
        rows=number(_ROWS),
        columns=number(_COLUMNS),
        samples=number(_SAMPLES, 1),
        frames=count,
        allocated=allocated,
        stored=stored,
        high_bit=number(_HIGH_BIT, stored - 1),
        signed=number(_SIGNED, 0) == 1,
        photometric=components(photometric.value)[0] if photometric and isinstance(photometric.value, bytes) else "",
    )
    possible = shape.allocated in (1, 8, 16, 32, 64) and 0 < shape.stored <= shape.allocated > shape.high_bit
    if not possible or shape.high_bit + 1 < shape.stored or shape.frames < 1 or not shape.frame_bits:
        raise Quarantine(Reason.UNREADABLE, "the image pixel module is impossible")
    return shape


def _check_native(source: Source, element: Element, shape: Shape) -> None:
    where = element.span
    excess = len(where) - shape.length
    if excess < 0:
        raise Quarantine(Reason.TRUNCATED, "PixelData is shorter than its header says")
    end = where.start + shape.length
    if excess and any(any(piece) for piece in source.buffer.chunks(Span(end, where.end))):
        raise Quarantine(Reason.HIDDEN_CONTENT, "PixelData is longer than its header says")
    if shape.stored < shape.allocated and shape.allocated in (8, 16, 32):
        pixels = Span(where.start, end)
        padding = source.dataset.get(_PADDING)
        _check_unused_bits(source.buffer.chunks(pixels), shape, source.encoding.order, padding, source.encoding.order)


def _check_unused_bits(
    pieces: Iterable[bytes], shape: Shape, order: str, padding: Element | None, padding_order: str
) -> None:
    """Bits outside BitsStored must be zero, or the sign: ones of their own could draw letters.

    A pixel that equals PixelPaddingValue is background, whatever its bits.
    """
    kind = np.dtype(f"{order}u{shape.allocated // 8}")
    low = shape.high_bit + 1 - shape.stored
    used = ((1 << shape.stored) - 1) << low
    unused = ((1 << shape.allocated) - 1) & ~used
    above = unused & ~((1 << low) - 1) if low else unused
    fill = None
    if padding is not None and isinstance(padding.value, bytes) and len(padding.value) == 2 == kind.itemsize:
        fill = int(np.frombuffer(padding.value, f"{padding_order}u2")[0])
    rest = b""
    for piece in pieces:
        data = rest + piece if rest else piece
        whole = len(data) - len(data) % kind.itemsize
        rest = data[whole:]
        values = np.frombuffer(data[:whole] if rest else data, kind)
        if not int(np.bitwise_or.reduce(values)) & unused:
            continue
        suspicious = (values & unused) != 0
        if shape.signed and not low:
            sign = (values >> shape.high_bit) & 1
            suspicious &= (values & above) != above * sign
        if fill is not None:
            suspicious &= values != fill
        if suspicious.any():
            raise Quarantine(Reason.HIDDEN_CONTENT, "PixelData uses bits outside BitsStored")


def _check_encapsulated(source: Source, element: Element, shape: Shape) -> None:
    syntax = source.transfer_syntax
    offsets, *fragments = element.fragments or [Span(0, 0)]
    if not fragments:
        raise Quarantine(Reason.TRUNCATED, "PixelData has no frame")
    _check_offsets(source.buffer, offsets, fragments)
    if syntax == RLE:
        if len(fragments) != shape.frames:
            raise Quarantine(Reason.TRUNCATED, "PixelData has not one fragment for each frame")
        for fragment in fragments:
            _check_rle(_bytes(source.buffer, fragment), shape, source.dataset.get(_PADDING))
        return
    if syntax not in _JPEG | _JPEG_LS | _JPEG_2000:
        raise Quarantine(Reason.UNSUPPORTED, "no rule says how to check this transfer syntax")
    frames = 0
    pending = b""
    for fragment in fragments:  # a frame may be spread over fragments; it ends with its end marker
        pending += _bytes(source.buffer, fragment)
        if len(pending) > _LARGEST_FRAME:
            raise Quarantine(Reason.TOO_LARGE, "a compressed frame is too long")
        if pending[-16:].rstrip(b"\0").endswith(b"\xff\xd9"):
            _check_codestream(pending, syntax)
            frames += 1
            pending = b""
    if pending:
        _check_codestream(pending, syntax)  # raises: it has no proper end
        frames += 1
    if frames != shape.frames:
        raise Quarantine(Reason.TRUNCATED, "PixelData has another number of frames than its header says")


def _bytes(buffer: Buffer, span: Span) -> bytes:
    if len(span) > _LARGEST_FRAME:
        raise Quarantine(Reason.TOO_LARGE, "a compressed frame is too long")
    return b"".join(buffer.chunks(span))


def _check_offsets(buffer: Buffer, table: Span, fragments: list[Span]) -> None:
    """The basic offset table is empty or points at fragments, so it can hold nothing else (PS3.5 A.4)."""
    if not len(table):
        return
    raw = _bytes(buffer, table)
    if len(raw) % 4:
        raise Quarantine(Reason.HIDDEN_CONTENT, "the basic offset table is no list of offsets")
    starts = {fragment.start - 8 - (fragments[0].start - 8) for fragment in fragments}
    if any(offset not in starts for (offset,) in struct.iter_unpack("<L", raw)):
        raise Quarantine(Reason.HIDDEN_CONTENT, "the basic offset table points outside the frames")


def _check_codestream(data: bytes, syntax: str) -> None:
    if syntax in _JPEG_2000:
        _check_jpeg_2000(data)
    else:
        _check_jpeg(data, _MARKER_LS if syntax in _JPEG_LS else _MARKER_JPEG)


def _check_jpeg(data: bytes, marker: re.Pattern[bytes]) -> None:
    """Walk the markers of one JPEG or JPEG-LS image (ISO 10918-1 B.1, ISO 14495-1 C.1)."""
    if data[:2] != b"\xff\xd8":
        raise Quarantine(Reason.HIDDEN_CONTENT, "a frame is no JPEG image")
    position = 2
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 2 > len(data) or data[position] != 0xFF:
            raise Quarantine(Reason.TRUNCATED, "a JPEG image is damaged or cut off")
        code = data[position + 1]
        if code == 0xD9:
            return _check_end(data, position + 2)
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        stop = position + 2 + length
        if length < 2 or stop > len(data):
            raise Quarantine(Reason.TRUNCATED, "a JPEG image is damaged or cut off")
        if code == 0xDA:
            found = marker.search(data, stop)
            if found is None:
                raise Quarantine(Reason.TRUNCATED, "a JPEG image has no end")
            stop = found.start()
        elif code not in _STRUCTURAL and not _harmless(code, data[position + 4 : stop]):
            raise Quarantine(Reason.HIDDEN_CONTENT, "a JPEG image carries a comment or application segment")
        position = stop


def _harmless(code: int, content: bytes) -> bool:
    if code == 0xFE:
        return _STAMP.fullmatch(content) is not None
    if code == 0xE0:
        return _JFIF.fullmatch(content) is not None
    return code == 0xEE and _ADOBE.fullmatch(content) is not None


def _check_jpeg_2000(data: bytes) -> None:
    """Walk the markers of one JPEG 2000 codestream: main header and tile-part headers (ISO 15444-1 A)."""
    if data[:4] != b"\xff\x4f\xff\x51":
        raise Quarantine(Reason.HIDDEN_CONTENT, "a frame is no JPEG 2000 codestream")
    position, tile_end = 2, 0
    while True:
        code = data[position : position + 2]
        if code == b"\xff\xd9":
            return _check_end(data, position + 2)
        if code == b"\xff\x93":  # start of data: on to the next tile-part
            if not tile_end:
                end = data.rstrip(b"\0").rfind(b"\xff\xd9")
                tile_end = end if end > position else len(data)
            position, tile_end = max(tile_end, position + 2), 0
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        stop = position + 2 + length
        if len(code) < 2 or code[0] != 0xFF or length < 2 or stop > len(data):
            raise Quarantine(Reason.TRUNCATED, "a JPEG 2000 codestream is damaged or cut off")
        if code == b"\xff\x90":
            (size,) = struct.unpack_from(">L", data, position + 6)
            tile_end = position + size if size else 0
            if tile_end > len(data):
                raise Quarantine(Reason.TRUNCATED, "a JPEG 2000 codestream is cut off")
        elif code == b"\xff\x64" and not _STAMP.fullmatch(data[position + 6 : stop]):
            raise Quarantine(Reason.HIDDEN_CONTENT, "a JPEG 2000 codestream carries a comment")
        elif code[1] not in _JPEG_2000_MARKERS:
            raise Quarantine(Reason.HIDDEN_CONTENT, "a JPEG 2000 codestream carries an unknown segment")
        position = stop


# SIZ COD COC TLM PLM PLT QCD QCC RGN POC PPM PPT CRG COM, CAP and CPF of high throughput, SOT
_JPEG_2000_MARKERS = frozenset((0x50, 0x51, 0x52, 0x53, 0x55, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61))
_JPEG_2000_MARKERS |= frozenset((0x63, 0x64, 0x90))


def _check_end(data: bytes, position: int) -> None:
    if len(data) - position > 1 and any(data[position:]):
        raise Quarantine(Reason.HIDDEN_CONTENT, "bytes follow the end of a compressed frame")


def _check_rle(data: bytes, shape: Shape, padding: Element | None) -> None:
    """Decode every segment (PS3.5 Annex G): each fills its plane exactly and nothing follows."""
    if len(data) < 64:
        raise Quarantine(Reason.TRUNCATED, "an RLE frame is cut off")
    count, *offsets = struct.unpack_from("<16L", data)
    planes = shape.samples * max(shape.allocated // 8, 1)
    if count != planes or count > 15 or offsets[0] != 64 or any(offsets[count:]):
        raise Quarantine(Reason.HIDDEN_CONTENT, "an RLE header is not what the image needs")
    bounds = [*offsets[:count], len(data)]
    if any(low > high for low, high in pairwise(bounds)) or bounds[-2] > len(data):
        raise Quarantine(Reason.TRUNCATED, "an RLE frame is cut off")
    size = shape.rows * shape.columns
    if shape.allocated == 1:  # the bits of a frame are packed (PS3.5 8.1.1)
        size = (size + 7) // 8
    decoded = []
    for start, stop in pairwise(bounds):
        plane, end = _unpacked(data, start, stop, size)
        if any(data[end:stop]):
            raise Quarantine(Reason.HIDDEN_CONTENT, "bytes follow the end of an RLE segment")
        decoded.append(plane)
    if shape.stored < shape.allocated and shape.allocated in (8, 16, 32):
        width = shape.allocated // 8
        for sample in range(shape.samples):  # the segments of a sample begin with its most significant byte
            parts = [np.frombuffer(plane, np.uint8) for plane in decoded[sample * width : (sample + 1) * width]]
            _check_unused_bits([np.stack(parts, axis=1).tobytes()], shape, ">", padding, "<")


def _unpacked(data: bytes, position: int, stop: int, size: int) -> tuple[bytes, int]:
    """The ``size`` bytes that the PackBits runs from ``position`` make, and where those runs end."""
    made = bytearray()
    while len(made) < size:
        if position >= stop:
            raise Quarantine(Reason.TRUNCATED, "an RLE segment is cut off")
        control = data[position]
        if control < 128:
            made += data[position + 1 : position + control + 2]
            position += control + 2
        elif control > 128:
            made += data[position + 1 : position + 2] * (257 - control)
            position += 2
        else:
            position += 1
    if position > stop or len(made) > size + 1 or any(made[size:]):
        raise Quarantine(Reason.TRUNCATED, "an RLE segment does not fill its plane")
    return bytes(made[:size]), position
