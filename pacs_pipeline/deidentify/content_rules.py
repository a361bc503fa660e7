"""PS3.15 Table E.3.4-1 for the options of a profile: what happens to a content item by its concept and value type."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Literal

from pacs_pipeline.deidentify import vocabulary

TABLE = "ps3_15_2026d_table_e3_4_1.csv"
ADDITIONS = "structured_content_additions.csv"  # ours, of the same form

CLEAN_PIXELS, CLEAN_GRAPHICS, CLEAN_CONTENT, CLEAN_DESCRIPTORS = "113101", "113103", "113104", "113105"
FULL_DATES, MODIFIED_DATES = "113106", "113107"
# CID 7050: the columns of the table that an option switches on
OPTION_COLUMNS = {
    "113110": "retain_uids",
    "113109": "retain_device_identity",
    "113112": "retain_institution_identity",
    "113108": "retain_patient_characteristics",
    FULL_DATES: "retain_longitudinal_full_dates",
    MODIFIED_DATES: "retain_longitudinal_modified_dates",
    CLEAN_DESCRIPTORS: "clean_descriptors",
}
# What the value types of one group have in common is how they say the same thing.
_TEMPORAL = frozenset(("DATE", "TIME", "DATETIME"))
_SCHEME_ALIASES = {"SRT": "SCT", "SNM3": "SCT", "99SDM": "SCT", "LOINC": "LN"}

Code = tuple[str, str]  # scheme and value


class ContentAction(StrEnum):
    """What happens to one content item. The value is the letter of PS3.15 E.1."""

    REMOVE = "X"
    DUMMY = "D"
    CLEAN = "C"
    KEEP = "K"


@dataclass(frozen=True, slots=True)
class ContentRow:
    """One row of Table E.3.4-1; ``options`` holds only the cells that are filled."""

    scheme: str
    value: str
    meaning: str
    value_type: str
    basic: str
    options: dict[str, str]


def read_content_table() -> tuple[ContentRow, ...]:
    """The rows of the table, then our own additions to it."""
    return tuple(row for name in (TABLE, ADDITIONS) for row in _rows(name))


def content_table_digest() -> str:
    """SHA-256 over both tables, to be part of a profile's fingerprint."""
    files = resources.files(__package__).joinpath("tables")
    return hashlib.sha256(b"\0".join(files.joinpath(name).read_bytes() for name in (TABLE, ADDITIONS))).hexdigest()


def _rows(name: str) -> Iterable[ContentRow]:
    text = resources.files(__package__).joinpath("tables", name).read_text(encoding="utf-8")
    columns = OPTION_COLUMNS.values()
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        yield ContentRow(
            scheme=row["coding_scheme"],
            value=row["code_value"],
            meaning=row["code_meaning"],
            value_type=row["value_type"],
            basic=row["basic_profile"],
            options={column: row[column] for column in columns if row[column]},
        )


@dataclass(frozen=True, slots=True)
class StructuredRules:
    """The actions for one profile. Made by :meth:`of`; equal when they do the same; picklable."""

    options: frozenset[str]
    unknown: Literal["replace", "withhold"] = "replace"
    _actions: dict[tuple[str, str, str], ContentAction] = field(repr=False, compare=False, default_factory=dict)
    _meanings: dict[Code, str] = field(repr=False, compare=False, default_factory=dict)

    @classmethod
    def of(cls, options: Iterable[str], unknown: Literal["replace", "withhold"] = "replace") -> StructuredRules:
        """Rules for the options of a profile, given as codes of CID 7050.

        ``unknown`` is what happens when a concept or a coded value is one that nobody published: it becomes
        the concept 'unknown', or the instance is withheld. Raises ValueError for another word.
        """
        if unknown not in ("replace", "withhold"):
            raise ValueError("unknown concepts are replaced or withheld")
        chosen = frozenset(options)
        columns = [column for code, column in OPTION_COLUMNS.items() if code in chosen]
        actions = {}
        meanings = {}
        for row in read_content_table():
            scheme, value = canonical(row.scheme, row.value)
            actions[scheme, value, row.value_type] = _resolved(row, columns)
            meanings[scheme, value] = row.meaning
        return cls(chosen, unknown, actions, meanings)

    @property
    def keeps_dates(self) -> bool:
        """Whether dates are moved or kept, not replaced."""
        return not self.options.isdisjoint((FULL_DATES, MODIFIED_DATES))

    def action(self, scheme: str, value: str, value_type: str) -> ContentAction | None:
        """The action for a concept in a value type, None when the table says nothing of either.

        A concept that the table has under another value type is the same information written differently:
        the table's action holds between DATE, TIME and DATETIME, and a text or a number may only be a dummy
        unless the table takes it for a description. Codes are judged by their value, structure by its parts.
        """
        concept = canonical(scheme, value)
        exact = self._actions.get((*concept, value_type))
        if exact is not None:
            return exact
        others = {
            kind: action for (*code, kind), action in self._actions.items() if tuple(code) == concept
        } if concept in self._meanings else {}  # fmt: skip
        if not others:
            return None
        if value_type in _TEMPORAL:
            same = [action for kind, action in others.items() if kind in _TEMPORAL]
            return same[0] if same else None
        if value_type in ("TEXT", "NUM", "NUMERIC"):
            if concept in _descriptions():
                return None
            return ContentAction.DUMMY if others.keys() - {"IMAGE", "COMPOSITE", "WAVEFORM"} else None
        return None

    def is_description(self, scheme: str, value: str) -> bool:
        """Whether the table takes the concept for a description, which names nobody in itself."""
        return canonical(scheme, value) in _descriptions()

    def meaning(self, scheme: str, value: str) -> str | None:
        """The published meaning of a code; None for a code that neither a context group nor the table has."""
        published = vocabulary.code_meaning(scheme, value, "")
        return published if published is not None else self._meanings.get(canonical(scheme, value))


def canonical(scheme: str, value: str) -> Code:
    """A concept by its SNOMED CT code where it is given by its older SNOMED-RT one (PS3.16 section 8.1)."""
    named = _SCHEME_ALIASES.get(scheme, scheme)
    return (named, _snomed().get(value, value)) if named == "SCT" else (named, value)


@cache
def _snomed() -> dict[str, str]:
    from pydicom.sr._snomed_dict import mapping

    return dict(mapping["SRT"])


@cache
def _descriptions() -> frozenset[Code]:
    """Concepts that the table takes for a description in some value type, not for an identifier."""
    return frozenset(canonical(r.scheme, r.value) for r in read_content_table() if "clean_descriptors" in r.options)


def _resolved(row: ContentRow, columns: list[str]) -> ContentAction:
    """Retaining goes before cleaning, cleaning before the profile; of a choice (X/D) the one that always conforms."""
    cells = {row.options[column] for column in columns if column in row.options}
    if "K" in cells:
        return ContentAction.KEEP
    if "C" in cells:
        return ContentAction.CLEAN
    return ContentAction.DUMMY if "D" in row.basic.split("/") else ContentAction.REMOVE
