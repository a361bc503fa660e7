"""What is pushed: filed durably by study date before it is acknowledged, and read again as an archive."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import itertools
import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pacs_pipeline.errors import Busy, PipelineError, Quarantine
from pacs_pipeline.pacs.durable import make_folder, sync_folder
from pacs_pipeline.pacs.files.header import Header, read_header
from pacs_pipeline.pacs.files.source import Entry
from pacs_pipeline.pacs.files.tree import FolderFiles, entry_of
from pacs_pipeline.pacs.landing import (
    CANNOT_UNDERSTAND,
    DOES_NOT_MATCH,
    INVALID_INSTANCE,
    OUT_OF_RESOURCES,
    STORED,
    Arrival,
    Delivery,
)
from pacs_pipeline.pacs.uids import is_uid
from pacs_pipeline.records import Reason

log = logging.getLogger(__name__)

_LOCK = "receiver.lock"
_INCOMING = "incoming"
_PARTIAL = ".part"
_STUDIES = "studies"
_STUDIES_REMEMBERED = 10_000
_FILED = re.compile(rb"(\d{4}-\d{2}-\d{2})/[^/]+/[^/]+/([^/]+?)(?:@(\d+))?\.dcm")
_DAY = re.compile(rb"\d{4}-\d{2}-\d{2}")
_CHUNK = 1 << 20

Hash = Callable[[str], str]
"""A keyed hash that may stand in the name of a folder."""


class Mark(Protocol):
    """Notes durably that something was received of a date."""

    def __call__(self, study_date: dt.date, arrived: int | None = None, /) -> None:
        """``arrived`` is when (nanoseconds) a file that is no news came, None for one that is. Raises PipelineError."""


@dataclass
class Counts:
    """How many instances were pushed, by what became of them."""

    stored: int = 0
    versions: int = 0  # of those stored: other content under a UID that was there
    duplicates: int = 0
    refused: int = 0

    def __str__(self) -> str:
        return (
            f"{self.stored} instances stored, {self.versions} of them new versions, "
            f"{self.duplicates} duplicates, {self.refused} refused"
        )


class Inbox:
    """Takes what is pushed to a site into the folder ``root``: the sink of its receiver. Thread-safe.

    ``<study date>/<hash of study>/<hash of series>/<SOPInstanceUID>.dcm``; other content under a UID that is there is
    kept beside it as ``<SOPInstanceUID>@2.dcm`` and so on. The first instance of a study that comes decides the date
    for all of it: its StudyDate, or ``today()`` when it has none that can be. An instance is acknowledged when it is
    on the disk under its name and ``mark`` has noted its date. Between ``__enter__`` and ``__exit__`` no other process
    can take the inbox.
    """

    def __init__(
        self, root: Path, *, hash_of: Hash, today: Callable[[], dt.date], mark: Mark, minimum_free_bytes: int = 0
    ) -> None:
        self.counts = Counts()
        self.into = root
        self._hash_of = hash_of
        self._today = today
        self._mark = mark
        self.minimum_free_bytes = minimum_free_bytes
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._dates: OrderedDict[str, dt.date] = OrderedDict()
        self._owned: int | None = None

    def __enter__(self) -> Self:
        make_folder(self.into / _INCOMING)
        self._owned = os.open(self.into / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._let_go()
            raise Busy("another receiver takes what is pushed to this site", fix="stop that one first") from None
        for leftover in (self.into / _INCOMING).iterdir():  # never acknowledged
            leftover.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()

    def begin(self, delivery: Delivery, calling_ae_title: str = "") -> Arrival:  # noqa: ARG002 - the receiver judged it
        """Take an instance chunk by chunk; never raises for what a peer sends."""
        return Arrival(self, delivery, self.into / _INCOMING / f"{next(self._numbers)}{_PARTIAL}")

    def judge(self, delivery: Delivery, arrival: Arrival) -> int:
        """The status for an instance that has come to its end; called by the arrival."""
        if not is_uid(delivery.SOPInstanceUID) or not is_uid(delivery.SOPClassUID):
            return self._refuse(INVALID_INSTANCE, "its SOP Class or SOP Instance UID is no UID")
        if arrival.problem:
            return self._refuse(OUT_OF_RESOURCES, arrival.problem)
        try:
            found = arrival.identity()
            header = _header_of(arrival.path)
        except Quarantine as problem:
            return self._refuse(CANNOT_UNDERSTAND, problem.reason.value)
        if found.SOPInstanceUID != delivery.SOPInstanceUID:
            return self._refuse(DOES_NOT_MATCH, "its data set names another instance")
        try:
            arrival.sync()
            with self._lock:
                self._file(header, arrival)
        except OSError as error:
            return self._refuse(OUT_OF_RESOURCES, os.strerror(error.errno) if error.errno else "input/output error")
        except PipelineError as error:
            return self._refuse(OUT_OF_RESOURCES, error.message)
        return STORED

    def _refuse(self, status: int, why: str) -> int:
        """Count an instance that is not kept; the sender still has it."""
        with self._lock:
            self.counts.refused += 1
        log.warning("an instance that was pushed is refused with 0x%04X: %s", status, why)
        return status

    def _file(self, header: Header, arrival: Arrival) -> None:
        """Give a complete file its place and mark its date; called with the lock held."""
        date = self._date_of(header)
        study, series = self._hash_of(header.StudyInstanceUID), self._hash_of(header.SeriesInstanceUID)
        folder = make_folder(self.into / date.isoformat() / study / series)
        number = 1
        while (final := folder / _name(header.SOPInstanceUID, number)).exists():
            if _same_instance(final, arrival.path, header):
                self._mark(date, final.stat().st_ctime_ns)
                self.counts.duplicates += 1
                return
            number += 1
        arrival.keep(final)
        self._mark(date)
        self.counts.stored += 1
        self.counts.versions += number > 1

    def _date_of(self, header: Header) -> dt.date:
        """The date the study is filed under; decided once, and kept on the disk."""
        name = self._hash_of(header.StudyInstanceUID)
        date = self._dates.get(name)
        if date is None:
            record = self.into / _STUDIES / name[:2] / name
            date = _recorded(record)
            if date is None:
                today = self._today()
                given = header.StudyDate
                date = today if given is None or given > today + dt.timedelta(days=1) else given
                _record(record, date, self.into / _INCOMING / f"{next(self._numbers)}{_PARTIAL}")
            self._dates[name] = date
            if len(self._dates) > _STUDIES_REMEMBERED:
                self._dates.popitem(last=False)
        return date

    def _let_go(self) -> None:
        owned, self._owned = self._owned, None
        if owned is not None:
            os.close(owned)


class InboxFiles(FolderFiles):
    """The files of an inbox (see :class:`Files`). Of several versions the newest is the one that counts."""

    newest_wins = True

    def scope(self, study_date: object) -> bytes:
        """The folder of the date."""
        return f"{study_date}/".encode()

    def list(self, scope: bytes = b"") -> Iterator[Entry]:
        """Every instance that was filed."""
        for folder in (scope.rstrip(b"/"),) if scope else self.folders():
            for name, found in self.walk(folder):
                filed = _FILED.fullmatch(name)
                if filed is not None and found is not None:
                    listed = entry_of(name, found)
                    date, number = dt.date.fromisoformat(filed[1].decode()), int(filed[3] or 1)
                    yield Entry(listed.name, listed.size, listed.version, date, number)

    def folders(self) -> tuple[bytes, ...]:
        """The dates under which something is filed; none before anything came."""
        try:
            names = os.listdir(self.root)  # noqa: PTH208 - bytes
        except FileNotFoundError:
            return ()
        return tuple(sorted(name for name in names if _DAY.fullmatch(name)))


def is_receiving(root: Path) -> bool:
    """Whether a receiver has the inbox at ``root`` in its hands now."""
    try:
        descriptor = os.open(root / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(descriptor)
    return False


def _name(uid: str, number: int) -> str:
    """No UID has an @ in it, so that no version can be taken for another instance."""
    return f"{uid}.dcm" if number == 1 else f"{uid}@{number}.dcm"


def _header_of(path: Path) -> Header:
    with path.open("rb", buffering=0) as file:

        def read(start: int, length: int) -> bytes:
            return os.pread(file.fileno(), length, start)

        header = read_header(read, path.stat().st_size)
    if not isinstance(header, Header):
        raise Quarantine(Reason.UNREADABLE, "the data set belongs to no instance")
    return header


def _same_instance(one: Path, other: Path, header: Header) -> bool:
    """Whether two files hold the same data set in the same transfer syntax."""
    try:
        known = _header_of(one)
    except Quarantine:
        return False
    if known.TransferSyntaxUID != header.TransferSyntaxUID:
        return False
    if one.stat().st_size - known.start != other.stat().st_size - header.start:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        a.seek(known.start)
        b.seek(header.start)
        while chunk := a.read(_CHUNK):
            if chunk != b.read(_CHUNK):
                return False
    return True


def _recorded(record: Path) -> dt.date | None:
    try:
        return dt.date.fromisoformat(record.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def _record(record: Path, date: dt.date, temporary: Path) -> None:
    make_folder(record.parent)
    temporary.touch(0o600, exist_ok=False)
    with temporary.open("w", encoding="ascii") as file:
        file.write(date.isoformat())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(record)
    sync_folder(record.parent)
