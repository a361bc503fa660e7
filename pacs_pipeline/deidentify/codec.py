"""The bytes of a DICOM file: a strict reader into a tree of elements, and the writer.

Strict on purpose: pydicom ends a data set in silence at a bad length, recurses without limit and inflates
without bound. Here a data set is consumed to its end within its limits, or the instance is set aside.
Nothing is decoded; large values stay in the file as spans.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pacs_pipeline.deidentify.values import LONG, VRS, named, padded, vrs_of
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
PIXELS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
SPAN_FROM = 64 * 1024  # longer values are not read into memory
IN_MEMORY = 64 * 1024 * 1024  # files up to this size are read at once, larger ones are mapped
CHUNK = 1024 * 1024
META_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Span:
    """A value that stays where it is: ``start`` to ``end`` in the (inflated) source."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


class Element:
    """One data element: its encoded value, or its items. ``vr`` is the file's, or the dictionary's in implicit VR."""

    __slots__ = ("fragments", "items", "tag", "value", "vr")

    def __init__(self, tag: int, vr: str, value: bytes | Span = b"", items: list[Elements] | None = None) -> None:
        self.tag = tag
        self.vr = vr
        self.value = value
        self.items = items
        self.fragments: list[Span] | None = None  # of encapsulated pixel data; the first is the offset table

    @property
    def data(self) -> bytes:
        """The value, which must be in memory."""
        if isinstance(self.value, Span):
            raise TypeError("the value was left in the file")
        return self.value

    @property
    def span(self) -> Span:
        """Where the value is, which must have been left in the file."""
        if not isinstance(self.value, Span):
            raise TypeError("the value is in memory")
        return self.value


Elements = dict[int, Element]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a data set is encoded."""

    explicit: bool
    little: bool

    @property
    def order(self) -> str:
        """The byte order as ``struct`` and numpy write it."""
        return "<" if self.little else ">"


ENCODINGS = {
    str(ImplicitVRLittleEndian): Encoding(explicit=False, little=True),
    str(ExplicitVRBigEndian): Encoding(explicit=True, little=False),
}
LITTLE = Encoding(explicit=True, little=True)
NATIVE = frozenset(
    str(uid)
    for uid in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
)


class Buffer:
    """The bytes of one file or inflated data set, in memory or mapped; read in pieces."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            self.data: bytes | mmap.mmap = (
                file.read() if size <= IN_MEMORY else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            )
        self._path = path
        self._open: BinaryIO | None = None

    def chunks(self, span: Span) -> Iterator[bytes]:
        """The bytes of ``span`` piece by piece, without keeping mapped pages in memory."""
        if isinstance(self.data, bytes):
            yield self.data[span.start : span.end]
            return
        with contextlib.nullcontext(self._open) if self._open else self._path.open("rb") as file:
            file.seek(span.start)
            left = len(span)
            while left > 0:
                piece = file.read(min(CHUNK, left))
                if not piece:
                    raise Quarantine(Reason.TRUNCATED, "the file became shorter while it was read")
                left -= len(piece)
                yield piece

    def keep(self) -> None:
        """Hold on to the file although its name is about to go: a mapped one stays open."""
        if not isinstance(self.data, bytes):
            self._open = self._path.open("rb")

    def replace(self, data: bytes) -> None:
        """Go on with ``data`` instead (the inflated data set)."""
        self.data = data


@dataclass(slots=True)
class Source:
    """One file as read: its transfer syntax, its data set, and where the bytes of its spans are."""

    buffer: Buffer
    transfer_syntax: str
    encoding: Encoding
    dataset: Elements
    meta: Elements = field(default_factory=dict)


def read(path: Path, *, max_inflated_bytes: int, max_depth: int) -> Source:
    """Read ``path`` to its end.

    Raises Quarantine: UNREADABLE, TRUNCATED, TOO_DEEP, TOO_LARGE or UNSUPPORTED (a transfer syntax).
    """
    buffer = Buffer(path)
    data = buffer.data
    meta: Elements = {}
    position = 0
    if data[128:132] == b"DICM":
        meta, position = _Reader(data, LITTLE, max_depth).meta(132)
        syntax = _text(meta.get(0x00020010))
        if not syntax:
            raise Quarantine(Reason.UNREADABLE, "the file meta information has no TransferSyntaxUID")
    else:
        syntax = _guess(data)
    if syntax == DeflatedExplicitVRLittleEndian:
        buffer.replace(_inflated(data[position:], max_inflated_bytes))
        position = 0
    encoding = ENCODINGS.get(syntax, LITTLE)
    reader = _Reader(buffer.data, encoding, max_depth)
    dataset = reader.dataset(position)
    return Source(buffer, syntax, encoding, dataset, meta)


def _guess(data: bytes | mmap.mmap) -> str:
    """The encoding of a data set without file meta (PS3.10 forbids it, old archives have it)."""
    if len(data) < 16 or data[0:2] not in (b"\x08\x00",):
        raise Quarantine(Reason.UNREADABLE, "not a DICOM file")
    return str(ExplicitVRLittleEndian if data[4:6].decode("latin-1") in VRS else ImplicitVRLittleEndian)


def _inflated(data: bytes, limit: int) -> bytes:
    try:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        result = inflate.decompress(data, limit + 1)
    except zlib.error as error:
        raise Quarantine(Reason.UNREADABLE, "the deflated data set cannot be inflated") from error
    if len(result) > limit:
        raise Quarantine(Reason.TOO_LARGE, f"the deflated data set inflates beyond {limit} bytes")
    if not inflate.eof:
        raise Quarantine(Reason.TRUNCATED, "the deflated data set ends early")
    return result


def _text(element: Element | None) -> str:
    if element is None or not isinstance(element.value, bytes):
        return ""
    return element.value.decode("latin-1").strip(" \0")


class _Reader:
    """Walks encoded elements within their bounds; ``depth`` counts open sequences."""

    def __init__(self, data: bytes | mmap.mmap, encoding: Encoding, max_depth: int) -> None:
        self.data = data
        self.encoding = encoding
        self.max_depth = max_depth
        order = encoding.order
        self.tag_length = struct.Struct(order + "HHL").unpack_from
        self.tag_vr = struct.Struct(order + "HH2sH").unpack_from
        self.long = struct.Struct(order + "L").unpack_from

    def meta(self, position: int) -> tuple[Elements, int]:
        """The file meta group (PS3.10 7.1) and where the data set starts."""
        elements: Elements = {}
        while position + 8 <= len(self.data) and self.data[position : position + 2] == b"\x02\x00":
            element, position = self.element(position, len(self.data), 0)
            if position > META_LIMIT:
                raise Quarantine(Reason.UNREADABLE, "the file meta information is too long")
            elements[element.tag] = element
        return elements, position

    def dataset(self, position: int) -> Elements:
        """The top-level data set. Bytes behind the pixel data that are no elements are left behind."""
        end = len(self.data)
        elements: Elements = {}
        while position < end:
            try:
                element, position = self.element(position, end, 0)
            except Quarantine:
                if PIXEL_DATA in elements or not self._anything(position, end):
                    break
                raise
            if element.tag in elements:
                raise Quarantine(Reason.UNREADABLE, f"{named(element.tag)} stands twice")
            elements[element.tag] = element
        if not elements:
            raise Quarantine(Reason.UNREADABLE, "no data set")
        return elements

    def _anything(self, start: int, end: int) -> bool:
        """Whether there is more than zero padding."""
        return end - start > CHUNK or any(self.data[start:end])

    def element(self, position: int, end: int, depth: int) -> tuple[Element, int]:
        """The element at ``position`` and the position behind it."""
        if position + 8 > end:
            raise Quarantine(Reason.TRUNCATED, "the data set ends inside an element header")
        if not self.encoding.explicit:
            group, number, length = self.tag_length(self.data, position)
            tag = group << 16 | number
            position += 8
            known = vrs_of(tag)
            vr = known[0] if known else "UN"
            if vr == "UN" and length == UNDEFINED:
                vr = "SQ"
        else:
            group, number, raw, length = self.tag_vr(self.data, position)
            tag = group << 16 | number
            vr = raw.decode("latin-1")
            position += 8
            if vr not in VRS:
                raise Quarantine(Reason.UNREADABLE, f"{named(tag)} has an unknown VR")
            if vr in LONG:
                if position + 4 > end:
                    raise Quarantine(Reason.TRUNCATED, "the data set ends inside an element header")
                (length,) = self.long(self.data, position)
                position += 4
        if group == 0xFFFE:
            raise Quarantine(Reason.UNREADABLE, "an item stands outside a sequence")
        if length == UNDEFINED:
            return self._undefined(tag, vr, position, end, depth)
        stop = position + length
        if stop > end:
            raise Quarantine(Reason.TRUNCATED, f"{named(tag)} is longer than the rest of the data set")
        if vr == "SQ":
            items, _ = self._items(position, stop, depth + 1, defined=True)
            return Element(tag, vr, items=items), stop
        if vr == "UN" and vrs_of(tag) == ("SQ",) and length:
            unwrapped = self._unknown(position, stop, depth + 1)
            if unwrapped is not None:
                return Element(tag, "SQ", items=unwrapped), stop
        if length >= SPAN_FROM or tag in PIXELS:
            return Element(tag, vr, Span(position, stop)), stop
        return Element(tag, vr, self.data[position:stop]), stop

    def _undefined(self, tag: int, vr: str, position: int, end: int, depth: int) -> tuple[Element, int]:
        if tag in PIXELS and vr in ("OB", "OW", "UN"):
            return self._encapsulated(tag, vr, position, end)
        if vr == "SQ":
            items, position = self._items(position, end, depth + 1, defined=False)
        elif vr == "UN":  # PS3.5 6.2.2: a sequence in implicit VR little endian
            items, position = self._implicit()._items(position, end, depth + 1, defined=False)
        else:
            raise Quarantine(Reason.UNREADABLE, f"{named(tag)} has an undefined length")
        return Element(tag, "SQ", items=items), position

    def _unknown(self, position: int, stop: int, depth: int) -> list[Elements] | None:
        """A sequence under VR UN (PS3.5 6.2.2), or None when the bytes are no sequence."""
        try:
            return self._implicit()._items(position, stop, depth, defined=True)[0]
        except Quarantine as problem:
            if problem.reason is Reason.TOO_DEEP:
                raise
            return None

    def _implicit(self) -> _Reader:
        return _Reader(self.data, Encoding(explicit=False, little=True), self.max_depth)

    def _items(self, position: int, end: int, depth: int, *, defined: bool) -> tuple[list[Elements], int]:
        if depth > self.max_depth:
            raise Quarantine(Reason.TOO_DEEP, f"sequences are nested more than {self.max_depth} deep")
        items: list[Elements] = []
        while True:
            if defined and position == end:
                return items, position
            if position + 8 > end:
                raise Quarantine(Reason.TRUNCATED, "the data set ends inside a sequence")
            group, number, length = self.tag_length(self.data, position)
            tag = group << 16 | number
            position += 8
            if tag == SEQUENCE_END:
                return items, end if defined else position
            if tag != ITEM:
                raise Quarantine(Reason.UNREADABLE, "a sequence holds something else than items")
            stop = end if length == UNDEFINED else position + length
            if stop > end:
                raise Quarantine(Reason.TRUNCATED, "an item is longer than its sequence")
            item, position = self._item(position, stop, depth, defined=length != UNDEFINED)
            items.append(item)

    def _item(self, position: int, end: int, depth: int, *, defined: bool) -> tuple[Elements, int]:
        elements: Elements = {}
        while True:
            if defined and position == end:
                return elements, position
            if position + 8 > end:
                raise Quarantine(Reason.TRUNCATED, "the data set ends inside an item")
            group, number, _ = self.tag_length(self.data, position)
            if group << 16 | number == ITEM_END:
                return elements, end if defined else position + 8
            element, position = self.element(position, end, depth)
            if element.tag in elements:
                raise Quarantine(Reason.UNREADABLE, f"{named(element.tag)} stands twice in an item")
            elements[element.tag] = element

    def _encapsulated(self, tag: int, vr: str, position: int, end: int) -> tuple[Element, int]:
        """Encapsulated pixel data (PS3.5 A.4): the span covers every item and the delimiter."""
        start = position
        fragments: list[Span] = []
        while True:
            if position + 8 > end:
                raise Quarantine(Reason.TRUNCATED, f"{named(tag)} ends before its delimiter")
            group, number, length = self.tag_length(self.data, position)
            kind = group << 16 | number
            position += 8
            if kind == SEQUENCE_END:
                element = Element(tag, "OB" if vr == "UN" else vr, Span(start, position))
                element.fragments = fragments
                return element, position
            if kind != ITEM or length == UNDEFINED:
                raise Quarantine(Reason.UNREADABLE, f"{named(tag)} holds something else than fragments")
            if position + length > end:
                raise Quarantine(Reason.TRUNCATED, f"a fragment of {named(tag)} is cut off")
            fragments.append(Span(position, position + length))
            position += length


def encode(dataset: Elements, encoding: Encoding) -> list[bytes | Span]:
    """``dataset`` as pieces in file order: encoded bytes, and spans to be copied from the source."""
    pieces: list[bytes | Span] = []
    done: list[bytes] = []
    for tag in sorted(dataset):
        element = dataset[tag]
        if isinstance(element.value, Span):
            length = UNDEFINED if element.fragments is not None else len(element.value)
            odd = length % 2 and length != UNDEFINED
            done.append(_header(tag, element.vr, length + (1 if odd else 0), encoding))
            pieces += [b"".join(done), element.value]
            done = [_pad(element.vr)] if odd else []
        elif element.items is not None and _holds_span(element.items):
            inner = _sequence_in_pieces(element, encoding)
            pieces += [b"".join(done), *inner]
            done = []
        else:
            done.append(_encoded(element, encoding))
    pieces.append(b"".join(done))
    return pieces


def _holds_span(items: list[Elements]) -> bool:
    return any(
        isinstance(element.value, Span) or (element.items is not None and _holds_span(element.items))
        for item in items
        for element in item.values()
    )


def _sequence_in_pieces(element: Element, encoding: Encoding) -> list[bytes | Span]:
    """A sequence in which some value is left in the source, with its length."""
    pieces: list[bytes | Span] = []
    for item in element.items or ():
        inner = encode(item, encoding)
        pieces += [struct.pack(encoding.order + "HHL", ITEM >> 16, ITEM & 0xFFFF, _length(inner)), *inner]
    return [_header(element.tag, "SQ", _length(pieces), encoding), *pieces]


def _length(pieces: list[bytes | Span]) -> int:
    length = sum(map(len, pieces))
    if length >= UNDEFINED:
        raise Quarantine(Reason.TOO_LARGE, "a sequence is too long for its length field")
    return length


def _pad(vr: str) -> bytes:
    return padded(b"\0", vr)[1:]


def _encoded(element: Element, encoding: Encoding) -> bytes:
    if element.items is not None:
        value = b"".join(_encoded_item(item, encoding) for item in element.items)
        return _header(element.tag, "SQ", len(value), encoding) + value
    value = padded(element.data, element.vr)
    return _header(element.tag, element.vr, len(value), encoding) + value


def _encoded_item(item: Elements, encoding: Encoding) -> bytes:
    value = b"".join(_encoded(item[tag], encoding) for tag in sorted(item))
    return struct.pack(encoding.order + "HHL", ITEM >> 16, ITEM & 0xFFFF, len(value)) + value


def _header(tag: int, vr: str, length: int, encoding: Encoding) -> bytes:
    group, number = tag >> 16, tag & 0xFFFF
    if not encoding.explicit:
        return struct.pack("<HHL", group, number, length)
    if vr in LONG:
        return struct.pack(encoding.order + "HH2sHL", group, number, vr.encode(), 0, length)
    if length > 0xFFFF:  # PS3.5 6.2.2: a value too long for a short VR is written as UN
        return struct.pack(encoding.order + "HH2sHL", group, number, b"UN", 0, length)
    return struct.pack(encoding.order + "HH2sH", group, number, vr.encode(), length)


def encode_meta(values: dict[int, tuple[str, bytes]]) -> bytes:
    """Preamble of zeros, ``DICM`` and the file meta group with its length (PS3.10 7.1)."""
    body = b"".join(_encoded(Element(tag, vr, value), LITTLE) for tag, (vr, value) in sorted(values.items()))
    return bytes(128) + b"DICM" + _encoded(Element(0x00020000, "UL", struct.pack("<L", len(body))), LITTLE) + body


def deflated(data: bytes) -> bytes:
    """``data`` as a raw deflate stream of even length (PS3.5 A.5)."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)


_SEPARATOR = re.compile(rb"\\")


def components(value: bytes) -> list[str]:
    """The components of a value in the default repertoire, without padding."""
    return [part.decode("latin-1").strip(" \0") for part in _SEPARATOR.split(value)]
