"""Instances per second over all processes of a site: when the next one may come, in a file of eight bytes."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from pathlib import Path

from pacs_pipeline.pacs.access import shared
from pacs_pipeline.pacs.durable import make_folder

_MOST_CALLERS = 64  # that can be waiting at once, one per association
_NEXT = struct.Struct("<d")


class Rate:
    """Spreads instances evenly. The clock is one that all processes of the machine share (``time.monotonic``)."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "rate.lock"
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def wait(self, per_second: float, now: float, instances: int = 1) -> float:
        """Count ``instances`` in, and return for how many seconds from ``now`` on to wait before they come."""
        length = instances / per_second
        try:
            turn = self._take_turn(now, length, latest=now + _MOST_CALLERS * max(length, 1 / per_second))
        except OSError as error:
            raise shared.disk_error(error, self._file) from error
        return turn - now

    def _take_turn(self, now: float, length: float, *, latest: float) -> float:
        with self._lock:
            descriptor = self._open()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                stored = os.pread(descriptor, _NEXT.size, 0)
                turn = float(_NEXT.unpack(stored)[0]) if len(stored) == _NEXT.size else now
                if not now <= turn <= latest:
                    turn = now  # nothing came for a while, or the machine was started again
                os.pwrite(descriptor, _NEXT.pack(turn + length), 0)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        return turn

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            make_folder(self._file.parent)
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, shared.FILE_MODE)
        return self._descriptor
