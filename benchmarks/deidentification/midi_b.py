"""Reads the answer database of the MIDI-B challenge (TCIA), so that its data can be scored with the same checks.

Layout: one SQLite table ``answer_data`` with a row per instance (SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID,
PatientID, …) and its checks as JSON in ``AnswerData``; texts are wrapped in ``<`` and ``>``. Sources of these facts:
github.com/CBIIT/MIDI_validation_script (what the official scorer reads) and public descriptions of the TCIA files.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from benchmarks.deidentification.answers import Action, Answer
from benchmarks.deidentification.plant import Key, anything_goes

_COLUMNS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AnswerData")
_FROM_VALUE = frozenset({Action.DATE_SHIFTED, Action.UID_CHANGED, Action.UID_CONSISTENT, Action.PATID_CONSISTENT})
"""These compare with the value that was there, all others with the text of the action."""
_LEVELS = {"Instance": "SOPInstanceUID", "Series": "SeriesInstanceUID", "Study": "StudyInstanceUID"}


def read_key(database: Path, folder: Path) -> Key:
    """The answers of ``database`` for the instances below ``folder``; those without a file are left out.

    Raises ValueError for a database of another layout, naming what it lacks.
    """
    rows = list(_rows(database))
    names: dict[str, dict[str, list[str]]] = {level: defaultdict(list) for level in _LEVELS}
    key = Key(folder, "")
    wanted = {str(row["SOPInstanceUID"]).strip("<>") for row in rows}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        uids = _uids_of(path)
        if uids is None:
            continue
        name = path.relative_to(folder).as_posix()
        for level, keyword in _LEVELS.items():
            names[level][uids[keyword]].append(name)
        if uids["SOPInstanceUID"] in wanted:
            key.patients[name] = uids["PatientID"]
    for row in rows:
        for check in _checks(row["AnswerData"]):
            level = _text(row.get("scope") or check.get("scope")) or "Instance"
            level = "Study" if level == "Patient" else level  # as the official scorer does
            if row.get("scope") is None:
                level = "Instance"  # a scope inside a check says where its text came from; the row is one instance's
            for name in names[level][str(row[_LEVELS[level]]).strip("<>")]:
                key.patients.setdefault(name, _text(row["PatientID"]))
                key.answers.append(_answer(name, check))
    return key


def _rows(database: Path) -> Iterator[Mapping[str, Any]]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        columns = {row["name"] for row in connection.execute("PRAGMA table_info(answer_data)")}
        lacking = [column for column in _COLUMNS if column not in columns]
        if lacking:
            raise ValueError(f"{database.name} has no answer_data with {', '.join(lacking)}")
        for row in connection.execute("SELECT * FROM answer_data"):
            yield dict(row)
    connection.close()


def _uids_of(path: Path) -> dict[str, str] | None:
    with anything_goes():
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*_LEVELS.values(), "PatientID"])
        except InvalidDicomError:
            return None
        return {keyword: str(ds.get(keyword, "")) for keyword in (*_LEVELS.values(), "PatientID")}


def _checks(data: str) -> list[dict[str, Any]]:
    """The checks of a row: an object of objects by number, or a list of them."""
    checks = json.loads(data)
    return list(checks.values()) if isinstance(checks, dict) else list(checks)


def _text(value: object) -> str:
    """A text without the brackets around it; nothing for no value."""
    text = "" if value is None else str(value)
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def _answer(instance: str, check: Mapping[str, Any]) -> Answer:
    action = Action(_text(check.get("action")))
    text = _text(check.get("value") if action in _FROM_VALUE else check.get("action_text"))
    path = str(check.get("tag_ds") or check.get("tag") or "")
    if action is Action.PIXELS_HIDDEN:
        text, path = _region(check.get("action_text")), ""
    if action is Action.PIXELS_RETAINED:
        path = ""
    return Answer(instance, action, path, text, _category(check, action), where=_text(check.get("tag_name")))


def _region(value: object) -> str:
    """``row,column,rows,columns`` of a burned-in text with its corners as [x, y]; anything else as it is."""
    try:
        place = json.loads(_text(value)) if isinstance(value, str) else value
        left, top = map(int, place["top_left"])  # type: ignore[index]
        right, bottom = map(int, place["bottom_right"])  # type: ignore[index]
    except (ValueError, KeyError, TypeError):
        return _text(value)
    return f"{top},{left},{bottom - top},{right - left}"


def _category(check: Mapping[str, Any], action: Action) -> str:
    """The codes of the challenge's categories, or the action where there is none."""
    category = check.get("answer_category_v2") or check.get("answer_category")
    codes = sorted(set(_leaves(category)))
    return ", ".join(codes) or str(action)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, str) and _text(value):
        yield _text(value)
