"""Value representations (PS3.5 6.2): what a conformant value looks like, and a dummy for each VR."""

from __future__ import annotations

import re
from functools import lru_cache

from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR

TEXT = frozenset(["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"])
SINGLE = frozenset(("LT", "ST", "UT", "UR"))  # a backslash is part of the text
LONG = frozenset(
    ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]
)  # 32-bit length in explicit VR
BULK = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
SIZES = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}
FORMATS = {"AT": "H", "FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
VRS = TEXT | BULK | SIZES.keys() | {"SQ"}

_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?")
_PATTERNS = {
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9 _]{0,16}"),
    "DS": re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"),
    "IS": re.compile(r"[+-]?\d{1,10}"),
    "TM": _TIME,
    "UI": re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+"),
}
LENGTHS = {"AE": 16, "DS": 24, "LO": 64, "SH": 16, "UI": 64}
TIMEZONE = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")

# A dummy is the same for everybody, and conformant for the VR (PS3.15 E.1, action D).
_DUMMY = {
    "AE": "ANONYMIZED",
    "AS": "000D",
    "CS": "OTHER",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "0",
    "LO": "ANONYMIZED",
    "LT": "ANONYMIZED",
    "PN": "ANONYMIZED",
    "SH": "ANONYMIZED",
    "ST": "ANONYMIZED",
    "TM": "000000",
    "UC": "ANONYMIZED",
    "UR": "urn:anonymized",
    "UT": "ANONYMIZED",
}


# SOP classes of PS3.6 2026 that are newer than pydicom's dictionary; an object refers to others by class, too
_NEWER_UIDS = {
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}


@lru_cache(maxsize=65536)
def vrs_of(tag: int) -> tuple[str, ...]:
    """The VRs the standard gives ``tag``; empty when it is private or not in the dictionary."""
    if (tag >> 16) & 1 or tag & 0xFFFF == 0:
        return ()
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return ()
    return () if vr == "NONE" else tuple(vr.split(" or "))


@lru_cache(maxsize=65536)
def most_values(tag: int) -> int | None:
    """How many values the standard allows ``tag`` at most (VM), None when there is no limit."""
    entry = DicomDictionary.get(tag)
    if entry is None or "n" in str(entry[1]):
        return None
    return int(str(entry[1]).split("-")[-1].split(" ")[-1])


@lru_cache(maxsize=65536)
def least_values(tag: int) -> int:
    """How many values the standard wants of ``tag`` at least, where it has any (VM)."""
    entry = DicomDictionary.get(tag)
    least = "1" if entry is None else str(entry[1]).split("-")[0].split(" ")[0]
    return int(least) if least.isdigit() else 1


@lru_cache(maxsize=65536)
def keyword_of(tag: int) -> str:
    """The keyword of ``tag``, or an empty string; repeating groups give that of their first group."""
    entry = DicomDictionary.get(tag)
    if entry is not None:
        return str(entry[4])
    group = tag >> 24
    if group in (0x50, 0x60) and not (tag >> 16) & 1:
        mask = f"{group:02X}xx{tag & 0xFFFF:04X}"
        return str(RepeatersDictionary[mask][4]) if mask in RepeatersDictionary else ""
    return ""


def named(tag: int) -> str:
    """A tag for people: the keyword, or ``(gggg,eeee)``."""
    return keyword_of(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def valid(vr: str, text: str) -> bool:
    """Whether one component, without padding, is a value of ``vr``. For DA and DT see :mod:`dates`."""
    pattern = _PATTERNS.get(vr)
    if pattern is not None and not pattern.fullmatch(text):
        return False
    return len(text) <= LENGTHS.get(vr, 1024)


def dummy(vr: str) -> bytes:
    """The encoded dummy of a VR other than UI and SQ."""
    text = _DUMMY.get(vr)
    return text.encode("ascii") if text is not None else bytes(SIZES.get(vr, 2))


def padded(value: bytes, vr: str) -> bytes:
    """``value`` made even in length, as PS3.5 6.2 pads the VR."""
    if len(value) % 2 == 0:
        return value
    return value + (b" " if vr in TEXT and vr != "UI" else b"\0")


def registered_name(uid: str) -> str:
    """The standard's name of a UID it registered (SOP classes, transfer syntaxes, coding schemes …), or nothing."""
    entry = UID_dictionary.get(uid)
    return str(entry[0]) if entry is not None else _NEWER_UIDS.get(uid, "")


def is_registered(uid: str) -> bool:
    """Whether the standard itself registered ``uid``."""
    return uid in UID_dictionary or uid in _NEWER_UIDS
