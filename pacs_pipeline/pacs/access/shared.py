"""Small files that the processes of a site share: read whole, replaced whole, and locks of the kernel.

A killed process leaves no lock behind. What is kept here can be learned again: a damaged file counts as none.
"""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import json
import os
import secrets
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pacs_pipeline.errors import Busy, Permanent, PipelineError, Transient
from pacs_pipeline.pacs.durable import make_folder, sync_folder

FILE_MODE = 0o600
PATIENCE_SECONDS = 10.0
"""How long a lock that is only held to read and write a small file is waited for."""

_POLL_SECONDS = 0.005
_held: set[int] = set()


def read(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; empty when there is none or it is damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise disk_error(error, path) from error
    return content if isinstance(content, dict) else {}


def replace(path: Path, content: Mapping[str, Any]) -> None:
    """Put ``content`` at ``path``, there for every reader in whole; durable. Raises Transient or Permanent."""
    temporary = path.parent / f".tmp-{secrets.token_hex(8)}"
    try:
        make_folder(path.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error


def instant(value: object) -> dt.datetime | None:
    """An instant that was written in ISO 8601 with its offset; None when it is none."""
    try:
        found = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def remove(path: Path) -> bool:
    """Delete ``path``, durably; whether it was there. Raises Transient or Permanent."""
    try:
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise disk_error(error, path) from error
    return True


class Lock:
    """A lock of the kernel on a file; held until :meth:`release`, until nobody refers to it, or the process ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._release = weakref.finalize(self, _give_back, descriptor, os.getpid())

    @classmethod
    def try_take(cls, path: Path) -> Lock | None:
        """The lock, or None while another holds it. Raises Permanent where there are no such locks."""
        try:
            make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise disk_error(error, path) from error
        _held.add(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            _held.discard(descriptor)
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise Permanent(
                f"{path} cannot be locked ({error.strerror})",
                fix="put zones.root on a file system with flock (local disk, NFS v4)",
            ) from error
        return cls(path, descriptor)

    def sign(self) -> None:
        """Write into the file who holds it; a disk without room for that is no reason not to hold it."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)

    def release(self) -> None:
        """Give the lock back."""
        self._release()


def _give_back(descriptor: int, owner: int) -> None:
    if os.getpid() == owner and descriptor in _held:  # a forked child closed its copy already
        _held.discard(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that is being forked may have a copy still
        os.close(descriptor)


def holder(path: Path) -> str:
    """Who signed the lock file ``path``."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:200] or "another process"
    except OSError:
        return "another process"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock for as long as it takes to read and write a small file; raises Busy when somebody keeps it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (lock := Lock.try_take(path)) is None:
        if time.monotonic() >= deadline:
            raise Busy(f"{path} is kept locked by another process", fix="see with fuser which one hangs, and end it")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def disk_error(error: OSError, path: Path) -> PipelineError:
    """``error`` at ``path`` in the project's terms: Transient when waiting can help, else Permanent."""
    what = f"{path} cannot be read or written ({error.strerror or type(error).__name__})"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR):
        return Permanent(what, fix="let this user read and write there, or name another folder under zones")
    return Transient(what, fix="free space on that file system, or look at the disk, then run again")


def _close_in_child() -> None:
    """A lock belongs to the run, not to its pool: an orphaned worker must not keep it after the run was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
