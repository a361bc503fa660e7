"""pynetdicom's ``qrscp``: an archive that shares no code with Orthanc or DCMTK."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pynetdicom import AE

from pacs_pipeline_tests.integration.servers.processes import free_port, running


@dataclass(frozen=True)
class QrscpServer:
    """A running qrscp."""

    host: str
    port: int
    ae_title: str
    process: subprocess.Popen[bytes]

    def fill(self, files: Iterable[Path]) -> None:
        """Send files in the transfer syntax in which they are."""
        for file in files:
            ds = pydicom.dcmread(file)
            ae = AE("FILLER")
            ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
            assoc = ae.associate(self.host, self.port, ae_title=self.ae_title)
            assert assoc.is_established
            assert assoc.send_c_store(ds).Status == 0x0000
            assoc.release()


@contextlib.contextmanager
def qrscp(
    tmp_path: Path, *, ae_title: str = "QRSCP", destinations: Mapping[str, int] | None = None
) -> Iterator[QrscpServer]:
    """The application on loopback. ``destinations`` are the C-MOVE destinations: AE title to port on this machine."""
    folder = tmp_path / "qrscp"
    folder.mkdir()
    port = free_port()
    lines = [
        "[DEFAULT]",
        f"ae_title: {ae_title}",
        f"port: {port}",
        "max_pdu: 131072",
        "acse_timeout: 30",
        "dimse_timeout: 30",
        "network_timeout: 30",
        "bind_address: 127.0.0.1",
        f"instance_location: {folder / 'instances'}",
        f"database_location: {folder / 'instances.sqlite'}",
        "log_identifier: False",
    ]
    for title, at in (destinations or {}).items():
        lines += [f"[{title}]", "address: 127.0.0.1", f"port: {at}"]
    file = folder / "qrscp.ini"
    file.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "pynetdicom", "qrscp", "-q", "-c", str(file)]
    with running(command, [port], tmp_path / "qrscp.log") as process:
        yield QrscpServer("127.0.0.1", port, ae_title, process)
