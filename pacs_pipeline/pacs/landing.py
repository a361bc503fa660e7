"""Instances as files: what arrives is checked, made durable under its final name, and accounted for."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import mmap
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pacs_pipeline.errors import Paused, Quarantine
from pacs_pipeline.pacs.durable import sync_folder
from pacs_pipeline.pacs.encoded import read_identity
from pacs_pipeline.pacs.uids import is_uid
from pacs_pipeline.records import InstanceRef, LandedInstance, Reason, RetrievalFailure, SeriesRef

IMPLEMENTATION_CLASS_UID = "2.25.197385446221436118702951842620846114013"
IMPLEMENTATION_VERSION_NAME = "PACS_PIPELINE"

# C-STORE statuses (PS3.4 B.2.3, PS3.7 C)
STORED = 0x0000
DISCARDED = 0xB006  # Elements Discarded: not a failure, which some archives take as the end of the request
INVALID_INSTANCE = 0x0117
NOT_AUTHORISED = 0x0124
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

_PREFIX = b"\0" * 128 + b"DICM"
_PARTIAL = ".part"
_SMALL = 1 << 23  # bytes up to which an instance is hashed when it is whole, and from the page cache
_DIGESTS_IN_HAND = 4  # by the executor, at a time
_LOOK_EVERY = 1 << 26  # bytes of one instance after which its disk is looked at again
_RESERVED = "less is free than the site's minimum_free_gib"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One instance that is announced, before its data set: what the sender says it is."""

    SOPClassUID: str
    SOPInstanceUID: str
    TransferSyntaxUID: str
    solicited: bool  # it names our request as its cause, or came over our own association


def _always_open(_size: int) -> None:
    """The gate of a landing that has none."""


class Landing:
    """The instances of one series that are missing, and the folder they go to.

    Thread-safe: a PACS may send over several associations at once. Only instances that were asked for and
    whose data set is whole and belongs to the series get a final name, ``<SOPInstanceUID>.dcm``; each is
    flushed to the disk, file and folder, before the PACS is told that it was stored. When less than
    ``minimum_free_bytes`` of the disk are free, nothing more is taken. ``gate`` is asked before each instance, with
    the bytes of the one before; when it raises Paused, so does ``begin``, and the retriever breaks the request off.

    The digest of a small instance is made when the PACS has its answer (``catch_up``), by ``executor`` if there is one
    and so while the next one comes; at the latest when ``landed`` is asked for.
    """

    def __init__(
        self,
        series: SeriesRef,
        missing: Collection[str],
        into: Path,
        *,
        gate: Callable[[int], None] = _always_open,
        minimum_free_bytes: int = 0,
    ) -> None:
        self.series = series
        self.missing = frozenset(missing)
        self.into = into
        self.deliveries = 0
        self.refused: dict[str, RetrievalFailure] = {}
        self.unexpected: dict[str, InstanceRef] = {}
        self.duplicates = 0
        self.is_full = False  # an instance could not be kept for want of room
        self.minimum_free_bytes = minimum_free_bytes
        self.paused: Paused | None = None  # the gate has closed
        self._gate = gate
        self._last_size = 0
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._digests: deque[_Digest] = deque()  # still to be made
        self.executor: Executor | None = None  # set by who has one, for as long as it has
        self._in_hand = threading.BoundedSemaphore(_DIGESTS_IN_HAND)
        self._numbers = itertools.count()
        self._strays: list[RetrievalFailure] = []
        self._conflicts: set[str] = set()
        into.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in into.glob(f"*{_PARTIAL}"):  # of a run that was killed
            leftover.unlink(missing_ok=True)

    @property
    def landed(self) -> dict[str, LandedInstance]:
        """What has its final name, by SOP Instance UID."""
        return {uid: each.instance() for uid, each in dict(self._kept).items()}

    @property
    def open(self) -> frozenset[str]:
        """What was asked for and has neither landed nor been refused for its content."""
        return self.missing - self._kept.keys() - self.refused.keys()

    @property
    def failures(self) -> tuple[RetrievalFailure, ...]:
        """What came and could not be kept."""
        return (*self.refused.values(), *self._strays)

    def begin(self, delivery: Delivery) -> Arrival:
        """Take an instance chunk by chunk; never raises for what a peer sends, but Paused when the gate is closed."""
        try:
            self._gate(self._last_size)
        except Paused as paused:
            self.paused = paused
            raise
        while (digest := self._next_digest()) is not None:  # nobody called catch_up
            digest.value()
        # no part of the name comes from the peer: it has not been looked at yet
        return Arrival(self, delivery, self.into / f".{os.getpid()}-{next(self._numbers)}{_PARTIAL}")

    def catch_up(self) -> None:
        """Do what need not be done before a sender has its answer; in the executor, unless that falls behind."""
        while (digest := self._next_digest()) is not None:
            if self.executor is None or not self._in_hand.acquire(blocking=False):
                digest.value()
                continue
            try:
                self.executor.submit(self._make, digest)
            except RuntimeError:  # it has been shut down: the instance came after the end
                self._make(digest)

    def _make(self, digest: _Digest) -> None:
        try:
            digest.value()
        finally:
            self._in_hand.release()

    def _next_digest(self) -> _Digest | None:
        try:
            return self._digests.popleft()
        except IndexError:
            return None

    def receive(self, delivery: Delivery, data: bytes | bytearray | memoryview) -> int:
        """Take one instance that has come as a whole and return the C-STORE status to answer."""
        arrival = self.begin(delivery)
        arrival.write(data)
        return arrival.finish()

    def judge(self, delivery: Delivery, arrival: Arrival) -> int:
        """The status for an instance that has come to its end; called by the arrival."""
        with self._lock:
            self.deliveries += 1
            self._last_size = arrival.size
        uid = delivery.SOPInstanceUID
        if not is_uid(uid) or not is_uid(delivery.SOPClassUID):
            detail = "its SOP Class or SOP Instance UID is no UID"
            with self._lock:  # a status, because None without a UID says that the association was lost
                self._strays.append(replace(self._failure("", Reason.WRONG_INSTANCE, detail), status=INVALID_INSTANCE))
            return INVALID_INSTANCE
        if arrival.problem:
            return self._no_room(uid, arrival.problem)
        try:
            found = arrival.identity()
        except Quarantine as problem:
            return self._refuse(uid, problem.reason, problem.detail, CANNOT_UNDERSTAND)
        ours = (found.StudyInstanceUID, found.SeriesInstanceUID) == (
            self.series.StudyInstanceUID,
            self.series.SeriesInstanceUID,
        )
        if uid not in self.missing:
            return self._turn_away(found, delivery, ours)
        if not ours:
            return self._refuse(uid, Reason.WRONG_INSTANCE, "its data set names another series", DOES_NOT_MATCH)
        if found.SOPInstanceUID != uid:
            return self._refuse(uid, Reason.WRONG_INSTANCE, "its data set names another instance", DOES_NOT_MATCH)
        return self._keep(found, delivery, arrival)

    def _turn_away(self, found: InstanceRef, delivery: Delivery, ours: bool) -> int:
        """Not asked for: never kept, and only answered mildly when our own request brought it."""
        uid = delivery.SOPInstanceUID
        with self._lock:
            self.unexpected[uid] = InstanceRef(
                StudyInstanceUID=found.StudyInstanceUID if is_uid(found.StudyInstanceUID) else "",
                SeriesInstanceUID=found.SeriesInstanceUID if is_uid(found.SeriesInstanceUID) else "",
                SOPInstanceUID=uid,
                SOPClassUID=delivery.SOPClassUID if is_uid(delivery.SOPClassUID) else "",
            )
        return DISCARDED if delivery.solicited or ours else NOT_AUTHORISED

    def _keep(self, found: InstanceRef, delivery: Delivery, arrival: Arrival) -> int:
        uid = delivery.SOPInstanceUID
        with self._lock:
            if uid in self._kept:
                return self._again(uid, arrival)
            if uid in self._conflicts:  # a third copy settles nothing
                return CANNOT_UNDERSTAND
        final = self.into / f"{uid}.dcm"
        try:
            arrival.sync()
            with self._lock:
                if uid in self._kept:
                    return self._again(uid, arrival)
                arrival.keep(final)
                self.refused.pop(uid, None)  # a broken copy came first
                digest = arrival.digest()
                self._kept[uid] = _Kept(found, delivery, final, arrival.size, digest)
                self._digests.append(digest)
        except OSError as error:
            return self._no_room(uid, _in_words(error))
        return STORED

    def _again(self, uid: str, arrival: Arrival) -> int:
        """The same instance a second time; called with the lock held."""
        if self._kept[uid].digest.value() == arrival.digest().value():
            self.duplicates += 1
            return STORED
        self._kept.pop(uid).path.unlink(missing_ok=True)
        sync_folder(self.into)
        self._conflicts.add(uid)
        self.refused[uid] = self._failure(uid, Reason.CONFLICT, "the PACS sent two different objects under one UID")
        return CANNOT_UNDERSTAND

    def _refuse(self, uid: str, reason: Reason, detail: str, status: int) -> int:
        with self._lock:
            failure = self._failure(uid, reason, detail)
            if uid not in self.missing:
                self._strays.append(failure)
            elif uid not in self._kept:
                self.refused[uid] = failure
        return status

    def _no_room(self, uid: str, reason: str) -> int:
        message = f"could not be written to the landing zone: {reason}"
        with self._lock:
            self.is_full = True
            self.refused[uid] = RetrievalFailure(self.series.SeriesInstanceUID, uid, OUT_OF_RESOURCES, message)
        return OUT_OF_RESOURCES

    def _failure(self, uid: str, reason: Reason, detail: str) -> RetrievalFailure:
        return RetrievalFailure(self.series.SeriesInstanceUID, uid, None, f"{reason.value}: {detail}")


class Keeper(Protocol):
    """What instances arrive at: a landing, an inbox."""

    into: Path  # on the disk that instances come to
    minimum_free_bytes: int  # of it; with less nothing is taken

    def judge(self, delivery: Delivery, arrival: Arrival) -> int:
        """Keep the file of an arrival under a final name, or not; the C-STORE status to answer."""
        ...


class Arrival:
    """One instance on its way to the disk. What comes goes to a file without a final name.

    A small instance is hashed when it is whole, a large one while it comes: what was written of it may have left the
    page cache. Ends with :meth:`finish` or :meth:`abandon`; nothing is left behind unless the landing kept it. Memory
    does not grow with the instance. One thread at a time.
    """

    def __init__(self, landing: Keeper, delivery: Delivery, path: Path) -> None:
        self.path = path
        self.problem = ""  # why the disk refuses; what follows is read and dropped
        self._landing = landing
        self._delivery = delivery
        self._digest: hashlib._Hash | None = None  # of a large instance
        self._content: mmap.mmap | None = None  # of the whole file
        self._head = _PREFIX + _file_meta(delivery)
        self._descriptor = -1
        self._is_kept = False
        self.size = len(self._head)  # of the file so far, in bytes
        self._looked_at = 0  # the size when there was room
        try:
            self._require_room()
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._put(self._head)
        except OSError as error:
            self.problem = _in_words(error)

    def digest(self) -> _Digest:
        """The SHA-256 of the data set as it came; to be asked for once, after the identity."""
        content, self._content = self._content, None
        return _Digest(self._digest, content, len(self._head))

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the data set."""
        if self.problem:
            return
        try:
            if self.size - self._looked_at > _LOOK_EVERY:
                self._require_room()
            self._put(chunk)
        except OSError as error:
            self.problem = _in_words(error)
        else:
            self.size += len(chunk)
            if self._digest is not None:
                self._digest.update(chunk)
            elif self.size > _SMALL:
                with self._mapped() as content:
                    self._digest = _sha256(content, len(self._head))

    def identity(self) -> InstanceRef:
        """The UIDs in the data set, which is walked to its end; raises Quarantine as :func:`read_identity`."""
        start = len(self._head)
        if self.size == start:
            raise Quarantine(Reason.UNREADABLE, "the data set is empty")
        self._content = self._mapped()
        with memoryview(self._content) as whole, whole[start:] as data:
            return read_identity(data, self._delivery.TransferSyntaxUID)

    def sync(self) -> None:
        """Make what was written survive a power cut. Raises OSError."""
        os.fsync(self._descriptor)

    def keep(self, final: Path) -> None:
        """Give the file its final name, durably. Raises OSError."""
        os.rename(self.path, final)  # noqa: PTH104 - for each instance, and a Path takes longer than the call
        self._is_kept = True
        sync_folder(final.parent)

    def finish(self) -> int:
        """The data set is complete: the C-STORE status to answer."""
        try:
            return self._landing.judge(self._delivery, self)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """The sender was lost, or the instance is not kept."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._content is not None:
            self._content.close()
            self._content = None
        if not self._is_kept:
            with contextlib.suppress(OSError):  # the disk is full or gone, which the status has said
                self.path.unlink(missing_ok=True)

    def _require_room(self) -> None:
        """Raises OSError when the disk is full but for what must stay free."""
        self._looked_at = self.size
        if not self._landing.minimum_free_bytes:
            return
        disk = os.statvfs(self._landing.into)
        if disk.f_bavail * disk.f_frsize < self._landing.minimum_free_bytes:
            raise OSError(errno.ENOSPC, _RESERVED)

    def _mapped(self) -> mmap.mmap:
        """The file so far."""
        return mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ)

    def _put(self, chunk: bytes | bytearray | memoryview) -> None:
        written = os.write(self._descriptor, chunk)
        while written < len(chunk):  # it may take less than it is given
            written += os.write(self._descriptor, memoryview(chunk)[written:])


class _Digest:
    """The SHA-256 of a data set, made when it is first asked for, in any thread."""

    def __init__(self, made: hashlib._Hash | None, content: mmap.mmap | None, start: int) -> None:
        self._made = made
        self._content = content
        self._start = start
        self._lock = threading.Lock()

    def value(self) -> str:
        """The digest in hex."""
        with self._lock:
            if self._made is None:
                if self._content is None:
                    raise ValueError("the instance has not come to its end")
                self._made = _sha256(self._content, self._start)
            if self._content is not None:
                self._content.close()
                self._content = None
            return self._made.hexdigest()


@dataclass(frozen=True, slots=True)
class _Kept:
    """An instance under its final name, whose digest may still be made."""

    found: InstanceRef
    delivery: Delivery
    path: Path
    size: int
    digest: _Digest

    def instance(self) -> LandedInstance:
        """The instance; waits for its digest."""
        return LandedInstance(
            StudyInstanceUID=self.found.StudyInstanceUID,
            SeriesInstanceUID=self.found.SeriesInstanceUID,
            SOPInstanceUID=self.delivery.SOPInstanceUID,
            SOPClassUID=self.found.SOPClassUID or self.delivery.SOPClassUID,
            TransferSyntaxUID=self.delivery.TransferSyntaxUID,
            path=self.path,
            size=self.size,
            sha256=self.digest.value(),
        )


def describe(path: Path) -> LandedInstance:
    """What a landed file holds, read again from the file: for a run that was killed before it could report.

    Raises Quarantine when the file is not whole or is not the instance its name says.
    """
    size = path.stat().st_size
    if size == 0:
        raise Quarantine(Reason.TRUNCATED, "the file is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        syntax, start = _read_file_meta(content)
        with memoryview(content) as whole, whole[start:] as data:
            found = read_identity(data, syntax)
            digest = hashlib.sha256(data).hexdigest()
    if path.name != f"{found.SOPInstanceUID}.dcm":
        raise Quarantine(Reason.WRONG_INSTANCE, "the file's name is not its SOPInstanceUID")
    return LandedInstance(
        StudyInstanceUID=found.StudyInstanceUID,
        SeriesInstanceUID=found.SeriesInstanceUID,
        SOPInstanceUID=found.SOPInstanceUID,
        SOPClassUID=found.SOPClassUID,
        TransferSyntaxUID=syntax,
        path=path,
        size=size,
        sha256=digest,
    )


def _file_meta(delivery: Delivery) -> bytes:
    """The File Meta Information of PS3.10 7.1, Explicit VR Little Endian, for a data set as received."""
    elements = b"".join(
        (
            struct.pack("<HH2sHL2s", 0x0002, 0x0001, b"OB", 0, 2, b"\x00\x01"),
            _short(0x0002, b"UI", delivery.SOPClassUID, b"\0"),
            _short(0x0003, b"UI", delivery.SOPInstanceUID, b"\0"),
            _short(0x0010, b"UI", delivery.TransferSyntaxUID, b"\0"),
            _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
        )
    )
    return struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def _short(element: int, vr: bytes, text: str, pad: bytes) -> bytes:
    value = text.encode("ascii", "replace")  # a UID that is none is turned away before the file gets a name
    value += pad * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def _read_file_meta(content: mmap.mmap) -> tuple[str, int]:
    """The transfer syntax of a file this module wrote, and where its data set starts."""
    start = len(_PREFIX)
    if len(content) < start + 12 or content[:start] != _PREFIX:
        raise Quarantine(Reason.UNREADABLE, "not a file of the landing zone")
    group, element, _, _, length = struct.unpack_from("<HH2sHL", content, start)
    end = start + 12 + length
    if (group, element) != (0x0002, 0x0000) or end > len(content):
        raise Quarantine(Reason.TRUNCATED, "the file ends inside its File Meta Information")
    marker = struct.pack("<HH2s", 0x0002, 0x0010, b"UI")
    at = content.find(marker, start, end)
    if at < 0:
        raise Quarantine(Reason.UNREADABLE, "TransferSyntaxUID is missing")
    (size,) = struct.unpack_from("<H", content, at + 6)
    return content[at + 8 : at + 8 + size].rstrip(b"\0 ").decode("ascii", "replace"), end


def _sha256(content: mmap.mmap, start: int) -> hashlib._Hash:
    """The digest of a data set, from its start in its file."""
    with memoryview(content) as whole, whole[start:] as data:
        return hashlib.sha256(data)


def _in_words(error: OSError) -> str:
    return error.strerror or "input/output error"
