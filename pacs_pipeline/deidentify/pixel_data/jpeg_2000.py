"""One JPEG 2000 codestream (ISO 15444-1 Annex A, with high throughput, 15444-15): comments are cut out."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pacs_pipeline.deidentify.pixel_data.edits import Edits
from pacs_pipeline.deidentify.pixel_data.stamps import is_stamp
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

_SOC_SIZ, _SOT, _SOD, _EOC, _COM, _TLM = b"\xff\x4f\xff\x51", 0xFF90, 0xFF93, 0xFFD9, 0xFF64, 0xFF55
# SIZ CAP COD COC TLM PLM PLT CPF QCD QCC RGN POC PPM PPT CRG: headers, lengths and packed headers
_KNOWN = frozenset(
    0xFF00 | code for code in (0x50, 0x51, 0x52, 0x53, 0x55, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x63)
)
_SHORTEST_PART = 14  # bytes of SOT and SOD


@dataclass(frozen=True, slots=True)
class _Segment:
    code: int
    start: int
    stop: int


def cleaned(data: bytes) -> bytes:
    """``data`` without comments and without bytes behind its end; itself when it has none.

    A comment in the header of a tile-part shortens it: its length (Psot) and the list of lengths (TLM) follow. A
    list that was not right before is dropped; no decoder needs it. Packets stay as they are, their lengths (PLT,
    PLM, PPM, PPT) too. Raises Quarantine: TRUNCATED, HIDDEN_CONTENT.
    """
    if data[:4] != _SOC_SIZ:
        raise Quarantine(Reason.HIDDEN_CONTENT, "a frame is no JPEG 2000 codestream")
    edits = Edits(data)
    position, lists, _ = _header(edits, 2, _SOT)
    before: list[int] = []
    after: list[int] = []
    while _code(data, position) == _SOT:
        start = position
        position, size, cut = _tile_part(edits, start)
        before.append(size)
        after.append(size - cut)
    if _code(data, position) != _EOC:
        raise Quarantine(Reason.TRUNCATED, "a JPEG 2000 codestream is damaged or cut off")
    _correct_lists(edits, lists, before, after)
    edits.cut_tail(position + 2)
    return edits.made()


def _code(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 2], "big")


def _header(edits: Edits, position: int, end: int) -> tuple[int, list[_Segment], int]:
    """Walk a header up to the marker ``end``: where that stands, the TLM segments, and how many bytes are cut."""
    data, lists, cut = edits.data, [], 0
    while (code := _code(data, position)) != end:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        stop = position + 2 + length
        if code < 0xFF00 or length < 2 or stop > len(data):
            raise Quarantine(Reason.TRUNCATED, "a JPEG 2000 codestream is damaged or cut off")
        if code == _COM:
            registration, comment = data[position + 4 : position + 6], data[position + 6 : stop]
            if registration not in (b"\0\0", b"\0\1") or not is_stamp(comment):
                edits.replace(position, stop)
                cut += stop - position
        elif code == _TLM:
            lists.append(_Segment(code, position, stop))
        elif code not in _KNOWN:
            raise Quarantine(Reason.HIDDEN_CONTENT, "a JPEG 2000 codestream carries an unknown segment")
        position = stop
    return position, lists, cut


def _tile_part(edits: Edits, start: int) -> tuple[int, int, int]:
    """Walk the tile-part at ``start`` (A.4.2): where it ends, its length, and how many bytes of it are cut."""
    data = edits.data
    if data[start + 2 : start + 4] != b"\0\x0a" or start + 12 > len(data):
        raise Quarantine(Reason.TRUNCATED, "a JPEG 2000 codestream is damaged or cut off")
    (size,) = struct.unpack_from(">L", data, start + 6)
    packets, lists, cut = _header(edits, start + 12, _SOD)
    if lists:
        raise Quarantine(Reason.HIDDEN_CONTENT, "a JPEG 2000 tile-part carries a list of tile-parts")
    packets += 2
    # never within packets, since no two of their bytes make a marker (B.10.1)
    found = data.find(b"\xff\xd9", packets, start + size if size else len(data))
    end = start + size if size else found
    if end > len(data) or end < max(packets, start + _SHORTEST_PART):
        raise Quarantine(Reason.TRUNCATED, "a JPEG 2000 codestream is cut off")
    if 0 <= found < end:
        raise Quarantine(Reason.HIDDEN_CONTENT, "bytes follow the end of a JPEG 2000 codestream within a tile-part")
    if size and cut:
        edits.replace(start + 6, start + 10, struct.pack(">L", size - cut))
    return end, end - start, cut


def _correct_lists(edits: Edits, lists: list[_Segment], before: list[int], after: list[int]) -> None:
    """Make the TLM segments (A.7.1) say the new lengths of the tile-parts; drop them when they do not say the old."""
    entries: list[tuple[int, int]] = []  # where each length stands, and in how many bytes
    for segment in sorted(lists, key=lambda one: edits.data[one.start + 4]):
        index, width = _widths(edits.data, segment)
        each = index + width
        count, rest = divmod(segment.stop - segment.start - 6, each)
        if rest or count < 1:
            entries = []
            break
        entries += [(segment.start + 6 + number * each + index, width) for number in range(count)]
    if [int.from_bytes(edits.data[at : at + width], "big") for at, width in entries] != before:
        for segment in lists:
            edits.replace(segment.start, segment.stop)
        return
    for (at, width), length in zip(entries, after, strict=True):
        edits.replace(at, at + width, length.to_bytes(width, "big"))


def _widths(data: bytes, segment: _Segment) -> tuple[int, int]:
    """Bytes of an index and of a length in a TLM segment, by its Stlm."""
    if segment.stop - segment.start < 6:
        return 0, 2
    kind = data[segment.start + 5]
    return kind >> 4 & 3, 4 if kind >> 6 & 1 else 2
