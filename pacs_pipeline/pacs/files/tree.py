"""A folder tree of files: walked without going round in circles, and read only while they are what was listed."""

# ruff: noqa: PTH114, PTH116, PTH118 - names are bytes here, whatever their encoding
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pacs_pipeline.errors import Permanent, PipelineError, Quarantine, Transient
from pacs_pipeline.pacs.files.header import WINDOW
from pacs_pipeline.pacs.files.source import Entry
from pacs_pipeline.records import Reason

_CHUNK = 1 << 20
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_PLACE_AWAY = frozenset(
    {errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV, errno.ENXIO}
    | {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


class FolderFiles:
    """The files of a folder tree (see :class:`Files`). Links are followed, each folder is visited once.

    Hidden and foreign files are listed too: what they are is told by their content. ``where`` is the folder in words.
    """

    newest_wins = False
    window = WINDOW

    def __init__(self, root: Path, where: str) -> None:
        self.where = where
        self.root = os.fsencode(root)

    def scope(self, study_date: object) -> bytes:  # noqa: ARG002 - a tree may hold any date anywhere
        """Any file may be of any date."""
        return b""

    def list(self, scope: bytes = b"") -> Iterator[Entry]:
        """Every file of the tree. Raises Transient or Permanent when a folder of it cannot be listed."""
        for name, found in self.walk():
            if name.startswith(scope):
                yield entry_of(name, found)

    def walk(self, below: bytes = b"") -> Iterator[tuple[bytes, os.stat_result | None]]:
        """Name and status of every file in the folder ``below``; None for a link that leads nowhere."""
        return walk(self.root, below, self._cannot_list)

    def read(self, entry: Entry, start: int, length: int) -> bytes:
        """See :class:`Files`."""
        with self._open(entry) as descriptor:
            return os.pread(descriptor, length, start)

    def stream(self, entry: Entry, start: int) -> Iterator[bytes]:
        """See :class:`Files`."""
        with self._open(entry) as descriptor:
            ahead = b""
            while chunk := os.pread(descriptor, _CHUNK, start):
                if ahead:
                    yield ahead
                ahead, start = chunk, start + len(chunk)
            if _version(os.fstat(descriptor)) != entry.version or start != entry.size:
                raise _changed()
            if ahead:
                yield ahead

    def close(self) -> None:
        """Nothing is held open."""

    @contextmanager
    def _open(self, entry: Entry) -> Iterator[int]:
        try:
            # without waiting for whoever writes into a pipe that took the file's place
            descriptor = os.open(os.path.join(self.root, entry.name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or (found.st_size, _version(found)) != (
                    entry.size,
                    entry.version or _version(found),
                ):
                    raise _changed()
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in _GONE:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
            if error.errno in _PLACE_AWAY:
                raise self._away(error) from None
            raise Quarantine(Reason.UNREADABLE, f"the file cannot be read ({reason_of(error)})") from None

    def _cannot_list(self, error: OSError, at_root: bool) -> PipelineError:
        if error.errno in _PLACE_AWAY | {errno.EIO}:
            return self._away(error)
        what = self.where if at_root else f"a folder below {self.where}"
        return Permanent(
            f"{what} cannot be listed ({reason_of(error)})",
            fix="let this user read the whole tree, or correct its path",
        )

    def _away(self, error: OSError) -> Transient:
        return Transient(
            f"{self.where} cannot be reached ({reason_of(error)})", fix="mount its file system again, then run again"
        )


def walk(
    root: bytes, below: bytes, problem: Callable[[OSError, bool], PipelineError]
) -> Iterator[tuple[bytes, os.stat_result | None]]:
    """Name (from ``root`` on) and status of every file, folder by folder; None for a link that leads nowhere.

    What is neither file nor folder is left out. A folder that is reached twice, over a link, is walked once. Raises
    what ``problem`` makes of an error (and of whether it was at the root itself).
    """
    visited: set[tuple[int, int]] = set()
    waiting = [below]
    while waiting:
        folder = waiting.pop()
        try:
            here = os.stat(os.path.join(root, folder))
            if (here.st_dev, here.st_ino) in visited:
                continue
            visited.add((here.st_dev, here.st_ino))
            with os.scandir(os.path.join(root, folder)) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            if folder and error.errno in _GONE:
                continue  # removed meanwhile
            raise problem(error, not folder) from None
        folders = []
        for name in names:
            path = os.path.join(folder, name)
            try:
                found = os.stat(os.path.join(root, path))
            except OSError as error:
                if error.errno not in _GONE:
                    raise problem(error, False) from None
                if os.path.islink(os.path.join(root, path)):
                    yield path, None
                continue
            if stat.S_ISDIR(found.st_mode):
                folders.append(path)
            elif stat.S_ISREG(found.st_mode):
                yield path, found
        waiting += reversed(folders)


def entry_of(name: bytes, found: os.stat_result | None) -> Entry:
    """A file of a walk as it is listed."""
    return Entry(name, 0, "") if found is None else Entry(name, found.st_size, _version(found))


def reason_of(error: OSError) -> str:
    """The error in words, without the path."""
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _version(found: os.stat_result) -> str:
    """Changes with the content, also when a copy keeps the time of modification."""
    return f"{found.st_mtime_ns}-{found.st_ctime_ns}"


def _changed() -> Quarantine:
    return Quarantine(Reason.WRONG_INSTANCE, "the file is not the one that was listed")
