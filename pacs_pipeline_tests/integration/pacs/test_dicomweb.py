"""DICOMweb against Orthanc's plugin: every kind of object, byte for byte, plain and over TLS with a password."""

from __future__ import annotations

import dataclasses
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.pacs import DicomwebArchive, DicomwebRetriever, Landing, describe
from pacs_pipeline.pacs.dicomweb import Service
from pacs_pipeline.pacs.dicomweb import archive as module
from pacs_pipeline.records import InstanceRef, RetrievalReport, SeriesRef
from pacs_pipeline_tests.certificates import Authority
from pacs_pipeline_tests.integration.pacs.archive import SERIES, STUDY, STUDY_DATE, Stored, build
from pacs_pipeline_tests.integration.pacs.test_servers import _many
from pacs_pipeline_tests.integration.servers import OrthancServer, orthanc
from pacs_pipeline_tests.integration.servers.tls import tls_in_front

pytestmark = pytest.mark.integration

USER = ("pipeline", "a long pässword")


@dataclass(frozen=True)
class Site:
    """A filled Orthanc."""

    service: Service
    stored: tuple[Stored, ...]
    server: OrthancServer


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("plain")
    with orthanc(folder, dicomweb=True) as server:
        stored = build(folder / "files")
        server.fill(item.path for item in stored)
        yield Site(Service("north", server.dicomweb_url, 10), stored, server)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Asks for a password, over TLS that asks for a certificate."""
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder, "authority")
    ours = authority.issue("client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    password = folder / "password"
    password.write_text(f"{USER[1]}\n", encoding="utf-8")
    with orthanc(folder, dicomweb=True, user=USER) as server, tls_in_front(server.http_port, context) as port:
        stored = build(folder / "files")
        server.fill(item.path for item in stored)
        service = Service(
            "north",
            f"https://127.0.0.1:{port}/dicom-web",
            10,
            username=USER[0],
            password_file=password,
            ca_bundle=authority.path,
            certificate=ours.certificate,
            key=ours.key,
        )
        yield Site(service, stored, server)


def listed(service: Service) -> list[tuple[SeriesRef, tuple[InstanceRef, ...]]]:
    with DicomwebArchive(service) as archive:
        (study,) = archive.find_studies(STUDY_DATE)
        return [(series, archive.find_instances(series)) for series in study.series]


@pytest.mark.parametrize("name", ["plain", "secured"])
def test_the_census_has_every_study_with_its_counts(name: str, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(name)
    with DicomwebArchive(site.service) as archive:
        assert "QIDO-RS" in archive.check()
        (study,) = archive.find_studies(STUDY_DATE)
        assert archive.find_studies(STUDY_DATE.replace(year=1999)) == ()
    assert (study.StudyInstanceUID, study.StudyTime) == (STUDY, "101500")
    assert study.NumberOfStudyRelatedInstances == len(site.stored)
    assert study.ModalitiesInStudy == ("CT", "MR", "OT", "SR", "US")
    assert [series.NumberOfSeriesRelatedInstances for series in study.series] == [len(n) for n in SERIES.values()]
    found = {ref.SOPInstanceUID: ref.SOPClassUID for _, refs in listed(site.service) for ref in refs}
    assert found.keys() == {item.SOPInstanceUID for item in site.stored}
    assert all(found.values())


def test_small_pages_bring_the_same(plain: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = listed(plain.service)
    for page in (1, 2, 3):
        monkeypatch.setattr(module, "PAGE", page)
        assert listed(plain.service) == whole


@pytest.mark.parametrize("name", ["plain", "secured"])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_every_kind_comes_byte_for_byte(
    name: str, one_by_one: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue(name)
    got = {}
    with DicomwebRetriever(site.service) as retriever:
        for series, refs in listed(site.service):
            uids = {ref.SOPInstanceUID for ref in refs}
            for number, missing in enumerate([{uid} for uid in uids] if one_by_one else [uids]):
                into = tmp_path / series.SeriesInstanceUID / str(number)
                report = retriever.retrieve(Landing(series, missing, into), refs)
                assert report == RetrievalReport(landed=report.landed)
                got |= {item.SOPInstanceUID: item for item in report.landed}
    for stored in site.stored:
        item = got[stored.SOPInstanceUID]
        assert (item.TransferSyntaxUID, item.sha256) == (stored.TransferSyntaxUID, stored.sha256)
        assert describe(item.path) == item


def test_what_the_archive_does_not_know(plain: Site, tmp_path: Path) -> None:
    series = SeriesRef("1.2.3.4.5", "1.2.3.4.5.6", "CT", 1)
    ref = InstanceRef("1.2.3.4.5", "1.2.3.4.5.6", "1.2.3.4.5.6.7", "1.2.840.10008.5.1.4.1.1.2")
    with DicomwebRetriever(plain.service) as retriever:
        report = retriever.retrieve(Landing(series, {ref.SOPInstanceUID}, tmp_path), [ref])
    assert report.landed == ()
    assert [failure.SOPInstanceUID for failure in report.failures] == [ref.SOPInstanceUID]
    assert "HTTP 404" in report.failures[0].message
    with DicomwebArchive(plain.service) as archive:
        assert archive.find_instances(series) == ()


def test_the_wrong_password_and_an_authority_that_is_not_trusted(secured: Site, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    for change, message in (
        ({"password_file": wrong}, "credentials"),
        ({"username": "", "password_file": None}, "credentials"),
        ({"ca_bundle": None}, "ca_bundle"),
    ):
        service = dataclasses.replace(secured.service, **change)
        with DicomwebArchive(service) as archive, pytest.raises(Permanent, match=message):
            archive.check()
    nobody = dataclasses.replace(secured.service, certificate=None, key=None)
    with DicomwebArchive(nobody) as archive, pytest.raises((Permanent, Transient)):
        archive.check()


def test_a_service_that_is_killed_while_it_sends_keeps_what_came(tmp_path: Path) -> None:
    into = tmp_path / "into"
    with orthanc(tmp_path, dicomweb=True) as server:
        server.fill(_many(tmp_path / "files", 400))
        service = Service("north", server.dicomweb_url, 10)
        ((series, refs),) = listed(service)

        def kill_it_in_the_middle() -> None:
            while len(list(into.glob("*.dcm"))) < 5:
                time.sleep(0.002)
            server.process.kill()

        killer = threading.Thread(target=kill_it_in_the_middle)
        killer.start()
        missing = {ref.SOPInstanceUID for ref in refs} - {refs[0].SOPInstanceUID}  # so that they come one by one
        with DicomwebRetriever(service) as retriever:
            report = retriever.retrieve(Landing(series, missing, into), refs)
        killer.join()
        with DicomwebArchive(service) as archive, pytest.raises(Transient):
            archive.check()
    assert 5 <= len(report.landed) < 399
    assert sorted(into.iterdir()) == sorted(item.path for item in report.landed)
    failed = {failure.SOPInstanceUID for failure in report.failures}
    assert failed == (missing - {item.SOPInstanceUID for item in report.landed}) | {""}
    assert {failure.status for failure in report.failures} == {None}
