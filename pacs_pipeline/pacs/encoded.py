"""The structure of an encoded data set: walks elements to the end without decoding a value (PS3.5 7)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator

from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import InstanceRef, Reason

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = frozenset({"1.2.840.10008.1.2.1.99"})

_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_IDENTITY = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID})

_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
UNDEFINED_LENGTH = 0xFFFFFFFF
_SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO"}
    | {b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})

_HEAD = 1 << 16  # bytes that hold all elements before the pixels of most objects
_EXPLICIT_LITTLE_ENDIAN = struct.Struct("<L2sH")
_INFLATED_HEAD = 1 << 20  # identity elements of a deflated data set lie well within the first MiB
_INFLATE_CHUNK = 1 << 16


def read_identity(data: bytes | bytearray | memoryview, transfer_syntax: str) -> InstanceRef:
    """Walk the whole data set and return the UIDs found in it; a missing UID is an empty string.

    Raises Quarantine with TRUNCATED when an element, a sequence or the deflated stream ends after the data
    do, and with UNREADABLE when the bytes are no data set. Values are not looked at, pixels not touched;
    memory stays flat whatever a length field or a deflated stream claims.
    """
    if transfer_syntax in DEFLATED:
        return _identity(_inflated_head(data), transfer_syntax, whole=False)
    return _identity(data, transfer_syntax, whole=True)


def _identity(data: bytes | bytearray | memoryview, transfer_syntax: str, *, whole: bool) -> InstanceRef:
    found = dict.fromkeys(_IDENTITY, "")
    walker = Walker(data, transfer_syntax)
    if not len(data):
        raise Quarantine(Reason.UNREADABLE, "the data set is empty")
    try:
        if not 0x0001 < walker.first_group() < 0xFFFE:
            raise Quarantine(Reason.UNREADABLE, "the first element's tag belongs to no data set")
        for tag, start, stop in walker.find(_IDENTITY):
            found[tag] = bytes(data[start:stop]).rstrip(b"\0 ").decode("ascii", "replace")
    except Quarantine as problem:
        if whole or problem.reason is not Reason.TRUNCATED:
            raise
    return InstanceRef(
        StudyInstanceUID=found[_STUDY_INSTANCE_UID],
        SeriesInstanceUID=found[_SERIES_INSTANCE_UID],
        SOPInstanceUID=found[_SOP_INSTANCE_UID],
        SOPClassUID=found[_SOP_CLASS_UID],
    )


def _inflated_head(data: bytes | bytearray | memoryview) -> bytes:
    """The first part of a deflated data set, after the stream was followed to its end (PS3.5 A.5)."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    head = bytearray()
    try:
        for start in range(0, len(data), _INFLATE_CHUNK):
            pending: bytes | bytearray | memoryview = data[start : start + _INFLATE_CHUNK]
            while pending and not inflate.eof:
                chunk = inflate.decompress(pending, _INFLATE_CHUNK)
                pending = inflate.unconsumed_tail
                if len(head) < _INFLATED_HEAD:
                    head += chunk
        while not inflate.eof and (chunk := inflate.decompress(b"", _INFLATE_CHUNK)):
            if len(head) < _INFLATED_HEAD:
                head += chunk
    except zlib.error:
        raise Quarantine(Reason.UNREADABLE, "the deflated stream is corrupt") from None
    if not inflate.eof:
        raise Quarantine(Reason.TRUNCATED, "the deflated stream breaks off")
    return bytes(head)


class Walker:
    """Reads element headers one after the other; nesting is a list, never the call stack."""

    def __init__(self, data: bytes | bytearray | memoryview, transfer_syntax: str) -> None:
        order = ">" if transfer_syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
        self._implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
        self._data = data
        self._end = len(data)
        self._quick = order == "<" and not self._implicit
        self._tag_and_length = struct.Struct(order + "HHL").unpack_from
        self._length16 = struct.Struct(order + "H").unpack_from
        self._length32 = struct.Struct(order + "L").unpack_from

    def first_group(self) -> int:
        """The group of the first element. Raises Quarantine as ``find``."""
        return self.header(0, self._implicit)[0] >> 16

    def find(self, tags: Collection[int]) -> Iterator[tuple[int, int, int]]:
        """Walk to the end of the data set: where the value of each top-level element with one of ``tags`` is.

        Raises Quarantine for what is no data set, or ends in the middle.
        """
        position, end = 0, self._end
        head = bytes(self._data[:_HEAD])  # from which elements are read in half the time
        quick, swapped = len(head) - 8 if self._quick else -1, {_swapped(tag): tag for tag in tags}
        explicit, short = _EXPLICIT_LITTLE_ENDIAN.unpack_from, _SHORT_VRS
        while position < end:
            while position <= quick:  # nearly every element: how long this takes is how long the walk takes
                turned, vr, length = explicit(head, position)
                if vr not in short or turned & 0xFFFF == 0xFFFE:
                    break
                start = position + 8
                position = start + length
                if position > end:
                    raise _truncated(_swapped(turned))
                if turned in swapped:
                    yield swapped[turned], start, position
            if position == end:
                break
            tag, start, position = self._element(position)
            if tag in tags:
                yield tag, start, position

    def elements(self) -> Iterator[tuple[int, int, int]]:
        """The tag of each top-level element and where its value starts and stops; raises as ``find``."""
        position = 0
        while position < self._end:
            tag, start, position = self._element(position)
            yield tag, start, position

    def _element(self, position: int) -> tuple[int, int, int]:
        tag, vr, start, length = self.header(position, self._implicit)
        if length == UNDEFINED_LENGTH:
            return tag, start, self._skip_undefined(start, self._implicit or vr == b"UN", tag)
        if start + length > self._end:
            raise _truncated(tag)
        return tag, start, start + length

    def header(self, position: int, implicit: bool) -> tuple[int, bytes, int, int]:
        """Of an element: tag, VR (empty when implicit), where the value starts, and its length."""
        if position + 8 > self._end:
            raise Quarantine(Reason.TRUNCATED, "the data set ends inside an element's header")
        group, element, length = self._tag_and_length(self._data, position)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            return tag, b"", position + 8, length
        vr = bytes(self._data[position + 4 : position + 6])
        if vr in _LONG_VRS:
            if position + 12 > self._end:
                raise Quarantine(Reason.TRUNCATED, "the data set ends inside an element's header")
            return tag, vr, position + 12, self._length32(self._data, position + 8)[0]
        if not vr.isalpha():  # some writers mix implicit elements into explicit data sets
            return tag, b"", position + 8, length
        return tag, vr, position + 8, self._length16(self._data, position + 6)[0]

    def _skip_undefined(self, position: int, implicit: bool, tag: int) -> int:
        """The position after a sequence or encapsulated value of undefined length (PS3.5 7.5, A.4).

        UN with undefined length holds implicit VR, whatever surrounds it (PS3.5 6.2.2).
        """
        open_items: list[tuple[bool, bool]] = [(False, implicit)]  # (inside an item, implicit)
        while open_items:
            inside_item, implicit = open_items[-1]
            inner, vr, start, length = self.header(position, implicit)
            position = start
            if inner == (_ITEM_END if inside_item else _SEQUENCE_END):
                open_items.pop()
            elif inner >> 16 == 0xFFFE and (inside_item or inner != _ITEM):
                raise Quarantine(Reason.UNREADABLE, f"misplaced delimiter in {_name(tag)}")
            elif not inside_item and inner != _ITEM:
                raise Quarantine(Reason.UNREADABLE, f"no item where {_name(tag)} must have one")
            elif length == UNDEFINED_LENGTH:
                open_items.append((not inside_item, implicit or vr == b"UN"))
            else:
                position += length
                if position > self._end:
                    raise _truncated(tag)
        return position


def _swapped(tag: int) -> int:
    """A tag with its group and its element in each other's place, as four bytes in Little Endian make one number."""
    return (tag & 0xFFFF) << 16 | tag >> 16


def _truncated(tag: int) -> Quarantine:
    return Quarantine(Reason.TRUNCATED, f"{_name(tag)} is longer than the data that came")


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
