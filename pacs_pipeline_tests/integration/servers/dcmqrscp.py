"""DCMTK's ``dcmqrscp``, the reference archive of Debian's package ``dcmtk``."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacs_pipeline_tests.integration.servers.processes import free_port, program, running


@dataclass(frozen=True)
class DcmqrscpServer:
    """A running dcmqrscp."""

    host: str
    port: int
    ae_title: str
    folder: Path
    process: subprocess.Popen[bytes]

    def fill(self, files: Iterable[Path]) -> None:
        """Enter files into the archive's index as they are and where they are."""
        names = [str(file) for file in files]
        subprocess.run([program("dcmqridx", "dcmtk"), str(self.folder), *names], check=True, capture_output=True)


@contextlib.contextmanager
def dcmqrscp(
    tmp_path: Path,
    *,
    ae_title: str = "DCMQRSCP",
    destinations: Mapping[str, int] | None = None,
    options: Sequence[str] = (),
) -> Iterator[DcmqrscpServer]:
    """dcmqrscp on loopback. ``destinations`` are the C-MOVE destinations: AE title to port on this machine.

    dcmqrscp sends in one compressed transfer syntax at most, chosen by ``options``: ``-xv`` proposes
    JPEG 2000 to a C-MOVE destination, ``+xv`` accepts it from a C-GET client.
    """
    binary = program("dcmqrscp", "dcmtk")
    folder = tmp_path / "dcmqrscp"
    folder.mkdir()
    port = free_port()
    hosts = [f"host{n} = ({title}, localhost, {at})" for n, (title, at) in enumerate((destinations or {}).items())]
    lines = [
        f"NetworkTCPPort = {port}",
        "MaxPDUSize = 131072",
        "MaxAssociations = 16",
        "HostTable BEGIN",
        *hosts,
        "HostTable END",
        "VendorTable BEGIN",
        "VendorTable END",
        "AETable BEGIN",
        f"{ae_title} {folder} RW (100000, 1024mb) ANY",
        "AETable END",
    ]
    file = tmp_path / "dcmqrscp.cfg"
    file.write_text("\n".join(lines) + "\n")
    command = [binary, "--config", str(file), *options]
    with running(command, [port], tmp_path / "dcmqrscp.log") as process:
        yield DcmqrscpServer("127.0.0.1", port, ae_title, folder, process)
