"""The head of a Part 10 file while it comes: preamble and File Meta Information (PS3.10 7.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

_PREAMBLE = 128
_MAGIC = b"DICM"
_LONGEST_META = 1 << 20
_LONGEST_UID = 128  # no UID is longer than 64; what is longer is none, and is said to be none later
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<L")

_MEDIA_STORAGE_SOP_CLASS_UID = 0x0002
_MEDIA_STORAGE_SOP_INSTANCE_UID = 0x0003
_TRANSFER_SYNTAX_UID = 0x0010


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the File Meta Information says of the instance; empty where it says nothing."""

    MediaStorageSOPClassUID: str
    MediaStorageSOPInstanceUID: str
    TransferSyntaxUID: str


def read_file_meta(chunks: Iterator[memoryview]) -> tuple[FileMeta, bytes]:
    """Take the head of a file from ``chunks``; returns it with the bytes of the data set that came along.

    Elements are taken as long as they are of group 0002: what FileMetaInformationGroupLength says may be wrong.
    Raises Quarantine with UNREADABLE for what is no Part 10 file, and with TRUNCATED when it ends too soon.
    """
    head = bytearray()
    found: dict[int, str] = {}
    position = _PREAMBLE + len(_MAGIC)
    for chunk in chunks:
        head += chunk
        if len(head) >= position and head[_PREAMBLE : _PREAMBLE + len(_MAGIC)] != _MAGIC:
            break
        while (end := _element_end(head, position)) > position:
            _take(head, position, end, found)
            position = end
        if end == position:
            return _file_meta(found), bytes(memoryview(head)[position:])
        if len(head) > _LONGEST_META:
            raise Quarantine(Reason.UNREADABLE, "its File Meta Information does not end")
    if head[_PREAMBLE : _PREAMBLE + len(_MAGIC)] != _MAGIC:
        raise Quarantine(Reason.UNREADABLE, "it is no DICOM file")
    if position == len(head):
        return _file_meta(found), b""
    raise Quarantine(Reason.TRUNCATED, "it ends inside its File Meta Information")


def _element_end(head: bytearray, position: int) -> int:
    """Where the element of group 0002 at ``position`` ends: there when there is none, -1 when more has to come."""
    if len(head) < position + _SHORT.size:
        return -1 if b"\x02\x00".startswith(head[position : position + 2]) else position
    group, _, vr, length = _SHORT.unpack_from(head, position)
    if group != 0x0002:
        return position
    if not vr.isalpha():
        raise Quarantine(Reason.UNREADABLE, "its File Meta Information is not in Explicit VR Little Endian")
    start = position + _SHORT.size
    if vr in _LONG_VRS:
        if len(head) < start + _LONG.size:
            return -1
        (length,) = _LONG.unpack_from(head, start)
        start += _LONG.size
    if length > _LONGEST_META:
        raise Quarantine(Reason.UNREADABLE, "its File Meta Information does not end")
    return start + length if len(head) >= start + length else -1


def _take(head: bytearray, position: int, end: int, found: dict[int, str]) -> None:
    _, element, _, length = _SHORT.unpack_from(head, position)
    if element in (_MEDIA_STORAGE_SOP_CLASS_UID, _MEDIA_STORAGE_SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID):
        value = bytes(head[end - min(length, _LONGEST_UID) : end])
        found[element] = value.rstrip(b"\0 ").decode("ascii", "replace")


def _file_meta(found: dict[int, str]) -> FileMeta:
    return FileMeta(
        found.get(_MEDIA_STORAGE_SOP_CLASS_UID, ""),
        found.get(_MEDIA_STORAGE_SOP_INSTANCE_UID, ""),
        found.get(_TRANSFER_SYNTAX_UID, ""),
    )
