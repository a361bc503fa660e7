"""TLS with programs that this project did not make: Orthanc both ways, DCMTK as a sender and as a server."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pacs_pipeline.errors import Permanent, PipelineError
from pacs_pipeline.pacs import CGetRetriever, CMoveRetriever, Delivery, Endpoint, PacsClient, StorageReceiver
from pacs_pipeline.pacs.landing import Arrival, Landing
from pacs_pipeline.records import SeriesRef
from pacs_pipeline.settings import TlsSettings
from pacs_pipeline_tests.certificates import Authority, Pair, settings
from pacs_pipeline_tests.integration.pacs.archive import STUDY, STUDY_DATE, build
from pacs_pipeline_tests.integration.servers import free_port, orthanc, program, running

pytestmark = pytest.mark.integration

RECEIVER_TITLE = "RECEIVER"


@dataclass(frozen=True)
class Pki:
    """An authority, and the certificates it gave to both sides."""

    authority: Authority
    theirs: Pair
    ours: Pair

    @property
    def tls(self) -> TlsSettings:
        return settings(self.authority, self.ours)

    @property
    def dcmtk(self) -> list[str]:
        """The options of DCMTK's programs: the non-downgrading BCP 195 profile is their default."""
        return ["+tls", str(self.theirs.key), str(self.theirs.certificate), "+cf", str(self.authority.path)]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    authority = Authority(tmp_path_factory.mktemp("pki"), "authority")
    return Pki(authority, authority.issue("theirs"), authority.issue("ours"))


@pytest.mark.parametrize("protocol", ["c-get", "c-move"])
def test_orthanc_over_tls_both_ways(pki: Pki, protocol: str, tmp_path: Path) -> None:
    port = free_port()
    own = {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": str(pki.theirs.key),
        "DicomTlsCertificate": str(pki.theirs.certificate),
        "DicomTlsTrustedCertificates": str(pki.authority.path),
        "DicomModalities": {
            RECEIVER_TITLE: {"AET": RECEIVER_TITLE, "Host": "localhost", "Port": port, "UseDicomTls": True}
        },
    }
    with orthanc(tmp_path, settings=own) as server:
        stored = build(tmp_path / "files")
        server.fill(item.path for item in stored)
        endpoint = Endpoint("north", server.host, server.port, server.ae_title, "PIPELINE", 10, tls=pki.tls)
        receiver = StorageReceiver(RECEIVER_TITLE, port, bind="127.0.0.1", timeout=10, tls=pki.tls)
        with PacsClient(endpoint) as client:
            client.check()
            (study,) = client.find_studies(STUDY_DATE)
            listed = [(series, client.find_instances(series)) for series in study.series]
        landed = {}
        retriever = CGetRetriever(endpoint) if protocol == "c-get" else CMoveRetriever(endpoint, receiver)
        with retriever:
            for series, refs in listed:
                wanted = {ref.SOPInstanceUID for ref in refs}
                report = retriever.retrieve(Landing(series, wanted, tmp_path / "into" / series.SeriesInstanceUID), refs)
                assert report.failures == ()
                landed |= {item.SOPInstanceUID: item.sha256 for item in report.landed}
    assert landed == {item.SOPInstanceUID: item.sha256 for item in stored}


def test_dcmtk_as_a_server(pki: Pki, tmp_path: Path) -> None:
    port = free_port()
    command = [program("storescp", "dcmtk"), *pki.dcmtk, "--aetitle", "STORESCP", "-od", str(tmp_path), str(port)]
    endpoint = Endpoint("south", "127.0.0.1", port, "STORESCP", "PIPELINE", 10)
    with running(command, [port], tmp_path / "storescp.log"):
        with PacsClient(Endpoint("south", "127.0.0.1", port, "STORESCP", "PIPELINE", 10, tls=pki.tls)) as client:
            assert "answers C-ECHO" in client.check()
        nameless = settings(pki.authority, None)
        with (
            PacsClient(Endpoint("south", "127.0.0.1", port, "STORESCP", "PIPELINE", 10, tls=nameless)) as client,
            pytest.raises(PipelineError, match="TLS|association"),
        ):
            client.check()
        with PacsClient(endpoint) as client, pytest.raises(PipelineError, match="TLS|association") as caught:
            client.check()
        assert "TLS" in str(caught.value)


@dataclass
class Inbox:
    """A sink that lands what is pushed in one folder."""

    landing: Landing
    senders: list[str] = field(default_factory=list)

    def begin(self, delivery: Delivery, calling_ae_title: str, /) -> Arrival:
        self.senders.append(calling_ae_title)
        return self.landing.begin(delivery)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    (tmp_path / "landed").mkdir()
    return Inbox(
        Landing(SeriesRef(STUDY, f"{STUDY}.1", "CT", 3), {f"{STUDY}.1.{n}" for n in (1, 2, 3)}, tmp_path / "in")
    )


def test_dcmtk_pushes_to_a_standing_receiver(pki: Pki, tmp_path: Path, inbox: Inbox) -> None:
    files = [item for item in build(tmp_path / "files") if item.series == f"{STUDY}.1"]
    port = free_port()
    with StorageReceiver(
        RECEIVER_TITLE,
        port,
        bind="127.0.0.1",
        timeout=10,
        tls=pki.tls,
        sink=inbox,
        allowed_ae_titles=["SCANNER"],
    ):

        def push(title: str, *options: str) -> int:
            command = [program("storescu", "dcmtk"), *options, "--call", RECEIVER_TITLE, "--aetitle", title]
            names = [str(item.path) for item in files]
            return subprocess.run([*command, "localhost", str(port), *names], capture_output=True).returncode

        assert push("SOMEONE", *pki.dcmtk) != 0
        assert push("SCANNER") != 0
        assert push("SCANNER", *pki.dcmtk) == 0
    assert inbox.senders == ["SCANNER"] * 3
    assert {item.sha256 for item in inbox.landing.landed.values()} == {item.sha256 for item in files}


def test_an_orthanc_whose_authority_is_not_ours(pki: Pki, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "pki", "stranger")
    own = {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": str(pki.theirs.key),
        "DicomTlsCertificate": str(pki.theirs.certificate),
        "DicomTlsTrustedCertificates": str(pki.authority.path),
    }
    with orthanc(tmp_path, settings=own) as server:
        endpoint = Endpoint(
            "north", server.host, server.port, server.ae_title, "PIPELINE", 10, tls=settings(stranger, pki.ours)
        )
        with PacsClient(endpoint) as client, pytest.raises(Permanent, match="not trusted"):
            client.check()
