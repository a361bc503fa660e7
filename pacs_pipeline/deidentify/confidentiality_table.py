"""Reads PS3.15 2026d Table E.1-1, the package's copy of the standard's list of what must be protected."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

TABLE = "ps3_15_2026d_table_e1_1.csv"
FULL_DATES = "retain_longitudinal_full_dates"
MODIFIED_DATES = "retain_longitudinal_modified_dates"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One attribute of Table E.1-1; ``tag`` is 8 characters, with ``x`` for repeating groups, or ``PRIVATE``."""

    tag: str
    name: str
    basic: str
    options: dict[str, str]


def read_table() -> tuple[TableRow, ...]:
    """All rows in the standard's order; ``options`` holds only the cells that are filled."""
    text = resources.files(__package__).joinpath("tables", TABLE).read_text(encoding="utf-8")
    fixed = {"tag", "name", "retired", "in_std_composite_iod", "basic_profile"}
    return tuple(
        TableRow(
            tag=row["tag"],
            name=row["name"],
            basic=row["basic_profile"],
            options={key: cell for key, cell in row.items() if key not in fixed and cell},
        )
        for row in csv.DictReader(text.splitlines())
    )
