"""Device rules in the ``%filter`` language of deid: which device draws text where. Read strictly, run by deid.

deid skips what it does not know with a warning, joins lines that begin with ``||`` by "and", mixes up values
when ``present`` stands before a filter with a value, and drops comments only where it expects them. Such lines
are errors here, so that what deid's own code executes is what is written.
"""

from __future__ import annotations

import copy
import hashlib
import re
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset

from pacs_pipeline.deidentify.burned_in.regions import Box, fill, rectangles
from pacs_pipeline.deidentify.recipe import _quiet
from pacs_pipeline.errors import Quarantine, SettingsError
from pacs_pipeline.records import Reason

RULES = Path(__file__).parent.parent / "recipes" / "devices.deid"

_WITH_VALUE = frozenset(("contains", "notcontains", "equals", "notequals"))
_WITHOUT_VALUE = frozenset(("present", "missing", "empty"))
_COORDINATES = re.compile(r"(ctpkeep|ctp|keep|)coordinates (?:(all)|(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5}))")
_SECTION = re.compile(r"%filter [A-Za-z0-9_-]+")
_LABEL = re.compile(r"LABEL [\x20-\x22\x24-\x7e]+")
_JOINT = re.compile(r" (?:\+|\|\|) ")

Shape = tuple[int, tuple[str, ...]]  # of a label, to compare: how many lines of filters, and its coordinates


@dataclass(frozen=True, slots=True)
class DeviceRules:
    """Checked rules as deid parsed them. ``fingerprint`` is the SHA-256 of their text."""

    fingerprint: str
    recipe: dict[str, Any] = field(repr=False)

    def boxes(self, ds: Dataset, rows: int, columns: int) -> list[Box]:
        """What the rules that match ``ds`` blank, with what they keep taken out, in deid's order: later lines hold.

        Raises Quarantine (BURNED_IN_TEXT) when deid fails on the values of the data set.
        """
        from deid.config import DeidRecipe
        from deid.dicom.pixels.detect import has_burned_pixels

        recipe = DeidRecipe(copy.deepcopy(self.recipe))
        known = ds if isinstance(ds, FileDataset) else FileDataset("", ds, file_meta=getattr(ds, "file_meta", None))
        try:
            with _quiet():
                results = has_burned_pixels(known, deid=recipe)["results"]
        except (AttributeError, KeyError, LookupError, NotImplementedError, TypeError, ValueError) as error:
            detail = f"the device rules cannot be evaluated ({type(error).__name__})"
            raise Quarantine(Reason.BURNED_IN_TEXT, detail) from None
        mask = np.zeros((rows, columns), np.bool_)
        for result in results:
            for keep, coordinates in result["coordinates"]:
                box = (0, 0, columns, rows) if coordinates == "all" else _box(coordinates)
                fill(mask, [box], value=not keep)
        return rectangles(mask)


@cache
def load_device_rules(path: Path = RULES) -> DeviceRules:
    """The rules of one recipe file.

    Raises SettingsError, naming the line, for everything that would not be executed as written.
    """
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise SettingsError(f"the recipe {path} is not plain ASCII", fix="remove other characters from it") from error
    except OSError as error:
        raise SettingsError(f"the recipe {path} cannot be read ({error.strerror})", fix="correct its path") from error
    written = _checked(text, path.name)
    recipe = _parsed_by_deid(text)
    items = [item for group in (recipe.get("filter") or {}).values() for item in group]
    understood = [(len(item["filters"]), tuple(f"{keep} {box}" for keep, box in item["coordinates"])) for item in items]
    if understood != written:
        raise SettingsError(
            f"deid reads other rules from {path.name} than are written",
            fix="write each rule as LABEL, its filters (the second and later begin with +) and its coordinates",
        )
    return DeviceRules(fingerprint=hashlib.sha256(text.encode("ascii")).hexdigest(), recipe=recipe)


def _checked(text: str, name: str) -> list[Shape]:
    """The rules as written; raises SettingsError at the first line that is not understood."""
    labels: list[tuple[list[str], list[str]]] = []
    formatted = section = False
    for number, raw in enumerate(text.splitlines(), start=1):
        line, where = raw.strip(), f"{name}, line {number}"
        if not line or line.startswith("#"):
            continue
        if line.startswith("FORMAT"):
            _known(line == "FORMAT dicom", f"{where}: only 'FORMAT dicom' is known")
            formatted = True
        elif line.startswith("%"):
            _known(formatted, f"{where}: stands before 'FORMAT dicom'")
            _known(_SECTION.fullmatch(line) is not None, f"{where}: only '%filter NAME' is executed")
            section = True
        elif line.startswith("LABEL"):
            _known(section, f"{where}: stands outside '%filter NAME'")
            _known(_LABEL.fullmatch(line) is not None, f"{where}: a LABEL needs a name, and takes no comment")
            labels.append(([], []))
        else:
            _known(bool(labels), f"{where}: stands outside a LABEL")
            filters, coordinates = labels[-1]
            if "coordinates" in line.split(" ", 1)[0].lower():
                coordinates.append(_coordinates(line, where))
            else:
                _known(not coordinates, f"{where}: filters stand before coordinates")
                _check_filter(line, where, first=not filters)
                filters.append(line)
    for filters, coordinates in labels:
        _known(bool(filters) and bool(coordinates), f"{name}: every LABEL needs a filter and coordinates")
    return [(len(filters), tuple(coordinates)) for filters, coordinates in labels]


def _coordinates(line: str, where: str) -> str:
    match = _COORDINATES.fullmatch(line)
    _known(match is not None, f"{where}: coordinates are 'left,top,right,bottom' (ctp: width and height), or 'all'")
    assert match is not None
    keep = int("keep" in match[1])
    if match[2]:
        return f"{keep} all"
    left, top, right, bottom = (int(part) for part in match.groups()[2:])
    if match[1].startswith("ctp"):
        right, bottom = left + right, top + bottom
    _known(left < right and top < bottom, f"{where}: the rectangle is empty")
    return f"{keep} {left},{top},{right},{bottom}"


def _check_filter(line: str, where: str, *, first: bool) -> None:
    if first:
        _known(not line.startswith(("+", "||")), f"{where}: the first filter has nothing to be joined to")
    else:
        _known(line.startswith("+ "), f"{where}: lines are joined by '+'; an alternative stands in the same line")
        line = line[2:].strip()
    parts = _JOINT.split(line)
    verbs = [part.strip().split(" ", 1)[0] for part in parts]
    for part in parts:
        verb, _, rest = part.strip().partition(" ")
        _known(verb in _WITH_VALUE | _WITHOUT_VALUE, f"{where}: '{verb}' is no filter")
        keyword, _, value = rest.strip().partition(" ")
        _known(tag_for_keyword(keyword) is not None, f"{where}: '{keyword}' is no DICOM keyword")
        _known(bool(value.strip()) == (verb in _WITH_VALUE), f"{where}: '{verb}' and its value do not fit")
        _known(not any(mark in value for mark in ("+", "||", "#")), f"{where}: a value cannot hold '+', '||' or '#'")
        try:
            re.compile(value)
        except re.error as error:
            raise SettingsError(f"{where}: the value is no valid expression ({error})", fix="mend it") from error
    _known(len(set(map(_WITH_VALUE.__contains__, verbs))) == 1, f"{where}: filters with and without value are mixed")


def _known(condition: bool, message: str) -> None:
    if not condition:
        raise SettingsError(message, fix="correct or remove the line; nothing is skipped in silence")


def _parsed_by_deid(text: str) -> dict[str, Any]:
    from deid.config import DeidRecipe

    with tempfile.NamedTemporaryFile("w", suffix=".deid", encoding="ascii") as file, _quiet():
        file.write(text)
        file.flush()
        return dict(DeidRecipe([file.name]).deid or {})


def _box(coordinates: str) -> Box:
    left, top, right, bottom = (int(part) for part in coordinates.split(","))
    return left, top, right, bottom
