"""Which private elements are known to be safe (PS3.15 E.3.10): by creator, element and VR, in any block."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from pacs_pipeline.deidentify.values import SIZES, TEXT
from pacs_pipeline.errors import SettingsError

TABLE = "ps3_15_2025b_table_e3_10_1_safe_private.csv"
CREATORS = range(0x10, 0x100)  # the elements that reserve a block (PS3.5 7.8.1), and so the blocks there can be
_COLUMNS = ("group", "element", "private_creator", "vr")
_ELEMENT = re.compile("xx([0-9a-f]{2})", re.IGNORECASE)


def block_of(tag: int) -> int:
    """The block a private element lies in."""
    return (tag & 0xFF00) >> 8


def creator_tag(tag: int) -> int:
    """The element that names the creator of a private element."""
    return (tag & 0xFFFF0000) | block_of(tag)


@dataclass(frozen=True, slots=True)
class SafePrivate:
    """The safe elements. Picklable; ``entries`` are (creator, group, element in its block, VR), in order."""

    entries: tuple[tuple[str, int, int, str], ...]

    @property
    def creators(self) -> frozenset[str]:
        """Everybody who has a safe element."""
        return frozenset(entry[0] for entry in self.entries)

    def vr(self, creator: str, tag: int) -> str | None:
        """The VR of a safe element of this creator, None when it is not known to be safe."""
        return _vrs(self.entries).get((creator, tag >> 16, tag & 0xFF))


@cache
def _vrs(entries: tuple[tuple[str, int, int, str], ...]) -> dict[tuple[str, int, int], str]:
    return {(creator, group, element): vr for creator, group, element, vr in entries}


def load_safe_private(extra: Path | None = None) -> SafePrivate:
    """The standard's list and a project's own: CSV with the columns group, element, private_creator, vr.

    Sequences are left out: what is in them is not on the list. Raises SettingsError, naming the line.
    """
    text = resources.files(__package__).joinpath("tables", TABLE).read_text(encoding="utf-8")
    entries = _entries(text, TABLE)
    if extra is not None:
        try:
            entries += _entries(extra.read_text(encoding="utf-8"), extra.name)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"the list of safe private elements {extra} cannot be read", fix="correct deidentify.safe_private"
            ) from error
    return SafePrivate(tuple(sorted(set(entries))))


def _entries(text: str, name: str) -> list[tuple[str, int, int, str]]:
    reader = csv.DictReader(text.splitlines())
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise SettingsError(f"{name}: the columns {', '.join(_COLUMNS)} are needed", fix="write them in the first line")
    entries = []
    for row in reader:
        where = f"{name}, line {reader.line_num}"
        element, creator, vr = (
            _ELEMENT.fullmatch(row["element"] or ""),
            (row["private_creator"] or "").strip(),
            row["vr"],
        )
        if not re.fullmatch("[0-9a-fA-F]{3}[13579bdfBDF]", row["group"] or "") or element is None:
            raise SettingsError(f"{where}: a private element is written like 0019,xx0c", fix="mend that line")
        if not creator or not creator.isascii() or len(creator) > 64:
            raise SettingsError(f"{where}: the private creator is missing or no LO value", fix="mend that line")
        if vr == "SQ":
            continue
        if vr not in TEXT | SIZES.keys():
            raise SettingsError(f"{where}: values of VR {vr} cannot be checked", fix="leave that element out")
        entries.append((creator, int(row["group"], 16), int(element[1], 16), vr))
    return entries
