"""The index of a site: what its state records say, kept beside them so that a look over all of them is quick.

Derived, never trusted: a line counts only while its folder and its records are, to the nanosecond, those it was read
from. A line that is damaged or out of date is as good as none; without the index everything is read again.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json  # reads a line in half the time

from pacs_pipeline.errors import Permanent, PipelineError
from pacs_pipeline.records import Books, Commit, Judgement, Partition, Stage, VerdictStatus
from pacs_pipeline.storage.atomic import FILE_MODE, make_folder, write_bytes
from pacs_pipeline.storage.manifests import read_books, read_commit, read_judgement

log = logging.getLogger(__name__)

SETTLED_NANOSECONDS = 2_000_000_000
"""Younger records are read again next time: two changes within one tick of a file system's clock look like one."""

RECORDS_LOOKED_AT = 20_000
"""Of so many partitions a scan also looks at each record; of the others at their folders, which change whenever the
pipeline writes. Another share has its turn every minute, so that a record edited in place is noticed, too."""

_FOLDER = "index"
_VERSION = "1"  # of the lines; another one starts another file
_FILES = tuple(f"/{name}.json" for name in (*Stage, "verdict", "books"))  # whatever a line is made from
_LINES_AT_ONCE = 500
_DATE = len("study_date=")
_HEAD = len("00000000 2024-03-31 ")  # a checksum, the study date

Clock = Callable[[Path], int]


class Records(NamedTuple):
    """What is stored of one partition, for those who compare."""

    partition: Partition
    commits: Mapping[Stage, Commit]
    judgement: Judgement | None
    counted: list[Any] | None  # the fields of the books, as JSON has them

    @property
    def books(self) -> Books | None:
        """The stored books."""
        if self.counted is None:
            return None
        expected, published, excluded, quarantined, unavailable, problems = self.counted
        return Books(self.partition, expected, published, excluded, quarantined, unavailable, tuple(problems))


class Damaged(NamedTuple):
    """A partition with a record that is not what was written; as a whole it says nothing."""

    site: str
    study_date: str  # the end of its folder's name
    error: Permanent


class _Stamp(NamedTuple):
    """When a folder and the records in it changed last, in nanoseconds. Nobody can set a ctime, unlike an mtime."""

    folder: int
    inode: int
    records: int  # the sum over all records: any change of one changes it
    newest: int


def scan_records(
    root: Path,
    *,
    sites: Collection[str] | None = None,
    first: dt.date = dt.date.min,
    last: dt.date = dt.date.max,
    clock: Clock | None = None,
    looked_at: int = RECORDS_LOOKED_AT,
) -> Iterator[Records | Damaged]:
    """The records of every partition below the zone ``root``, in the order of site and date.

    ``sites``, ``first`` and ``last`` choose. Holds the index of one site and the names of all days in memory.
    """
    now = (clock or file_system_time)(root)
    found = [folder for folder in _folders(root, "site=") if sites is None or folder.removeprefix("site=") in sites]
    begin, end = f"study_date={first.isoformat()}", f"study_date={last.isoformat()}"
    days = {
        folder: [name for name in _folders(root / folder, "study_date=") if begin <= name <= end] for folder in found
    }
    shares = -(-sum(map(len, days.values())) // max(1, looked_at))
    for folder, names in days.items():
        yield from _Site(root, folder.removeprefix("site="), now).scan(names, shares)


def read_records(folder: Path) -> Records | None:
    """What the records of a partition say, each verified; None when nothing has happened."""
    commits = {stage: commit for stage in Stage if (commit := read_commit(folder, stage)) is not None}
    judgement, books = read_judgement(folder), read_books(folder)
    partitions = [commit.partition for commit in commits.values()] + ([books.partition] if books else [])
    if not partitions:
        return None
    counted = None
    if books is not None:
        if not str(folder).endswith(f"/{books.partition.folder}"):
            raise Permanent(
                f"the books record of {folder.parent.name}/{folder.name} is that of another day",
                fix=f"delete {folder / 'books.json'} and make the books up again",
            )
        numbers = (books.expected, books.published, books.excluded, books.quarantined, books.unavailable)
        counted = [*numbers, list(books.problems)]
    return Records(partitions[0], commits, judgement, counted)


def file_system_time(root: Path) -> int:
    """Now, in nanoseconds, by the clock that stamps the files below ``root``; 0 when nothing can be written there."""
    path = root / _FOLDER / "clock"
    try:
        make_folder(path.parent)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        os.utime(path)
        return path.stat().st_ctime_ns
    except (OSError, PipelineError):
        return 0


@dataclass
class _Site:
    """One site while it is looked over."""

    root: Path
    site: str
    now: int
    known: dict[str, bytes] = field(default_factory=dict)  # by study date, the last line
    fresh: list[bytes] = field(default_factory=list)

    @property
    def index(self) -> Path:
        return self.root / _FOLDER / f"{self.site}.{_VERSION}"

    def scan(self, names: list[str], shares: int) -> Iterator[Records | Damaged]:
        base = f"{self.root}/site={self.site}/"
        lines = self._load()
        turn = self.now // 60_000_000_000
        try:
            for number, name in enumerate(names, start=turn):
                key = name[_DATE:]
                records = self._known(base + name, key, look=number % shares == 0)
                if records is None:
                    try:
                        records = self._read(base + name, key)
                    except Permanent as error:
                        yield Damaged(self.site, key, error)
                        continue
                if records is not None:
                    yield records
        finally:  # also when nobody wants the rest: what was read need not be read again
            self._append()
        if lines > 2 * len(self.known) + _LINES_AT_ONCE:
            self._compact()

    def _load(self) -> int:
        """Take the whole lines of the index; return how many lines there are."""
        try:
            lines = self.index.read_bytes().split(b"\n")
        except OSError:
            return 0
        for line in lines:
            if len(line) > _HEAD and line[:8] == _checksum(line[9:]):
                self.known[line[9 : _HEAD - 1].decode("ascii", "replace")] = line
        return len(lines)

    def _known(self, folder: str, key: str, *, look: bool) -> Records | None:
        """What the index says, or None when the folder, or on a closer ``look`` a record, is not that of the index."""
        if key not in self.known:
            return None
        (changed, inode, times), commits, judgement, counted = from_json(self.known[key][_HEAD:])
        try:
            status = os.stat(folder)  # noqa: PTH116 - a hundred thousand times
            if status.st_ctime_ns != changed or status.st_ino != inode or (look and sum(_times(folder)) != times):
                return None
        except OSError:
            return None
        partition = Partition(self.site, dt.date.fromisoformat(key))
        return Records(
            partition,
            {(stage := _STAGES[name]): Commit(stage, partition, *said) for name, said in commits.items()},
            judgement and Judgement(judgement[0], judgement[1], _STATUS[judgement[2]]),
            counted,
        )

    def _read(self, folder: str, key: str) -> Records | None:
        stamp = _stamp(folder)  # before reading: a later change gives another stamp
        records = read_records(Path(folder))
        if records is not None and stamp is not None and stamp.newest + SETTLED_NANOSECONDS <= self.now:
            line = _line(stamp, records)
            if self.known.get(key) != line:
                self.known[key] = line
                self.fresh.append(line)
        if len(self.fresh) >= _LINES_AT_ONCE:
            self._append()
        return records

    def _append(self) -> None:
        """Add the fresh lines. It starts with a line break: whoever wrote last may have been cut off."""
        if not self.fresh:
            return
        lines, self.fresh = b"\n" + b"\n".join(self.fresh) + b"\n", []
        try:
            make_folder(self.index.parent)
            descriptor = os.open(self.index, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
            try:
                os.write(descriptor, lines)
            finally:
                os.close(descriptor)
        except (OSError, PipelineError) as error:
            log.warning("the index of %s cannot be written (%s); the next look is slow", self.site, error)

    def _compact(self) -> None:
        try:
            write_bytes(self.index, b"\n".join([*self.known.values(), b""]))
        except PipelineError as error:
            log.warning("the index of %s cannot be written (%s)", self.site, error)


def _folders(parent: Path, prefix: str) -> list[str]:
    try:
        with os.scandir(parent) as entries:
            return sorted(entry.name for entry in entries if entry.name.startswith(prefix))
    except FileNotFoundError:
        return []


def _stamp(folder: str) -> _Stamp | None:
    """The stamp of a partition's folder, None when that cannot be had: reading will say why."""
    try:
        status, times = os.stat(folder), _times(folder)  # noqa: PTH116
    except OSError:
        return None
    return _Stamp(status.st_ctime_ns, status.st_ino, sum(times), max(status.st_ctime_ns, *times))


def _times(folder: str) -> list[int]:
    """When each record changed last, 0 for one that is not there."""
    times = []
    for file in _FILES:
        try:
            times.append(os.stat(folder + file).st_ctime_ns)  # noqa: PTH116
        except FileNotFoundError:
            times.append(0)
    return times


def _line(stamp: _Stamp, records: Records) -> bytes:
    commits = {stage.value: [c.digest, c.inputs, c.counts] for stage, c in records.commits.items()}
    text = json.dumps(
        [stamp[:3], commits, records.judgement, records.counted], separators=(",", ":"), ensure_ascii=True
    )
    content = f"{records.partition.key} {text}".encode("ascii")
    return _checksum(content) + b" " + content


def _checksum(content: bytes) -> bytes:
    return b"%08x" % zlib.crc32(content)


_STAGES = {stage.value: stage for stage in Stage}
_STATUS = {status.value: status for status in VerdictStatus}
