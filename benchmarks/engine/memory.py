"""How much memory the engine takes, each time in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import chain, repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.engine import inputs
from benchmarks.engine.project import deidentify, engine

MANY_FILES, REPEATED = 10_000, 200


def _peak(function: Callable[..., None], *arguments: object) -> float:
    """The largest resident set of a process that does nothing but ``function``, in MiB."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_in_process, args=(sender, function, arguments))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the measurement of memory ended with {process.exitcode}")
    return float(receiver.recv())


def _in_process(sender: Connection, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
    function(*arguments)
    status = Path("/proc/self/status").read_text()  # not getrusage, which begins with the peak of the parent
    sender.send(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def _many(profile: str, files: list[Path], number: int, out: Path) -> None:
    deidentify(engine(profile), chain.from_iterable(repeat(files, number // len(files))), out)


def memory(work: Path, profile: str, files: list[Path], gigabytes: float) -> dict[str, float]:
    """Peak memory in MiB: over 1,000 and 10,000 files, and for one very large object."""
    large = work / "large.dcm"
    inputs.large(large, gigabytes)
    few = files[:REPEATED]
    with tempfile.TemporaryDirectory(dir=work) as name:
        out = Path(name)
        peaks = {
            "1,000 files": _peak(_many, profile, few, MANY_FILES // 10, out),
            "10,000 files": _peak(_many, profile, few, MANY_FILES, out),
            "large": _peak(_many, profile, [large], 1, out),
        }
    large.unlink()
    return peaks
