"""Where a DICOM file belongs: its first elements, read in windows, without its pixels (PS3.10 7, PS3.5 7)."""

from __future__ import annotations

import datetime as dt
import re
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import IntEnum

from pydicom.charset import python_encoding
from pydicom.datadict import keyword_for_tag
from pydicom.valuerep import VR

from pacs_pipeline.errors import Quarantine
from pacs_pipeline.pacs.encoded import (
    DEFLATED,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    UNDEFINED_LENGTH,
    Walker,
)
from pacs_pipeline.pacs.uids import is_uid
from pacs_pipeline.records import Reason

Read = Callable[[int, int], bytes]
"""Gives so many bytes from a position on, fewer at the end."""

WINDOW = 1 << 13
_LARGEST_WINDOW = 1 << 26  # of an element of undefined length that lies before the identifying ones
_LONGEST_VALUE = 1 << 16
_INFLATED_HEAD = 1 << 20

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_PREAMBLE = 128
_META_GROUP = 0x0002
_META_LENGTH, _META_CLASS, _META_INSTANCE, _META_SYNTAX = 0x00020000, 0x00020002, 0x00020003, 0x00020010
_STUDY, _SERIES, _INSTANCE, _CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
_CHARACTER_SET, _DATE, _TIME, _MODALITY = 0x00080005, 0x00080020, 0x00080030, 0x00080060
_INSTITUTION, _DESCRIPTION, _AGE, _BIRTH = 0x00080080, 0x00081030, 0x00101010, 0x00100030
_WANTED = frozenset(
    {_STUDY, _SERIES, _INSTANCE, _CLASS, _CHARACTER_SET, _DATE, _TIME, _MODALITY}
    | {_INSTITUTION, _DESCRIPTION, _AGE, _BIRTH}
)
_PIXELS = 0x7FE00000

_DATE_FORM = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # with dots: ACR-NEMA, PS3.5 6.2
_TIME_FORM = re.compile(r"[0-9:.]{1,16}")
_AGE_FORM = re.compile(r"(\d{1,3})([DWMY])")
_PER_YEAR = {"D": 365.2425, "W": 365.2425 / 7, "M": 12.0, "Y": 1.0}
_MODALITY_FORM = re.compile(r"[A-Z0-9_ ]{1,16}")
_VRS = frozenset(str(vr.value).encode() for vr in VR if len(vr.value) == 2)


class Kind(IntEnum):
    """What a file turned out to be."""

    INSTANCE = 0
    UNREADABLE = 1  # DICOM or once meant to be, but damaged, nameless or locked away
    FOREIGN = 2  # nothing in it says DICOM
    DIRECTORY = 3  # a DICOMDIR, which lists files and is no instance


@dataclass(frozen=True, slots=True)
class Header:
    """What the first elements of a file say. ``start`` is where its data set begins, in bytes."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    TransferSyntaxUID: str
    StudyDate: dt.date | None  # None: absent or no day of the calendar
    StudyTime: str
    Modality: str
    StudyDescription: str
    InstitutionName: str
    age_years: int | None  # completed, at the study
    start: int


def read_header(read: Read, size: int, window: int = WINDOW) -> Header | Kind:
    """The header of a file of ``size`` bytes, or what the file is when it is no instance.

    Files without preamble or without File Meta Information are read as what their first bytes look like. Raises
    Quarantine (UNREADABLE, TRUNCATED) when it is a DICOM file that does not say where it belongs.
    """
    head = _some(read, 0, min(max(window, 2 * _PREAMBLE), size))
    meta, syntax, start = _file_meta(read, size, head, window)
    if meta.get(_META_CLASS) == _MEDIA_STORAGE_DIRECTORY:
        return Kind.DIRECTORY
    if not syntax:
        first = read(start, 16)
        syntax = _looks_like(first, size - start)
        if not syntax:
            if not meta:
                return Kind.FOREIGN
            raise Quarantine(Reason.UNREADABLE, "TransferSyntaxUID is missing")
    values = dict(_elements(read, start, size, syntax, window, head[start:]))
    found = {tag: values.get(tag, b"").rstrip(b"\0 ").decode("ascii", "replace").strip() for tag in _WANTED}
    instance = found[_INSTANCE] or meta.get(_META_INSTANCE, "")
    for tag, uid in ((_STUDY, found[_STUDY]), (_SERIES, found[_SERIES]), (_INSTANCE, instance)):
        if not is_uid(uid):
            raise Quarantine(Reason.UNREADABLE, f"{keyword_for_tag(tag)} is missing or no UID")
    sop_class = found[_CLASS] or meta.get(_META_CLASS, "")
    date = _date(found[_DATE])
    encoding = _encoding(found[_CHARACTER_SET])
    return Header(
        StudyInstanceUID=found[_STUDY],
        SeriesInstanceUID=found[_SERIES],
        SOPInstanceUID=instance,
        SOPClassUID=sop_class if is_uid(sop_class) else "",
        TransferSyntaxUID=syntax,
        StudyDate=date,
        StudyTime=_matching(_TIME_FORM, found[_TIME]),
        Modality=_matching(_MODALITY_FORM, found[_MODALITY].upper()),
        StudyDescription=_text(values.get(_DESCRIPTION, b""), encoding),
        InstitutionName=_text(values.get(_INSTITUTION, b""), encoding),
        age_years=_age(found[_AGE], _date(found[_BIRTH]), date),
        start=start,
    )


def _file_meta(read: Read, size: int, head: bytes, window: int) -> tuple[dict[int, str], str, int]:
    """The File Meta Information, the transfer syntax (empty when not told), and where the data set starts."""
    if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        position = _PREAMBLE + 4
    elif head[:4] == b"DICM":  # the preamble was cut off
        position = 4
    elif head[:2] == b"\x02\0" and head[4:6] in _VRS:
        position = 0
    else:
        return {}, "", 0
    meta: dict[int, str] = {}
    content, end = head, None
    while position < size and position != end:
        if position + 12 > len(content) and len(content) < size:
            content = _some(read, 0, min(size, 2 * len(content)))
            continue
        if content[position : position + 2] != b"\x02\0":
            break
        tag, _, start, length = Walker(content, EXPLICIT_VR_LITTLE_ENDIAN).header(position, False)
        if length == UNDEFINED_LENGTH or start + length > size:
            raise Quarantine(Reason.TRUNCATED, "the file ends inside its File Meta Information")
        if start + length > len(content):
            if start + length > _LARGEST_WINDOW:
                raise Quarantine(Reason.UNREADABLE, "its File Meta Information is too long")
            content = _some(read, 0, min(size, start + length + window))
        value = content[start : start + length]
        if tag == _META_LENGTH and length == 4:
            end = start + 4 + struct.unpack("<L", value)[0]
        elif tag in (_META_CLASS, _META_INSTANCE, _META_SYNTAX):
            meta[tag] = value.rstrip(b"\0 ").decode("ascii", "replace").strip()
        position = start + length
    return meta or {_META_LENGTH: ""}, meta.get(_META_SYNTAX, ""), position


def _looks_like(first: bytes, size: int) -> str:
    """The transfer syntax that the first element of a data set suggests; empty when it looks like none."""
    if len(first) < 8:
        return ""
    if first[:2] == b"\x08\0":
        if first[4:6] in _VRS:
            return EXPLICIT_VR_LITTLE_ENDIAN
        return IMPLICIT_VR_LITTLE_ENDIAN if struct.unpack_from("<L", first, 4)[0] <= size - 8 else ""
    return EXPLICIT_VR_BIG_ENDIAN if first[:2] == b"\0\x08" and first[4:6] in _VRS else ""


def _elements(read: Read, start: int, size: int, syntax: str, window: int, ahead: bytes) -> Iterator[tuple[int, bytes]]:
    """The wanted top-level elements with their values; what lies between is walked over, or past when it is long.

    ``ahead`` is what was read of the data set already.
    """
    if syntax in DEFLATED:
        head = _inflated(read, start, size, window)
        yield from _walk(
            lambda at, length: head[at : at + length], 0, len(head), EXPLICIT_VR_LITTLE_ENDIAN, window, b""
        )
    else:
        yield from _walk(read, start, size, syntax, window, ahead)


def _walk(read: Read, start: int, size: int, syntax: str, window: int, ahead: bytes) -> Iterator[tuple[int, bytes]]:
    missing = {_STUDY, _SERIES, _INSTANCE}
    offset, length = start, window
    while offset < size:
        content = ahead or _some(read, offset, min(length, size - offset))
        ahead = b""
        walker = Walker(content, syntax)
        position = 0
        try:
            for tag, first, last in walker.elements():
                if tag in _WANTED:
                    missing.discard(tag)
                    yield tag, content[first:last]
                elif _is_enough(tag, missing):
                    return
                position = last
        except Quarantine as problem:
            if problem.reason is not Reason.TRUNCATED:
                raise
            if _is_enough(_tag_at(walker, position, len(content), syntax), missing):
                return
        if position == len(content):
            offset, length = offset + position, window
        elif offset + len(content) >= size:
            if not missing:
                return  # it belongs somewhere; that it is cut off is seen when it is fetched
            raise Quarantine(Reason.TRUNCATED, "the file ends before it says where it belongs")
        elif position:
            offset, length = offset + position, window
        else:
            offset, length = _past(walker, offset, len(content), syntax)


def _is_enough(tag: int, missing: Collection[int]) -> bool:
    """Whether nothing of interest can come from ``tag`` on: elements are in order (PS3.5 7.1)."""
    return tag >= _PIXELS or (tag > _SERIES and not missing)


def _tag_at(walker: Walker, position: int, end: int, syntax: str) -> int:
    """The tag of an element of which not everything is there; 0 when not even its tag is."""
    return walker.header(position, syntax == IMPLICIT_VR_LITTLE_ENDIAN)[0] if position + 12 <= end else 0


def _past(walker: Walker, offset: int, length: int, syntax: str) -> tuple[int, int]:
    """Where to read on, and how much, when the element at ``offset`` is longer than what was read of it."""
    tag, _, start, value = walker.header(0, syntax == IMPLICIT_VR_LITTLE_ENDIAN)
    if value == UNDEFINED_LENGTH:
        if tag >= _PIXELS or 2 * length > _LARGEST_WINDOW:
            raise Quarantine(Reason.UNREADABLE, "an element before the identifying ones is too long")
        return offset, 2 * length
    if tag in _WANTED:
        if value > _LONGEST_VALUE:
            raise Quarantine(Reason.UNREADABLE, f"{keyword_for_tag(tag)} is too long")
        return offset, start + value
    return offset + start + value, max(length, WINDOW)


def _some(read: Read, start: int, length: int) -> bytes:
    """Exactly so many bytes; a file that has become shorter has changed."""
    content = read(start, length)
    if len(content) < length:
        raise Quarantine(Reason.TRUNCATED, "the file became shorter while it was read")
    return content


def _inflated(read: Read, start: int, size: int, window: int) -> bytes:
    """The first part of a deflated data set (PS3.5 A.5)."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    head = bytearray()
    try:
        while start < size and not inflate.eof and len(head) < _INFLATED_HEAD:
            content = _some(read, start, min(window, size - start))
            start += len(content)
            head += inflate.decompress(content, _INFLATED_HEAD)
    except zlib.error:
        raise Quarantine(Reason.UNREADABLE, "the deflated stream is corrupt") from None
    return bytes(head)


def _date(text: str) -> dt.date | None:
    match = _DATE_FORM.fullmatch(text)
    if match is None:
        return None
    try:
        return dt.date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def _age(text: str, born: dt.date | None, date: dt.date | None) -> int | None:
    """Completed years at the study, by PatientAge or else by PatientBirthDate."""
    match = _AGE_FORM.fullmatch(text.upper())
    if match:
        return int(int(match[1]) / _PER_YEAR[match[2]])
    if born is None or date is None or born > date:
        return None
    return date.year - born.year - ((date.month, date.day) < (born.month, born.day))


def _matching(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else ""


def _encoding(character_set: str) -> str:
    name = character_set.split("\\")[0].strip()
    encodings = python_encoding.get(name, "latin-1")
    return encodings if isinstance(encodings, str) else "latin-1"


def _text(value: bytes, encoding: str) -> str:
    try:
        return value.decode(encoding, "replace").strip(" \0")
    except LookupError:
        return value.decode("latin-1").strip(" \0")
