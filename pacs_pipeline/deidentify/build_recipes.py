"""Writes the committed recipes from Table E.1-1: ``python -m pacs_pipeline.deidentify.build_recipes``.

A test compares the committed files with what this module generates, so a recipe is changed here or not at all.
"""

from __future__ import annotations

from pathlib import Path

from pydicom.datadict import dictionary_VR

from pacs_pipeline.deidentify.confidentiality_table import MODIFIED_DATES, TABLE, TableRow, read_table

RECIPES = Path(__file__).with_name("recipes")

# Combinations are resolved without knowing the IOD: the alternative that is conformant for every type of
# attribute. A zero-length value serves types 2 and 3, a dummy serves all three (PS3.15 E.1, X/Z, Z/D …).
CONSERVATIVE = {
    "X": "X",
    "Z": "Z",
    "D": "D",
    "U": "U",
    "X/Z": "Z",
    "X/D": "D",
    "Z/D": "D",
    "X/Z/D": "D",
    "X/Z/U*": "U*",
}
LINES = {
    "X": "REMOVE {field}",
    "Z": "BLANK {field}",
    "D": "REPLACE {field} func:dummy",
    "U": "REPLACE {field} func:uid",
    "U*": "KEEP {field}",  # a sequence: its items are cleaned by their own rules, UIDs replaced
}
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
    return LINES[CONSERVATIVE[row.basic]].format(field=field_of(row.tag))


def modified_dates_line(row: TableRow) -> str | None:
    """The line of the Modified Dates option, or None where the basic action stands.

    Dates and date-times move by the patient's shift. The shift is in whole days, so a time of day and a
    zone are already consistent and stay. Dates hidden in other VRs (text, OB) keep the basic action.
    """
    if row.options.get(MODIFIED_DATES) != "C":
        return None
    try:
        vr = dictionary_VR(int(row.tag, 16))
    except KeyError:  # newer than pydicom's dictionary: the engine cannot know its VR
        return None
    field = field_of(row.tag)
    if vr in ("DA", "DT"):
        return f"JITTER {field} func:date_shift"
    if vr == "TM" or row.tag == "00080201":  # Timezone Offset From UTC
        return f"KEEP {field}"
    return None


def recipes() -> dict[str, str]:
    """The text of every committed recipe by file name."""
    rows = read_table()
    basic = ["# PS3.15 2026d Basic Application Level Confidentiality Profile (CID 7050: 113100)."]
    dates = ["# PS3.15 2026d option Retain Longitudinal Temporal Information with Modified Dates (CID 7050: 113107)."]
    for lines in (basic, dates):
        lines += [f"# Generated from {TABLE} by pacs_pipeline.deidentify.build_recipes; do not edit.", ""]
        lines += ["FORMAT dicom", "", "%header", ""]
    dates.insert(2, "# Layered on the basic recipe: for one field the later line holds.")
    for row in rows:
        basic += [f"# {row.name}: {row.basic}", basic_line(row)]
        line = modified_dates_line(row)
        if line is not None:
            dates += [f"# {row.name}: {row.basic}, with modified dates C", line]
    return {"basic.deid": "\n".join(basic) + "\n", "modified_dates.deid": "\n".join(dates) + "\n"}


def main() -> None:
    """Write the recipes beside this module."""
    for name, text in recipes().items():
        (RECIPES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
