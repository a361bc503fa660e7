"""The database of the embedded PACS: the headers of a folder in SQLite beside it, asked in the terms of C-FIND."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

logger = logging.getLogger(__name__)

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
UNIQUE_KEYS = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
ATTRIBUTES = {
    "PatientID": "PATIENT",
    "PatientName": "PATIENT",
    "IssuerOfPatientID": "PATIENT",
    "PatientBirthDate": "PATIENT",
    "PatientSex": "PATIENT",
    "StudyInstanceUID": "STUDY",
    "StudyDate": "STUDY",
    "StudyTime": "STUDY",
    "AccessionNumber": "STUDY",
    "StudyID": "STUDY",
    "StudyDescription": "STUDY",
    "ReferringPhysicianName": "STUDY",
    "SeriesInstanceUID": "SERIES",
    "Modality": "SERIES",
    "SeriesNumber": "SERIES",
    "SeriesDate": "SERIES",
    "SeriesTime": "SERIES",
    "SeriesDescription": "SERIES",
    "BodyPartExamined": "SERIES",
    "SOPInstanceUID": "IMAGE",
    "SOPClassUID": "IMAGE",
    "InstanceNumber": "IMAGE",
}
"""What can be matched and returned, and the level it belongs to (PS3.4 C.6.1.1)."""
COMPUTED = {
    "NumberOfPatientRelatedStudies": ("PATIENT", "count(DISTINCT StudyInstanceUID)"),
    "NumberOfPatientRelatedSeries": ("PATIENT", "count(DISTINCT SeriesInstanceUID)"),
    "NumberOfPatientRelatedInstances": ("PATIENT", "count(DISTINCT SOPInstanceUID)"),
    "ModalitiesInStudy": ("STUDY", "group_concat(DISTINCT Modality)"),
    "SOPClassesInStudy": ("STUDY", "group_concat(DISTINCT SOPClassUID)"),
    "NumberOfStudyRelatedSeries": ("STUDY", "count(DISTINCT SeriesInstanceUID)"),
    "NumberOfStudyRelatedInstances": ("STUDY", "count(DISTINCT SOPInstanceUID)"),
    "NumberOfSeriesRelatedInstances": ("SERIES", "count(DISTINCT SOPInstanceUID)"),
    "AvailableTransferSyntaxUID": ("IMAGE", "group_concat(DISTINCT TransferSyntaxUID)"),
}
"""What is worked out for each match; not matched against, except ModalitiesInStudy."""

_FILE_COLUMNS = ("path", "size", "mtime_ns", "TransferSyntaxUID", "SpecificCharacterSet")
_COLUMNS = (*_FILE_COLUMNS, *ATTRIBUTES)
_FORMAT = 1
_BATCH = 500


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One instance as it lies on disk."""

    path: Path
    SOPClassUID: str
    SOPInstanceUID: str
    TransferSyntaxUID: str


class Index:
    """All instances below ``folder``. Safe to use from several threads: each call opens its own connection."""

    def __init__(self, folder: Path, database: Path | None = None) -> None:
        self.folder = folder
        self.database = database or folder.with_name(f"{folder.name}.index.sqlite")

    def refresh(self) -> int:
        """Bring the index up to date with the folder; returns the number of headers that had to be read.

        Files that are not DICOM or lack a UID are left out with a warning.
        """
        read = 0
        with self._connect() as db:
            self._create(db)
            known = {
                path: (size, mtime) for path, size, mtime in db.execute("SELECT path, size, mtime_ns FROM instance")
            }
            batch: list[tuple[object, ...]] = []
            for path, stat in _files(self.folder):
                relative = path.relative_to(self.folder).as_posix()
                if known.pop(relative, None) == (stat.st_size, stat.st_mtime_ns):
                    continue
                row = _row(path, relative, stat)
                if row is None:
                    logger.warning("not indexed, no complete DICOM header: %s", relative)
                    continue
                read += 1
                batch.append(row)
                if len(batch) == _BATCH:
                    _insert(db, batch)
                    batch.clear()
            _insert(db, batch)
            db.executemany("DELETE FROM instance WHERE path = ?", ((path,) for path in known))
        return read

    def find(
        self, level: str, criteria: Mapping[str, Sequence[str]], wanted: Sequence[str]
    ) -> Iterator[dict[str, str]]:
        """The matches of a query at ``level``: for each the ``wanted`` attributes plus its SpecificCharacterSet.

        ``criteria`` are values of ``ATTRIBUTES`` or ModalitiesInStudy in the forms of PS3.4 C.2.2.2: single
        value, list, range of dates or times, wildcards. An empty criterion matches everything.
        """
        key = UNIQUE_KEYS[level]
        columns = {keyword: f"min({keyword})" for keyword in wanted if keyword in ATTRIBUTES}
        columns |= {keyword: COMPUTED[keyword][1] for keyword in wanted if keyword in COMPUTED}
        columns["SpecificCharacterSet"] = "max(SpecificCharacterSet)"
        where, parameters = _where(criteria)
        # every identifier in this text is a constant of this module; values are parameters
        sql = (
            f"SELECT {', '.join(columns.values())} FROM instance "  # noqa: S608
            f"WHERE {key} IN (SELECT {key} FROM instance WHERE {where}) GROUP BY {key} ORDER BY min(rowid)"
        )
        with self._connect() as db:
            for row in db.execute(sql, parameters):
                yield {keyword: "" if v is None else str(v) for keyword, v in zip(columns, row, strict=True)}

    def files(self, criteria: Mapping[str, Sequence[str]]) -> list[StoredFile]:
        """The files of all instances that ``criteria`` match, in the order of the folder."""
        where, parameters = _where(criteria)
        sql = f"SELECT path, SOPClassUID, SOPInstanceUID, TransferSyntaxUID FROM instance WHERE {where} ORDER BY rowid"  # noqa: S608
        with self._connect() as db:
            return [StoredFile(self.folder / path, *rest) for path, *rest in db.execute(sql, parameters)]

    def stored_syntaxes(self) -> dict[str, list[str]]:
        """The transfer syntaxes of each SOP class there are instances of, the most frequent first."""
        sql = "SELECT SOPClassUID, TransferSyntaxUID FROM instance GROUP BY 1, 2 ORDER BY 1, count(*) DESC, 2"
        found: dict[str, list[str]] = {}
        with self._connect() as db:
            for sop_class, syntax in db.execute(sql):
                found.setdefault(sop_class, []).append(syntax)
        return found

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=60)) as db:
            db.create_function("fold", 1, str.casefold, deterministic=True)
            with db:
                yield db

    def _create(self, db: sqlite3.Connection) -> None:
        """Make the table, anew when an older version of this module made it."""
        if db.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
            db.execute("DROP TABLE IF EXISTS instance")
            columns = ", ".join(f"{name} TEXT NOT NULL" for name in _COLUMNS[3:])
            db.execute(f"CREATE TABLE instance (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, {columns})")
            for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "StudyDate", "PatientID"):
                db.execute(f"CREATE INDEX instance_{name} ON instance ({name})")
            db.execute(f"PRAGMA user_version = {_FORMAT}")


def _insert(db: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
    marks = ", ".join("?" * len(_COLUMNS))
    db.executemany(f"INSERT OR REPLACE INTO instance ({', '.join(_COLUMNS)}) VALUES ({marks})", rows)  # noqa: S608


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every regular file below ``folder``, in a stable order."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path), entry.stat(follow_symlinks=False)


def _row(path: Path, relative: str, stat: os.stat_result) -> tuple[object, ...] | None:
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", *ATTRIBUTES])
    except (InvalidDicomError, EOFError):
        return None
    syntax = ds.file_meta.get("TransferSyntaxUID")
    values = {keyword: _text(ds, keyword) for keyword in ATTRIBUTES}
    if not syntax or not all(values[key] for key in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")):
        return None
    charset = _text(ds, "SpecificCharacterSet")
    return (relative, stat.st_size, stat.st_mtime_ns, str(syntax), charset, *values.values())


def _text(ds: Dataset, keyword: str) -> str:
    try:
        value = ds.get(keyword)
    except ValueError:  # a number that is none: an archive lists the instance all the same
        return ""
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def _where(criteria: Mapping[str, Sequence[str]]) -> tuple[str, list[str]]:
    """The condition and its parameters; unknown attributes are not matched (PS3.4 C.2.2.1.2 leaves that to us)."""
    parts: list[str] = ["1"]
    parameters: list[str] = []
    for keyword, values in criteria.items():
        if not any(values) or list(values) == ["*"]:
            continue
        if keyword == "ModalitiesInStudy":
            marks = ", ".join("?" * len(values))
            parts.append(f"StudyInstanceUID IN (SELECT StudyInstanceUID FROM instance WHERE Modality IN ({marks}))")  # noqa: S608
            parameters += values
        elif keyword in ATTRIBUTES:
            part, bound = _match(keyword, list(values))
            parts.append(part)
            parameters += bound
    return " AND ".join(parts), parameters


def _match(keyword: str, values: list[str]) -> tuple[str, list[str]]:
    """One attribute's condition, by the matching its VR allows (PS3.4 C.2.2.2)."""
    if keyword.endswith("Date") and "-" in values[0]:
        first, last = values[0].split("-", 1)
        return f"({keyword} <> '' AND {keyword} BETWEEN ? AND ?)", [first or "0", last or "9"]
    if keyword.endswith("Time") and "-" in values[0]:
        first, last = (bound.replace(":", "") for bound in values[0].split("-", 1))
        # a bound of fewer digits means the whole of that hour or minute
        return f"({keyword} <> '' AND {keyword} BETWEEN ? AND ?)", [first or "0", (last or "9") + "~"]
    if keyword.endswith("Name"):
        # case does not matter, and a query without "=" is about the first group of a name
        pattern = _glob(values[0].casefold())
        return f"(fold({keyword}) GLOB ? OR fold({keyword}) GLOB ?)", [pattern, f"{pattern}=*"]
    if not keyword.endswith("UID") and ("*" in values[0] or "?" in values[0]):
        return f"{keyword} GLOB ?", [_glob(values[0])]
    return f"{keyword} IN ({', '.join('?' * len(values))})", values


def _glob(pattern: str) -> str:
    """DICOM's ``*`` and ``?`` are SQLite's too; only its brackets must lose their meaning."""
    return pattern.replace("[", "[[]")
