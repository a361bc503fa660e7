"""Orthanc, the small PACS of Debian's package ``orthanc``."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pacs_pipeline_tests.integration.servers.processes import free_port, program, running


@dataclass(frozen=True)
class OrthancServer:
    """A running Orthanc."""

    host: str
    port: int
    ae_title: str
    http_port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    def fill(self, files: Iterable[Path]) -> None:
        """Upload files as they are; Orthanc keeps the bytes."""
        for file in files:
            request = urllib.request.Request(f"{self.url}/instances", data=file.read_bytes(), method="POST")
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 200


@contextlib.contextmanager
def orthanc(
    tmp_path: Path,
    *,
    ae_title: str = "ORTHANC",
    destinations: Mapping[str, int] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Iterator[OrthancServer]:
    """Orthanc on loopback. ``destinations`` are the C-MOVE destinations: AE title to port on this machine."""
    binary = program("Orthanc", "orthanc")
    folder = tmp_path / "orthanc"
    folder.mkdir()
    port, http_port = free_port(), free_port()
    configuration = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [],
        "DicomAet": ae_title,
        "DicomPort": port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "DicomModalities": {title: [title, "127.0.0.1", at] for title, at in (destinations or {}).items()},
        **(settings or {}),
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    with running([binary, str(file)], [port, http_port], tmp_path / "orthanc.log") as process:
        yield OrthancServer("127.0.0.1", port, ae_title, http_port, process)
