"""Orthanc, the small PACS of Debian's package ``orthanc``."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pacs_pipeline_tests.integration.servers.processes import REQUIRE_VARIABLE, free_port, program, running

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class OrthancServer:
    """A running Orthanc."""

    host: str
    port: int
    ae_title: str
    http_port: int
    process: subprocess.Popen[bytes]
    user: tuple[str, str] | None = None  # name and password that it asks for

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        return f"{self.url}/dicom-web"

    def fill(self, files: Iterable[Path]) -> None:
        """Upload files as they are; Orthanc keeps the bytes."""
        headers = {}
        if self.user:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
        for file in files:
            request = urllib.request.Request(f"{self.url}/instances", file.read_bytes(), headers, method="POST")
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 200


@contextlib.contextmanager
def orthanc(
    tmp_path: Path,
    *,
    ae_title: str = "ORTHANC",
    destinations: Mapping[str, int] | None = None,
    settings: Mapping[str, object] | None = None,
    dicomweb: bool = False,
    user: tuple[str, str] | None = None,
) -> Iterator[OrthancServer]:
    """Orthanc on loopback. ``destinations`` are the C-MOVE destinations: AE title to port on this machine.

    ``user`` is a name with its password that the HTTP server asks for.
    """
    binary = program("Orthanc", "orthanc")
    if dicomweb:
        _require_dicomweb()
    folder = tmp_path / "orthanc"
    folder.mkdir()
    port, http_port = free_port(), free_port()
    configuration = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "Plugins": [str(DICOMWEB_PLUGIN)] if dicomweb else [],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DicomAet": ae_title,
        "DicomPort": port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": user is not None,
        "RegisteredUsers": dict([user] if user else []),
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
        yield OrthancServer("127.0.0.1", port, ae_title, http_port, process, user)


def _require_dicomweb() -> None:
    if not DICOMWEB_PLUGIN.exists():
        message = "Orthanc's DICOMweb plugin is not installed (Debian package orthanc-dicomweb)"
        if os.environ.get(REQUIRE_VARIABLE) == "1":
            pytest.fail(message)
        pytest.skip(message)
