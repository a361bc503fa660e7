"""One run at a time works on a partition: kernel locks that a killed process cannot leave behind."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pacs_pipeline.errors import Busy, Permanent
from pacs_pipeline.records import Partition
from pacs_pipeline.storage.atomic import FILE_MODE, disk_error, make_folder

_POLL_SECONDS = 0.1
_held: set[int] = set()


@contextmanager
def partition_lock(folder: Path, partition: Partition, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the exclusive lock of ``partition`` for the length of the block.

    ``folder`` keeps the lock files (``Zones.state.root``); it is the same for all runs and is never purged,
    unlike the partition's own folders. Waits up to ``wait_seconds``, then raises Busy naming the holder.
    """
    make_folder(folder / "locks")
    path = folder / "locks" / f"{partition.site}_{partition.key}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise disk_error(error, path) from error
    owner = os.getpid()
    _held.add(descriptor)
    try:
        _acquire(descriptor, partition, wait_seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {owner} on {os.uname().nodename}".encode(), 0)
        yield
    finally:
        if os.getpid() == owner:  # in a forked child the number may by now be another file's
            _held.discard(descriptor)
            os.close(descriptor)


def _acquire(descriptor: int, partition: Partition, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise Permanent(
                    f"the partition {partition} cannot be locked ({error.strerror})",
                    fix="put zones.root on a file system with flock (local disk, NFS v4)",
                ) from error
        else:
            return
        if time.monotonic() >= deadline:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
            raise Busy(
                f"the partition {partition} is being worked on by {holder}",
                fix="wait until that run has ended, then run again",
            )
        time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def _close_in_child() -> None:
    """A lock belongs to the run, not to its pool: an orphaned worker must not keep it after the run was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
