"""The archives that instances come from, both filled with the same files: dcmqrscp and Orthanc, in memory."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import servers
from pacs_pipeline.demo.ports import LOOPBACK
from pacs_pipeline.errors import Permanent, Transient

_ORTHANC = shutil.which("Orthanc", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
_DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True, slots=True)
class Source:
    """A filled archive that is running; ``dicomweb`` is the address of its DICOMweb service, where it has one."""

    name: str
    port: int
    dicomweb: str = ""


@contextlib.contextmanager
def dcmqrscp(folder: Path, files: Sequence[Path], port: int, destinations: Mapping[str, int]) -> Iterator[Source]:
    """DCMTK's archive."""
    with servers.dcmqrscp(folder, files, port, destinations):
        yield Source("dcmqrscp", port)


@contextlib.contextmanager
def orthanc(
    folder: Path, files: Sequence[Path], ports: tuple[int, int], destinations: Mapping[str, int]
) -> Iterator[Source]:
    """Orthanc, with its DICOMweb plugin where that is installed. ``ports`` are those of DICOM and of HTTP."""
    if _ORTHANC is None:
        raise Permanent(
            "Orthanc is a source of this measurement, and cannot be found",
            fix="install it (Debian and Ubuntu: apt-get install orthanc orthanc-dicomweb) or use --source dcmqrscp",
        )
    storage = folder / "orthanc"
    storage.mkdir()
    dicom, web = ports
    configuration = {
        "StorageDirectory": str(storage),
        "IndexDirectory": str(storage),
        "Plugins": [str(_DICOMWEB_PLUGIN)] if _DICOMWEB_PLUGIN.exists() else [],
        "DicomAet": servers.ARCHIVE,
        "DicomPort": dicom,
        "HttpPort": web,
        "HttpDescribeErrors": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "MaximumPduLength": servers.MAXIMUM_PDU,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {title: [title, LOOPBACK, at] for title, at in destinations.items()},
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    with servers.running([_ORTHANC, str(file)], web, folder / "orthanc.log"):
        _upload(files, web)
        dicomweb = f"http://{LOOPBACK}:{web}/dicom-web" if configuration["Plugins"] else ""
        yield Source("orthanc", dicom, dicomweb)


def _upload(files: Sequence[Path], port: int) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    for file in files:
        connection.request("POST", "/instances", body=file.read_bytes())
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise Transient(f"Orthanc took an instance with HTTP status {answer.status}", fix="run again")
    connection.close()


def require() -> None:
    """Raise Permanent when a program of DCMTK is missing."""
    servers.require_dcmtk()
    if shutil.which("getscu") is None:
        raise Permanent("getscu cannot be found", fix="install DCMTK (Debian and Ubuntu: apt-get install dcmtk)")
