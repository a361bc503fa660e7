"""DCMTK's own ways to bring instances: ``movescu`` into ``storescp +B``, and ``getscu +B``."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import servers
from benchmarks.harvest.sources import Source
from pacs_pipeline.demo.ports import LOOPBACK
from pacs_pipeline.errors import Transient

AE_TITLE = "BENCH_DCMTK"


def c_move(source: Source, studies: Sequence[str], into: Path, expected: int) -> float:
    """Seconds until all studies were written by the storescp that runs and writes to ``into``."""
    return _seconds(["movescu", "--move", AE_TITLE], source, studies, into, expected)


def c_get(source: Source, studies: Sequence[str], into: Path, expected: int) -> float:
    """Seconds that ``getscu +B`` takes for all studies."""
    return _seconds(["getscu", "+B", "--output-directory", str(into)], source, studies, into, expected)


def _seconds(command: list[str], source: Source, studies: Sequence[str], into: Path, expected: int) -> float:
    query = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=" + "\\".join(studies)]
    options = ["--study", "--call", servers.ARCHIVE, "--max-pdu", str(servers.MAXIMUM_PDU)]
    starting = _start_seconds(command[0])
    start = time.perf_counter()
    done = subprocess.run(
        [*command, *options, *query, LOOPBACK, str(source.port)],
        capture_output=True,
        text=True,
        env=servers.ENVIRONMENT,
    )
    seconds = time.perf_counter() - start
    arrived = sum(1 for _ in into.iterdir())
    if done.returncode or arrived != expected:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise Transient(f"{command[0]} brought {arrived} of {expected} instances and said {said!r}", fix="run again")
    return seconds - starting


def _start_seconds(program: str) -> float:
    """How long a program takes to start and say its version, which is no part of a transfer."""
    start = time.perf_counter()
    subprocess.run([program, "--version"], check=True, capture_output=True, env=servers.ENVIRONMENT)
    return time.perf_counter() - start
