"""The servers around a measurement: an archive, a receiver, an S3 server. On loopback, ended with the benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pacs_pipeline.demo import supervise
from pacs_pipeline.demo.ports import LOOPBACK, remembered_ports
from pacs_pipeline.errors import Permanent, Transient

ARCHIVE = "BENCH_PACS"
"""The AE title of the archive, whichever program it is."""

ENVIRONMENT = os.environ | {"TCP_NODELAY": "1"}
"""DCMTK leaves Nagle's algorithm on, and then every message takes some 40 ms."""

MAXIMUM_PDU = 131_072
_DCMTK = ("dcmqrscp", "dcmqridx", "movescu", "storescp")
_FILES_PER_CALL = 1_000
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0


def require_dcmtk() -> None:
    """Raise Permanent when a program of DCMTK is missing."""
    missing = [name for name in _DCMTK if shutil.which(name) is None]
    if missing:
        raise Permanent(
            f"the peer of this measurement is DCMTK, and {', '.join(missing)} cannot be found",
            fix="install it (Debian and Ubuntu: apt-get install dcmtk) and run again",
        )


def free_ports(folder: Path, *names: str) -> dict[str, int]:
    """A free port of loopback for each name."""
    return remembered_ports(folder / "ports.json", names)


@contextlib.contextmanager
def dcmqrscp(folder: Path, files: Sequence[Path], port: int, destinations: Mapping[str, int]) -> Iterator[None]:
    """DCMTK's archive, serving ``files`` where they are. ``destinations`` are the AE titles a C-MOVE may name.

    Its index is a flat file that is searched from the start: entering 1,000 instances takes seconds, 10,000 minutes.
    """
    index = folder / "dcmqrscp"
    index.mkdir()
    for first in range(0, len(files), _FILES_PER_CALL):
        names = [str(file) for file in files[first : first + _FILES_PER_CALL]]
        subprocess.run(["dcmqridx", str(index), *names], check=True, capture_output=True)
    hosts = [f"host{n} = ({title}, {LOOPBACK}, {at})" for n, (title, at) in enumerate(destinations.items())]
    lines = [
        f"NetworkTCPPort = {port}",
        f"MaxPDUSize = {MAXIMUM_PDU}",
        "MaxAssociations = 16",
        *("HostTable BEGIN", *hosts, "HostTable END"),
        *("VendorTable BEGIN", "VendorTable END"),
        *("AETable BEGIN", f"{ARCHIVE} {index} R (500, 1024mb) ANY", "AETable END"),
    ]
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text("\n".join(lines) + "\n")
    with running(["dcmqrscp", "--config", str(configuration)], port, folder / "dcmqrscp.log"):
        yield


@contextlib.contextmanager
def embedded_pacs(folder: Path, population: Path, port: int, destinations: Mapping[str, int]) -> Iterator[None]:
    """The demo's archive, which is slower than dcmqrscp and serves any number of instances below ``population``."""
    moves = [f"{title}={at}" for title, at in destinations.items()]
    command = [sys.executable, "-m", "benchmarks.embedded_pacs", str(population), ARCHIVE, str(port), *moves]
    with running(command, port, folder / "embedded_pacs.log"):
        yield


@contextlib.contextmanager
def storescp(folder: Path, into: Path, ae_title: str, port: int) -> Iterator[None]:
    """DCMTK's receiver in its fastest way: data sets are written as they come (``+B``)."""
    command = ["storescp", "+B", "--aetitle", ae_title, "--max-pdu", str(MAXIMUM_PDU)]
    with running([*command, "--output-directory", str(into), str(port)], port, folder / "storescp.log"):
        yield


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """A server that listens on ``port``; it ends with the block or with this process, whatever happens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            supervise.command(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            cwd=Path(__file__).resolve().parents[1],
            start_new_session=True,
        )
    try:
        _wait(process, port, command[0], log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, name: str, log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        time.sleep(0.05)
    said = log.read_text(errors="replace").strip().splitlines()
    raise Transient(f"{Path(name).name} did not start: {said[-1] if said else 'it said nothing'}", fix="run again")
