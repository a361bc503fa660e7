"""The answer key: what must have become of one place of one instance, and how a place is written and found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset


class Action(StrEnum):
    """The ten checks of the MIDI-B challenge."""

    TAG_RETAINED = "tag_retained"
    TEXT_NOTNULL = "text_notnull"
    TEXT_RETAINED = "text_retained"
    TEXT_REMOVED = "text_removed"
    DATE_SHIFTED = "date_shifted"
    UID_CHANGED = "uid_changed"
    UID_CONSISTENT = "uid_consistent"
    PATID_CONSISTENT = "patid_consistent"
    PIXELS_RETAINED = "pixels_retained"
    PIXELS_HIDDEN = "pixels_hidden"


PROTECTIVE = frozenset({Action.TEXT_REMOVED, Action.DATE_SHIFTED, Action.UID_CHANGED, Action.PIXELS_HIDDEN})
"""A failure of one of these is a leak; of any other it is something useful lost."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of the key.

    ``path`` is a place as :func:`at` reads it, or empty where there is none. ``text`` is what must stay, go or change
    there. ``everywhere`` are strings that may stand nowhere in the output, whatever the place. ``where`` says in words
    where it was planted.
    """

    instance: str
    action: Action
    path: str
    text: str
    category: str
    everywhere: tuple[str, ...] = ()
    where: str = ""

    @property
    def place(self) -> str:
        """What a report calls the place."""
        return f"{self.where} {self.path}".strip()


_STEP = re.compile(
    r"<?\((?P<group>[0-9a-f]{4}),\s*(?:[\"'](?P<creator>[^\"']*)[\"'],\s*(?P<low>[0-9a-f]{2})|(?P<element>[0-9a-f]{4}))\)>?"
    r"(?:\[<?(?P<item>\d+)>?\])?",
    re.IGNORECASE,
)


def step(tag: int, item: int | None = None) -> str:
    """One step of a path: ``(0040,A730)`` or, with the item that is entered, ``(0040,A730)[0]``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})" + ("" if item is None else f"[{item}]")


def at(ds: Dataset, path: str) -> DataElement | None:
    """The element at ``path``, as ``(0008,1115)[0](0020,000E)``; a private one as ``(0019,"CREATOR",0C)``.

    The notation of the MIDI-B answer data, ``<(0008,1115)>[<0000>]<(0020,000e)>``, is read as well. None when there is
    no such place. Raises ValueError for what is no path.
    """
    steps = list(_STEP.finditer(path))
    if not steps or "".join(found.group() for found in steps) != path.strip():
        raise ValueError(f"not a tag path: {path!r}")
    for number, found in enumerate(steps):
        tag = _tag(ds, found)
        if tag is None or tag not in ds:
            return None
        element = ds[tag]
        if number == len(steps) - 1:
            return element
        item = int(found["item"] or 0)
        if element.VR != "SQ" or item >= len(element.value):
            return None
        ds = element.value[item]
    return None


def _tag(ds: Dataset, found: re.Match[str]) -> int | None:
    group = int(found["group"], 16)
    if found["creator"] is None:
        return group << 16 | int(found["element"], 16)
    wanted = found["creator"].strip().casefold()
    for block in range(0x10, 0x100):
        creator = ds.get((group, block))
        if creator is not None and str(creator.value).strip().casefold() == wanted:
            return group << 16 | block << 8 | int(found["low"], 16)
    return None


def values_of(element: DataElement) -> list[str]:
    """The values of an element as text; a sequence and no value have none."""
    value = element.value
    if element.VR == "SQ" or value is None:
        return []
    if isinstance(value, bytes):
        return [value.decode("latin-1").rstrip("\0 ")] if value else []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [str(value)] if str(value) else []
    return [str(one) for one in value]


def elements_of(ds: Dataset, prefix: str = "") -> Iterator[tuple[str, DataElement | None, bytes]]:
    """Every element at every depth with its path; one that cannot be decoded comes as None with its bytes."""
    for tag in list(ds.keys()):
        path = prefix + step(tag)
        try:
            element = ds[tag]
        except Exception:  # noqa: BLE001 a value that cannot be decoded is searched as it is
            raw = ds.get_item(tag)
            value = getattr(raw, "value", b"")
            yield path, None, value if isinstance(value, bytes) else b""
            continue
        yield path, element, b""
        if element.VR == "SQ":
            for number, item in enumerate(element.value or ()):
                yield from elements_of(item, f"{prefix}{step(tag, number)}")
