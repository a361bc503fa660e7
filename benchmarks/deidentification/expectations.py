"""What the standard expects of a profile: Table E.1-1 with the option columns the profile retains."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydicom.datadict import dictionary_VR

import pacs_pipeline.deidentify.tables

TABLE = Path(pacs_pipeline.deidentify.tables.__file__).parent / "ps3_15_2026d_table_e1_1.csv"

MODIFIED_DATES = "retain_longitudinal_modified_dates"
FULL_DATES = "retain_longitudinal_full_dates"
PATIENT = "retain_patient_characteristics"
DEVICE = "retain_device_identity"
DESCRIPTORS = "clean_descriptors"
STRUCTURED = "clean_structured_content"
SAFE_PRIVATE = "retain_safe_private"
PIXELS = "clean_pixel_data"

OPTIONS: dict[str, frozenset[str]] = {
    "basic": frozenset(),
    "basic-modified-dates": frozenset({MODIFIED_DATES}),
    "research": frozenset({MODIFIED_DATES, PATIENT, DEVICE, DESCRIPTORS, STRUCTURED, SAFE_PRIVATE, PIXELS}),
    "limited": frozenset({FULL_DATES, PATIENT, DESCRIPTORS, STRUCTURED, SAFE_PRIVATE, PIXELS}),
}
"""The named profiles of the project by the option columns of PS3.15 Table E.1-1 they stand for."""

_NOT_IN_PYDICOM = {  # PS3.6 2026d
    0x00100011: "SQ", 0x00100012: "LT", 0x00100013: "UT", 0x00100014: "SQ", 0x00100015: "SQ", 0x00100016: "UT",
    0x00100041: "SQ", 0x00100042: "UT", 0x00100043: "SQ", 0x00100044: "SQ", 0x00100045: "UT", 0x00100046: "SQ",
    0x00100047: "UR", 0x00102162: "UC", 0x00081301: "SQ", 0x00081302: "SQ", 0x00081303: "SQ", 0x00081304: "SQ",
    0x0040A034: "DT", 0x0040A035: "DT", 0x0040B034: "DT", 0x0040B036: "DT", 0x0040B03B: "LO", 0x0040B03F: "LO",
    0x0040E012: "UR", 0x3004007F: "LO",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A row of Table E.1-1 with a single tag, and what the profile makes of it: ``K``, ``C``, ``U`` or ``X``.

    ``K`` keeps the value, ``C`` cleans it, also when another option keeps it, ``U`` replaces a UID; everything else
    takes the value away.
    """

    tag: int
    name: str
    vr: str
    effect: str
    dates: bool


def vr_of(tag: int) -> str:
    """The first VR that PS3.6 gives ``tag``."""
    return _NOT_IN_PYDICOM.get(tag) or dictionary_VR(tag).split(" or ")[0]


@lru_cache
def rows(profile: str) -> tuple[Row, ...]:
    """The rows of the table that name one attribute, under ``profile``. Raises KeyError for an unknown profile."""
    options = OPTIONS[profile]
    found = []
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["tag"] == "PRIVATE" or "x" in row["tag"].lower():
                continue  # planted as a place of its own
            tag = int(row["tag"], 16)
            cells = {row[option] for option in options if row.get(option)}
            dates = bool(row[MODIFIED_DATES])
            effect = "C" if "C" in cells else "K" if "K" in cells else "U" if "U" in row["basic_profile"] else "X"
            found.append(Row(tag, row["name"], vr_of(tag), effect, dates))
    return tuple(found)


@lru_cache
def table_tags() -> frozenset[int]:
    """The tags of the table that name one attribute."""
    return frozenset(row.tag for row in rows("basic"))
