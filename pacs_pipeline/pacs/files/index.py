"""What the files of a site are, kept in SQLite between runs so that a file is read again only when it has changed."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import hashlib
import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pacs_pipeline.errors import Busy, Permanent, Quarantine, Transient
from pacs_pipeline.pacs.files.header import Header, Kind, read_header
from pacs_pipeline.pacs.files.source import Entry, Files

log = logging.getLogger(__name__)

_FORMAT = 1  # another number: what is stored is read anew
_READERS = 8
_BATCH = 2000
_AHEAD = 4 * _READERS
_LOCK_SECONDS = 60.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_FULL = frozenset({sqlite3.SQLITE_FULL})

_SCHEMA = """
CREATE TABLE site (of TEXT NOT NULL);
CREATE TABLE unfinished (scope BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    version TEXT NOT NULL,
    copy INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    study TEXT,
    series TEXT,
    instance TEXT,
    class TEXT,
    syntax TEXT,
    date TEXT,
    time TEXT,
    modality TEXT,
    description TEXT,
    institution TEXT,
    age INTEGER,
    start INTEGER
);
CREATE INDEX files_kind ON files (kind);
CREATE INDEX files_date ON files (date) WHERE date IS NOT NULL;
CREATE INDEX files_study ON files (study, date) WHERE study IS NOT NULL;
CREATE INDEX files_series ON files (series) WHERE series IS NOT NULL;
CREATE INDEX files_instance ON files (instance) WHERE instance IS NOT NULL;
"""

_PUT = """
INSERT INTO files (name, size, version, copy, kind, study, series, instance, class, syntax, date, time, modality,
                   description, institution, age, start)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET
    size = excluded.size, version = excluded.version, copy = excluded.copy, kind = excluded.kind,
    study = excluded.study, series = excluded.series, instance = excluded.instance, class = excluded.class,
    syntax = excluded.syntax, date = excluded.date, time = excluded.time, modality = excluded.modality,
    description = excluded.description, institution = excluded.institution, age = excluded.age, start = excluded.start
"""

_NEVER_READ = "-"
"""The version of a file that could not be read: no listing has it, so that it is tried again each time."""

_Found = tuple[Header | Kind | None, bool]
"""What a file is, None when it is gone, and whether that is so as long as its version is."""


class Damaged(Transient):
    """The index was damaged and has been removed; the next question makes it anew."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How many files there are, by what they are, and what cannot be asked for by date."""

    instances: int
    unreadable: int
    foreign: int
    studies: int
    undated_studies: int
    undated_instances: int


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A series of a study as its files tell it."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    StudyTime: str
    Modality: str
    instances: int
    StudyDescription: str
    InstitutionName: str
    age_years: int | None


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file that holds an instance."""

    entry: Entry
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    TransferSyntaxUID: str
    start: int


class Index:
    """The index of one site at ``path``, readable by its owner only. One thread at a time; several processes at once.

    It holds nothing that the files do not: a damaged one is made anew. ``traits`` names the attributes that are
    kept for filters, and only for them. Every method raises :class:`sqlite3.Error` for
    what :meth:`mended` knows how to treat.
    """

    def __init__(self, path: Path, files: Files, *, traits: Collection[str] = ()) -> None:
        self._path = path
        self._files = files
        self._traits = frozenset(traits)
        self._of = f"{_FORMAT}/{','.join(sorted(traits))}/{files.where}"
        self._database: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the database; the next question opens it."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    @contextmanager
    def mended(self) -> Iterator[None]:
        """Turn what SQLite raises inside the block into our errors; a damaged index is removed, to be made anew."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            self.close()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _DAMAGED:
                log.warning("the index of %s is damaged and is made anew", self._files.where)
                self._remove()
                raise Damaged(f"the index of {self._files.where} was damaged", fix="run again") from None
            if code in _FULL:
                raise Transient(
                    f"the index of {self._files.where} cannot be written (no space)", fix="free space, then run again"
                ) from None
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Busy(f"the index of {self._files.where} is in use", fix="wait until that run has ended") from None
            raise Permanent(
                f"the index of {self._files.where} cannot be used ({type(error).__name__} {code})",
                fix=f"let this user write {self._path}, or delete that file",
            ) from None

    # -- keeping it up to date

    def refresh(self, scope: bytes = b"") -> None:
        """List the files whose names start with ``scope`` and read those that are new or have changed.

        What was read stays when it is interrupted. Raises what the files raise, and Transient when a place that had
        files has none at all any more: that is how a file system looks that is not mounted.
        """
        with self._alone():
            database = self._open()
            if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _damage()
            with database:
                database.execute("INSERT OR IGNORE INTO unfinished VALUES (?)", (scope,))
            known = database.execute("SELECT coalesce(max(id), 0) FROM files").fetchone()[0]
            seen = bytearray(known // 8 + 1)
            listed = 0
            waiting: deque[tuple[Entry, Future[_Found]]] = deque()
            with ThreadPoolExecutor(_READERS, thread_name_prefix="headers") as readers:
                try:
                    for entry in self._files.list(scope):
                        listed += 1
                        row = database.execute(
                            "SELECT id, size, version, copy FROM files WHERE name = ?", (entry.name,)
                        ).fetchone()
                        if row is not None:
                            seen[row[0] >> 3] |= 1 << (row[0] & 7)
                            if row[1:] == (entry.size, entry.version, entry.copy):
                                continue
                        waiting.append((entry, readers.submit(self._header, entry)))
                        if len(waiting) >= _AHEAD:
                            self._note(database, *waiting.popleft())
                        if listed % _BATCH == 0:
                            database.commit()
                    while waiting:
                        self._note(database, *waiting.popleft())
                finally:
                    database.commit()  # what was read need not be read again
                    for _, future in waiting:
                        future.cancel()
            if not listed and not scope and known:
                raise Transient(
                    f"{self._files.where} has no files at all any more",
                    fix=f"mount or fill it again; if everything was removed on purpose, delete {self._path}",
                )
            with database:
                self._forget(database, scope, known, seen)
                if scope:
                    database.execute("DELETE FROM unfinished WHERE scope = ?", (scope,))
                else:
                    database.execute("DELETE FROM unfinished")

    def _header(self, entry: Entry) -> _Found:
        """What a file is."""
        if not entry.version:
            return Kind.UNREADABLE, False
        denied = False

        def read(start: int, length: int) -> bytes:
            nonlocal denied
            try:
                return self._files.read(entry, start, length)
            except Quarantine:
                denied = True
                raise

        try:
            return read_header(read, entry.size, self._files.window), True
        except FileNotFoundError:
            return None, False
        except Quarantine:
            return Kind.UNREADABLE, not denied

    def _note(self, database: sqlite3.Connection, entry: Entry, future: Future[_Found]) -> None:
        found, lasting = future.result()
        if found is None:
            database.execute("DELETE FROM files WHERE name = ?", (entry.name,))
        elif isinstance(found, Kind):
            version = entry.version if lasting else _NEVER_READ
            database.execute(_PUT, (entry.name, entry.size, version, entry.copy, int(found), *(None,) * 12))
        else:
            self._put(database, entry, found)

    def _put(self, database: sqlite3.Connection, entry: Entry, found: Header) -> None:
        date = entry.date or found.StudyDate
        row = (
            entry.name,
            entry.size,
            entry.version,
            entry.copy,
            int(Kind.INSTANCE),
            found.StudyInstanceUID,
            found.SeriesInstanceUID,
            found.SOPInstanceUID,
            found.SOPClassUID,
            found.TransferSyntaxUID,
            date.isoformat() if date else None,
            found.StudyTime,
            found.Modality,
            found.StudyDescription if "StudyDescription" in self._traits else None,
            found.InstitutionName if "InstitutionName" in self._traits else None,
            found.age_years if "PatientAge" in self._traits else None,
            found.start,
        )
        database.execute(_PUT, row)

    def _forget(self, database: sqlite3.Connection, scope: bytes, known: int, seen: bytearray) -> None:
        """Remove the rows of an earlier listing that were not in this one."""
        condition, values = ("name >= ? AND name < ?", (scope, _after(scope))) if scope else ("1", ())
        last = 0
        while last < known:
            rows = database.execute(
                f"SELECT id FROM files WHERE id > ? AND id <= ? AND {condition} ORDER BY id LIMIT ?",  # noqa: S608
                (last, known, *values, _BATCH),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            gone = [row for row in rows if not seen[row[0] >> 3] & 1 << (row[0] & 7)]
            database.executemany("DELETE FROM files WHERE id = ?", gone)

    def look_again(self, row: FileRow) -> None:
        """Note that a file is not what was listed any more: the next one who asks lists everything first."""
        database = self._open()
        with database:
            database.execute("INSERT OR IGNORE INTO unfinished VALUES (?)", (b"",))
            database.execute("UPDATE files SET version = ? WHERE name = ?", (_NEVER_READ, row.entry.name))

    # -- questions

    @property
    def is_complete(self) -> bool:
        """Whether everything was listed once, and every listing that began came to its end."""
        database = self._open()
        return database.execute("SELECT 1 FROM unfinished LIMIT 1").fetchone() is None

    def summary(self) -> Summary:
        """Counts over all files."""
        database = self._open()
        kinds = dict(database.execute("SELECT kind, count(*) FROM files GROUP BY kind"))
        studies, undated, files = database.execute(
            "SELECT count(*), coalesce(sum(first IS NULL), 0), coalesce(sum(CASE WHEN first IS NULL THEN n END), 0)"
            " FROM (SELECT min(date) AS first, count(*) AS n FROM files WHERE study IS NOT NULL GROUP BY study)"
        ).fetchone()
        return Summary(
            instances=kinds.get(Kind.INSTANCE, 0),
            unreadable=kinds.get(Kind.UNREADABLE, 0),
            foreign=kinds.get(Kind.FOREIGN, 0),
            studies=studies,
            undated_studies=undated,
            undated_instances=files,
        )

    def studies(self, study_date: dt.date) -> Iterator[StudyRow]:
        """Every series of the studies of a date, in order of StudyInstanceUID and SeriesInstanceUID.

        A study is of the earliest date that its files have, so that it is of one date only.
        """
        rows = self._open().execute(
            "SELECT study, series, min(nullif(time, '')), min(nullif(modality, '')), count(DISTINCT instance),"
            " min(nullif(description, '')), min(nullif(institution, '')), min(age)"
            " FROM files WHERE study IN (SELECT study FROM files WHERE date = :date) AND"
            " (SELECT min(date) FROM files AS other WHERE other.study = files.study) = :date"
            " GROUP BY study, series ORDER BY study, series",
            {"date": study_date.isoformat()},
        )
        for study, series, time_, modality, instances, description, institution, age in rows:
            yield StudyRow(
                study, series, time_ or "", modality or "", instances, description or "", institution or "", age
            )

    def fingerprint(self, study_date: dt.date) -> str:
        """Changes when any file of the studies of a date does; empty when there is none."""
        rows = self._open().execute(
            "SELECT instance, size, version FROM files WHERE study IN (SELECT study FROM files WHERE date = :date) AND"
            " (SELECT min(date) FROM files AS other WHERE other.study = files.study) = :date"
            " ORDER BY instance, copy, name",
            {"date": study_date.isoformat()},
        )
        digest, some = hashlib.sha256(), False
        for row in rows:
            digest.update(repr(row).encode())
            some = True
        return digest.hexdigest() if some else ""

    def instances(self, study: str, series: str) -> Iterator[FileRow]:
        """Every file of a series, in order of SOPInstanceUID, the newest copy first."""
        return self._rows("series = ? AND study = ?", series, study)

    def copies(self, instance: str) -> Iterator[FileRow]:
        """Every file with this SOPInstanceUID, in whatever series, the newest copy first."""
        return self._rows("instance = ?", instance)

    def _rows(self, condition: str, *values: str) -> Iterator[FileRow]:
        rows = self._open().execute(
            "SELECT name, size, version, copy, study, series, instance, class, syntax, start FROM files"  # noqa: S608
            f" WHERE {condition} ORDER BY instance, copy DESC, name",  # the conditions are those of this class
            values,
        )
        for name, size, version, copy, study, series, instance, sop_class, syntax, start in rows:
            yield FileRow(Entry(name, size, version, None, copy), study, series, instance, sop_class, syntax, start)

    # -- the file

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else type(error).__name__
                raise Permanent(
                    f"the index of {self._files.where} cannot be opened ({reason})",
                    fix=f"let this user write {self._path}",
                ) from None
            self._database = self._connected()
        return self._database

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=_LOCK_SECONDS)
        try:
            database.execute("PRAGMA temp_store = MEMORY")  # names of files must not end up in a public folder
            database.execute("PRAGMA synchronous = NORMAL")
            with database:
                database.execute("BEGIN IMMEDIATE")
                if self._is_of_another(database):
                    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                        database.execute(f"DROP TABLE {table}")
                    for statement in _SCHEMA.split(";"):
                        database.execute(statement)
                    database.execute("INSERT INTO site VALUES (?)", (self._of,))
                    database.execute("INSERT INTO unfinished VALUES (?)", (b"",))
        except BaseException:
            database.close()
            raise
        return database

    def _is_of_another(self, database: sqlite3.Connection) -> bool:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'site'").fetchone():
            return True
        return database.execute("SELECT of FROM site").fetchall() != [(self._of,)]

    def _remove(self) -> None:
        for suffix in ("", "-journal"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One listing at a time; raises Busy when another one takes too long."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno not in (errno.EWOULDBLOCK, errno.EACCES) or time.monotonic() > deadline:
                        raise Busy(
                            f"{self._files.where} is being listed by another process",
                            fix="wait until that run has ended, then run again",
                        ) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)


def _after(scope: bytes) -> bytes:
    """The smallest name that comes after all that start with ``scope``, whose last byte is not the largest."""
    return scope[:-1] + bytes((scope[-1] + 1,))


def _damage() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("damaged")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
