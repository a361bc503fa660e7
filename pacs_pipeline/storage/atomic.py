"""Files that are there completely or not at all: temporary name, flush, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pacs_pipeline.errors import Permanent, PipelineError, Transient

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_TEMPORARY_PREFIX = ".tmp-"
_WRITERS = 8
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FAULTS_OF_THE_MOMENT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.EINTR, errno.EAGAIN}


def make_folder(folder: Path) -> Path:
    """Create ``folder`` and its missing parents, each readable by the owner only; return it."""
    missing = []
    current = folder
    while not current.exists():
        missing.append(current)
        current = current.parent
    with _disk_errors(folder):
        for path in reversed(missing):
            try:
                path.mkdir(mode=FOLDER_MODE)
            except FileExistsError:
                continue  # another worker was faster
            path.chmod(FOLDER_MODE)  # mkdir's mode went through the umask
            _sync(path.parent)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return folder


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a new ``path``: the yielded file takes that name only when the block ends without an exception.

    The folder is created when missing, the file is readable by the owner only. Raises Transient when the
    disk is full and Permanent when the place cannot be written.
    """
    make_folder(path.parent)
    temporary = path.parent / f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    with _disk_errors(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, FILE_MODE)
                yield file
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
            _sync(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` atomically; errors as in :func:`replacing`."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, value: object) -> None:
    """Put ``value`` at ``path`` as JSON that people can read and compare; errors as in :func:`replacing`."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True)
    write_bytes(path, text.encode("ascii") + b"\n")


def remove_stale(folder: Path) -> int:
    """Delete what killed writers left in ``folder`` (not below it); return how many files that were.

    Call it with the lock of the partition held: a temporary file of a living writer looks the same.
    """
    leftovers = list(folder.glob(f"{_TEMPORARY_PREFIX}*"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def make_durable(paths: Collection[Path]) -> None:
    """Make files that were written without a flush, their names and those of their folders survive a power failure.

    Many at once take the disk a fraction of what they take one after the other. Errors as in :func:`replacing`.
    """
    folders = {path.parent for path in paths}
    with ThreadPoolExecutor(_WRITERS) as writers:
        for some in (list(paths), list(folders | {folder.parent for folder in folders})):
            shares = [some[first::_WRITERS] for first in range(_WRITERS)]
            for _ in writers.map(_sync_all, shares):
                continue


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content in hex, read in pieces; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_error(error: OSError, path: Path) -> PipelineError:
    """``error`` at ``path`` in the project's terms: Transient when waiting can help, else Permanent."""
    what = f"{path} cannot be written ({error.strerror or type(error).__name__})"
    if error.errno in _FULL:
        return Transient(what, fix="free space on that file system or raise the quota, then run again")
    if error.errno in _FAULTS_OF_THE_MOMENT:
        return Transient(what, fix="run again; if it stays, look at the disk and the limits of this machine")
    return Permanent(what, fix="let this user write there, or name another folder in pacs_pipeline.yaml")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)).parent not in path.parents:
            raise  # a file elsewhere that the caller was reading from
        raise disk_error(error, path) from error


def _sync_all(paths: Iterable[Path]) -> None:
    for path in paths:
        with _disk_errors(path):
            _sync(path)


def _sync(path: Path) -> None:
    """Make a file, or a rename in a folder, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
