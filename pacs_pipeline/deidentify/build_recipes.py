"""Writes the committed recipes from Table E.1-1: ``python -m pacs_pipeline.deidentify.build_recipes``.

A test compares the committed files with what this module generates, so a recipe is changed here or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydicom.datadict import dictionary_VR

from pacs_pipeline.deidentify.confidentiality_table import FULL_DATES, MODIFIED_DATES, TABLE, TableRow, read_table

RECIPES = Path(__file__).with_name("recipes")

LINES = {
    "X": "REMOVE {field}",
    "Z": "BLANK {field}",
    "D": "REPLACE {field} func:dummy",
    "U": "REPLACE {field} func:uid",
    # the engine decides by the attribute's type in the IOD of the instance (PS3.15 E.1)
    "X/Z": "REPLACE {field} func:remove_or_blank",
    "X/D": "REPLACE {field} func:remove_or_dummy",
    "Z/D": "REPLACE {field} func:blank_or_dummy",
    "X/Z/D": "REPLACE {field} func:remove_blank_or_dummy",
    "X/Z/U*": "KEEP {field}",  # a sequence: its items are cleaned by their own rules, UIDs replaced
}
TIMEZONE_OFFSET = "00080201"
PSEUDONYMS = frozenset({"00100010", "00100020"})  # PatientName, PatientID


def field_of(tag: str) -> str:
    """The recipe's field expression for a table tag, in deid's own notation."""
    if tag == "PRIVATE":
        return r"contains:^\([0-9a-f]{3}[13579bdf],"
    group, element = tag[:4].lower(), tag[4:].lower()
    if "x" in tag:
        return rf"contains:^\({group.replace('xx', '[0-9a-f]{2}')}," + ("" if element == "xxxx" else rf"{element}\)$")
    return f"({group},{element})"


def basic_line(row: TableRow) -> str:
    """The line of the Basic Application Level Confidentiality Profile for one row."""
    if row.tag in PSEUDONYMS:
        return f"REPLACE {field_of(row.tag)} func:pseudonym"
    return LINES[row.basic].format(field=field_of(row.tag))


def modified_dates_line(row: TableRow) -> str | None:
    """The line of the Modified Dates option, or None where the basic action stands.

    Dates and date-times move by the patient's shift. The shift is in whole days, so a time of day and a
    zone are already consistent and stay. Dates hidden in other VRs (text, OB) keep the basic action.
    """
    if row.options.get(MODIFIED_DATES) != "C":
        return None
    vr = _vr(row.tag)
    field = field_of(row.tag)
    if vr in ("DA", "DT"):
        return f"JITTER {field} func:date_shift"
    if vr == "TM" or row.tag == TIMEZONE_OFFSET:
        return f"KEEP {field}"
    return None


def kept_line(row: TableRow, column: str) -> str | None:
    """The line of an option that retains what it lists: kept as it is, or cleaned of what the file knows of people.

    AE titles that an option says to clean keep the basic action: what is not known cannot be cleaned.
    """
    cell = row.options.get(column)
    if column == FULL_DATES and _vr(row.tag) not in ("DA", "DT", "TM") and row.tag != TIMEZONE_OFFSET:
        return None  # dates hidden in other VRs keep the basic action
    if cell == "K":
        return f"KEEP {field_of(row.tag)}"
    if cell == "C" and _vr(row.tag) not in ("AE", ""):
        return f"REPLACE {field_of(row.tag)} func:clean_text"
    return None


def clean_descriptors_line(row: TableRow) -> str | None:
    """The line of the Clean Descriptors option: text is cleaned, sequences are walked (PS3.15 E.3.5)."""
    if row.options.get("clean_descriptors") != "C" or not _vr(row.tag):
        return None
    return f"REPLACE {field_of(row.tag)} func:clean_text"


def clean_content_line(row: TableRow) -> str | None:
    """The line of the Clean Structured Content option for content items outside SR trees (PS3.15 E.3.4).

    ContentSequence itself is a matter of the whole document. Preparation steps and annotations of waveforms are walked:
    codes and numbers by the rules for any, texts by those of Clean Descriptors.
    """
    if row.tag == "00400555":  # Acquisition Context Sequence
        return f"REPLACE {field_of(row.tag)} func:clean_content"
    return f"KEEP {field_of(row.tag)}" if row.tag in ("00400610", "0040B020") else None


def _vr(tag: str) -> str:
    """The VR of a table row, nothing for repeating groups and what is newer than pydicom's dictionary."""
    try:
        return dictionary_VR(int(tag, 16))
    except (KeyError, ValueError):
        return ""


def recipes() -> dict[str, str]:
    """The text of every committed recipe by file name."""
    rows = read_table()
    texts = {
        "basic.deid": _recipe("Basic Application Level Confidentiality Profile", "113100", rows, "", basic_line),
        "modified_dates.deid": _recipe(
            "option Retain Longitudinal Temporal Information with Modified Dates",
            "113107",
            rows,
            MODIFIED_DATES,
            modified_dates_line,
        ),
        "clean_descriptors.deid": _recipe(
            "option Clean Descriptors", "113105", rows, "clean_descriptors", clean_descriptors_line
        ),
    }
    texts["structured_content.deid"] = _recipe(
        "option Clean Structured Content", "113104", rows, "clean_structured_content", clean_content_line
    )
    for name, title, code, column in (
        ("full_dates", "Retain Longitudinal Temporal Information with Full Dates", "113106", FULL_DATES),
        ("patient_characteristics", "Retain Patient Characteristics", "113108", "retain_patient_characteristics"),
        ("device_identity", "Retain Device Identity", "113109", "retain_device_identity"),
        ("uids", "Retain UIDs", "113110", "retain_uids"),
        ("institution_identity", "Retain Institution Identity", "113112", "retain_institution_identity"),
    ):
        texts[f"{name}.deid"] = _recipe(f"option {title}", code, rows, column, partial(kept_line, column=column))
    return texts


def _recipe(
    title: str, code: str, rows: Sequence[TableRow], column: str, line_of: Callable[[TableRow], str | None]
) -> str:
    lines = [f"# PS3.15 2026d {title} (CID 7050: {code})."]
    if column:
        lines.append("# Layered on the basic recipe: for one field the later line holds.")
    lines += [f"# Generated from {TABLE} by pacs_pipeline.deidentify.build_recipes; do not edit.", ""]
    lines += ["FORMAT dicom", "", "%header", ""]
    for row in rows:
        line = line_of(row)
        if line is not None:
            cell = f", with this option {row.options[column]}" if column else ""
            lines += [f"# {row.name}: {row.basic}{cell}", line]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the recipes beside this module."""
    for name, text in recipes().items():
        (RECIPES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
