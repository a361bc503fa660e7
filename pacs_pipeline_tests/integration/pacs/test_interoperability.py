"""C-GET and C-MOVE out of three archives, plain and over TLS: what lands is what is stored, byte for byte.

Orthanc speaks TLS itself (``test_tls.py``); before the others, which do not, stands a proxy as in hospitals. DICOMweb
is in ``test_dicomweb.py``, push in ``test_receive.py``.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from pacs_pipeline.pacs import CGetRetriever, CMoveRetriever, Endpoint, Landing, PacsClient, StorageReceiver, describe
from pacs_pipeline.records import LandedInstance
from pacs_pipeline_tests.certificates import Authority, settings
from pacs_pipeline_tests.integration.pacs.archive import STUDY_DATE, Stored, build
from pacs_pipeline_tests.integration.servers import dcmqrscp, free_port, orthanc, qrscp
from pacs_pipeline_tests.integration.servers.tls import tls_in_front, tls_towards

pytestmark = pytest.mark.integration

RECEIVER = "RECEIVER"
UNCOMPRESSED = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}
JPEG_2000 = "1.2.840.10008.1.2.4.90"


@dataclass(frozen=True)
class Running:
    """An archive that is filled, where it listens, and where it sends to."""

    name: str
    port: int
    ae_title: str
    move_port: int
    stored: tuple[Stored, ...]


@pytest.fixture(scope="module", params=["orthanc", "dcmqrscp", "qrscp"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp(request.param)
    move_port = free_port()
    destinations = {RECEIVER: move_port}
    start: Callable[[], contextlib.AbstractContextManager[object]] = {
        "orthanc": lambda: orthanc(folder, destinations=destinations),
        "dcmqrscp": lambda: dcmqrscp(folder, destinations=destinations, options=["+xv", "-xv"]),
        "qrscp": lambda: qrscp(folder, destinations=destinations),
    }[request.param]
    with start() as server:
        stored = build(folder / "files")
        server.fill(item.path for item in stored)  # type: ignore[attr-defined]
        yield Running(request.param, server.port, server.ae_title, move_port, stored)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"), "authority")


def harvested(archive: Running, protocol: str, into: Path, authority: Authority | None) -> dict[str, LandedInstance]:
    """What lands of everything that the archive lists; nothing may be left without an account."""
    with contextlib.ExitStack() as held:
        port, receiver_port, tls = archive.port, archive.move_port, None
        if authority is not None:
            theirs, tls = authority.issue("theirs"), settings(authority, authority.issue("ours"))
            server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.path))
            client = ssl.create_default_context(cafile=str(authority.path))
            server.verify_mode = ssl.CERT_REQUIRED
            for context in (server, client):
                context.load_cert_chain(theirs.certificate, theirs.key)
            receiver_port = free_port()
            port = held.enter_context(tls_in_front(archive.port, server))
            held.enter_context(tls_towards(receiver_port, client, listen=archive.move_port))
        endpoint = Endpoint("north", "127.0.0.1", port, archive.ae_title, "PIPELINE", 20, tls=tls)
        receiver = StorageReceiver(RECEIVER, receiver_port, bind="127.0.0.1", timeout=20, tls=tls)
        with PacsClient(endpoint) as census:
            (study,) = census.find_studies(STUDY_DATE)
            listed = [(series, census.find_instances(series)) for series in study.series]
        landed: dict[str, LandedInstance] = {}
        retriever = CGetRetriever(endpoint) if protocol == "c-get" else CMoveRetriever(endpoint, receiver)
        with retriever:
            for series, refs in listed:
                wanted = {ref.SOPInstanceUID for ref in refs}
                landing = Landing(series, wanted, into / series.SeriesInstanceUID)
                report = retriever.retrieve(landing, refs)
                landed |= {item.SOPInstanceUID: item for item in report.landed}
                failed = {failure.SOPInstanceUID for failure in report.failures}
                assert {item.SOPInstanceUID for item in report.landed} | failed == wanted
    return landed


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("protocol", ["c-get", "c-move"])
def test_what_lands_is_what_is_stored(
    archive: Running, protocol: str, secure: bool, tmp_path: Path, authority: Authority
) -> None:
    landed = harvested(archive, protocol, tmp_path, authority if secure else None)
    for stored in archive.stored:
        can_send = archive.name != "dcmqrscp" or stored.TransferSyntaxUID in {*UNCOMPRESSED, JPEG_2000}
        item = landed.get(stored.SOPInstanceUID)
        assert (item is not None) is can_send, stored.path.name
        if item is None:
            continue
        assert describe(item.path) == item
        if item.TransferSyntaxUID == stored.TransferSyntaxUID:
            assert item.sha256 == stored.sha256, stored.path.name
        else:  # dcmqrscp has one uncompressed syntax for all
            assert archive.name == "dcmqrscp"
            assert pydicom.dcmread(item.path).pixel_array.tolist() == pydicom.dcmread(stored.path).pixel_array.tolist()
