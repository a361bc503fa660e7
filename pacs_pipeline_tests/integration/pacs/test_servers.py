"""The whole room against servers that this project did not make."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from pacs_pipeline.errors import Transient
from pacs_pipeline.pacs import (
    CGetRetriever,
    CMoveRetriever,
    Endpoint,
    Landing,
    PacsClient,
    Retriever,
    StorageReceiver,
    describe,
)
from pacs_pipeline.records import InstanceRef, LandedInstance, RetrievalReport, SeriesRef
from pacs_pipeline_tests.integration.pacs.archive import SERIES, STUDY, STUDY_DATE, Stored, build
from pacs_pipeline_tests.integration.servers import OrthancServer, dcmqrscp, free_port, orthanc

pytestmark = pytest.mark.integration

RECEIVER_TITLE = "RECEIVER"
UNCOMPRESSED = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}
JPEG_2000 = "1.2.840.10008.1.2.4.90"


@dataclasses.dataclass(frozen=True)
class Site:
    """A filled PACS, and the retrievers for it."""

    endpoint: Endpoint
    stored: tuple[Stored, ...]
    receiver_port: int
    orthanc: OrthancServer | None = None

    def retriever(self, protocol: str) -> Retriever:
        if protocol == "c-get":
            return CGetRetriever(self.endpoint)
        receiver = StorageReceiver(RECEIVER_TITLE, self.receiver_port, bind="127.0.0.1", timeout=10)
        return CMoveRetriever(self.endpoint, receiver)

    def series(self) -> list[tuple[SeriesRef, tuple[InstanceRef, ...]]]:
        with PacsClient(self.endpoint) as client:
            (study,) = client.find_studies(STUDY_DATE)
            return [(series, client.find_instances(series)) for series in study.series]

    def harvest(self, protocol: str, into: Path) -> dict[str, RetrievalReport]:
        with self.retriever(protocol) as retriever:
            return {
                series.SeriesInstanceUID: retriever.retrieve(
                    Landing(series, {ref.SOPInstanceUID for ref in refs}, into / series.SeriesInstanceUID), refs
                )
                for series, refs in self.series()
            }


@pytest.fixture(scope="module")
def orthanc_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("orthanc")
    port = free_port()
    with orthanc(folder, destinations={RECEIVER_TITLE: port}) as server:
        stored = build(folder / "files")
        server.fill(item.path for item in stored)
        yield Site(Endpoint("north", server.host, server.port, server.ae_title, "PIPELINE", 10), stored, port, server)


@pytest.fixture(scope="module")
def dcmqrscp_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dcmqrscp")
    port = free_port()
    with dcmqrscp(folder, destinations={RECEIVER_TITLE: port}, options=["+xv", "-xv"]) as server:
        stored = build(folder / "files")
        server.fill(item.path for item in stored)
        yield Site(Endpoint("south", server.host, server.port, server.ae_title, "PIPELINE", 10), stored, port)


def landed(reports: dict[str, RetrievalReport]) -> dict[str, LandedInstance]:
    return {item.SOPInstanceUID: item for report in reports.values() for item in report.landed}


def test_orthanc_census_counts(orthanc_site: Site) -> None:
    with PacsClient(orthanc_site.endpoint) as client:
        client.check()
        (study,) = client.find_studies(STUDY_DATE)
    assert study.StudyInstanceUID == STUDY
    assert study.NumberOfStudyRelatedInstances == len(orthanc_site.stored)
    assert study.ModalitiesInStudy == ("CT", "MR", "OT", "SR", "US")
    assert [series.NumberOfSeriesRelatedInstances for series in study.series] == [len(n) for n in SERIES.values()]


def test_dcmqrscp_census_has_no_counts_and_all_series(dcmqrscp_site: Site) -> None:
    series = dcmqrscp_site.series()
    assert [item.NumberOfSeriesRelatedInstances for item, _ in series] == [None] * len(SERIES)
    assert sum(len(refs) for _, refs in series) == len(dcmqrscp_site.stored)


@pytest.mark.parametrize("protocol", ["c-get", "c-move"])
def test_orthanc_brings_every_kind_byte_for_byte(orthanc_site: Site, protocol: str, tmp_path: Path) -> None:
    reports = orthanc_site.harvest(protocol, tmp_path)
    got = landed(reports)
    assert not [failure for report in reports.values() for failure in report.failures]
    for stored in orthanc_site.stored:
        item = got[stored.SOPInstanceUID]
        assert (item.TransferSyntaxUID, item.sha256) == (stored.TransferSyntaxUID, stored.sha256)
        assert describe(item.path) == item


@pytest.mark.parametrize("protocol", ["c-get", "c-move"])
def test_dcmqrscp_brings_what_it_can_send_and_the_rest_is_accounted_for(
    dcmqrscp_site: Site, protocol: str, tmp_path: Path
) -> None:
    """It is set to JPEG 2000, decompresses nothing, and sends what is uncompressed in one syntax of its own."""
    reports = dcmqrscp_site.harvest(protocol, tmp_path)
    got = landed(reports)
    for stored in dcmqrscp_site.stored:
        if stored.TransferSyntaxUID not in {*UNCOMPRESSED, JPEG_2000}:
            continue
        item = got[stored.SOPInstanceUID]
        if item.TransferSyntaxUID == stored.TransferSyntaxUID:
            assert item.sha256 == stored.sha256
        else:
            assert stored.TransferSyntaxUID in UNCOMPRESSED
            assert pydicom.dcmread(item.path).pixel_array.tolist() == pydicom.dcmread(stored.path).pixel_array.tolist()
    failed = {failure.SOPInstanceUID for report in reports.values() for failure in report.failures}
    assert failed == {stored.SOPInstanceUID for stored in dcmqrscp_site.stored} - got.keys()
    assert all(failure.status for report in reports.values() for failure in report.failures)


@pytest.mark.parametrize("protocol", ["c-get", "c-move"])
@pytest.mark.parametrize("site", ["orthanc_site", "dcmqrscp_site"])
def test_only_what_is_missing_comes(site: str, protocol: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pacs: Site = request.getfixturevalue(site)
    series, refs = pacs.series()[0]
    missing = {refs[0].SOPInstanceUID, refs[2].SOPInstanceUID}
    with pacs.retriever(protocol) as retriever:
        report = retriever.retrieve(Landing(series, missing, tmp_path), refs)
    assert {item.SOPInstanceUID for item in report.landed} == missing
    assert report == RetrievalReport(landed=report.landed)


@pytest.mark.parametrize("protocol", ["c-get", "c-move"])
@pytest.mark.parametrize("site", ["orthanc_site", "dcmqrscp_site"])
def test_an_unknown_study_brings_nothing_and_is_not_taken_for_success(
    site: str, protocol: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pacs: Site = request.getfixturevalue(site)
    series = SeriesRef("1.2.3.4.5", "1.2.3.4.5.6", "CT", 1)
    ref = InstanceRef("1.2.3.4.5", "1.2.3.4.5.6", "1.2.3.4.5.6.7", "1.2.840.10008.5.1.4.1.1.2")
    with pacs.retriever(protocol) as retriever:
        report = retriever.retrieve(Landing(series, {ref.SOPInstanceUID}, tmp_path), [ref])
    assert report.landed == ()
    assert [failure.SOPInstanceUID for failure in report.failures] == [ref.SOPInstanceUID]


def test_a_pacs_that_is_killed_while_it_sends_keeps_what_came(tmp_path: Path) -> None:
    into = tmp_path / "into"
    with orthanc(tmp_path) as server:
        server.fill(_many(tmp_path / "files", 150))
        endpoint = Endpoint("north", server.host, server.port, server.ae_title, "PIPELINE", 10)
        with PacsClient(endpoint) as client:
            (study,) = client.find_studies(STUDY_DATE)
            refs = client.find_instances(study.series[0])

        def kill_it_in_the_middle() -> None:
            while len(list(into.glob("*.dcm"))) < 5:
                time.sleep(0.005)
            server.process.kill()

        killer = threading.Thread(target=kill_it_in_the_middle)
        killer.start()
        missing = {ref.SOPInstanceUID for ref in refs}
        with CGetRetriever(endpoint) as retriever:
            report = retriever.retrieve(Landing(study.series[0], missing, into), refs)
        killer.join()
        with PacsClient(endpoint) as client, pytest.raises(Transient):
            client.check()
    assert 5 <= len(report.landed) < 150
    assert sorted(into.iterdir()) == sorted(item.path for item in report.landed)
    assert all(describe(item.path) == item for item in report.landed)
    failed = {failure.SOPInstanceUID for failure in report.failures}
    assert failed == (missing - {item.SOPInstanceUID for item in report.landed}) | {""}
    assert {failure.status for failure in report.failures} == {None}


def _many(folder: Path, count: int) -> Iterator[Path]:
    """One series of many instances."""
    folder.mkdir()
    source = get_testdata_file("CT_small.dcm")
    assert isinstance(source, str)
    ds = pydicom.dcmread(source)
    ds.StudyDate = STUDY_DATE.strftime("%Y%m%d")
    for number in range(1, count + 1):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.99.{number}"
        ds.save_as(folder / f"{number}.dcm")
        yield folder / f"{number}.dcm"
