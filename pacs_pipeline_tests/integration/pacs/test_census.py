"""The census against a real server that cuts its answers off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from pacs_pipeline.errors import Permanent
from pacs_pipeline.pacs import Endpoint, PacsClient
from pacs_pipeline_tests.integration.pacs.archive import STUDY_DATE
from pacs_pipeline_tests.integration.servers import OrthancServer, orthanc

pytestmark = pytest.mark.integration

LIMIT = 10


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OrthancServer]:
    with orthanc(tmp_path, settings={"LimitFindResults": LIMIT, "LimitFindInstances": LIMIT}) as running:
        yield running


def client_of(server: OrthancServer) -> PacsClient:
    return PacsClient(Endpoint("north", server.host, server.port, server.ae_title, "PIPELINE", 10))


def files(folder: Path, kinds: Iterable[tuple[str | None, str]], instances: int = 1) -> Iterator[Path]:
    """A study of each time and modality."""
    source = get_testdata_file("CT_small.dcm")
    assert isinstance(source, str)
    for number, (time, modality) in enumerate(kinds, 1):
        for instance in range(1, instances + 1):
            ds = pydicom.dcmread(source)
            ds.StudyDate = STUDY_DATE.strftime("%Y%m%d")
            ds.StudyTime, ds.Modality, ds.InstanceNumber = time, modality, str(instance)
            if time is None:
                del ds.StudyTime
            ds.StudyInstanceUID = f"1.2.3.{number}"
            ds.SeriesInstanceUID = f"1.2.3.{number}.1"
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.1.{instance}"
            path = folder / f"{number}-{instance}.dcm"
            ds.save_as(path)
            yield path


def test_every_study_beyond_the_limit(server: OrthancServer, tmp_path: Path) -> None:
    kinds = [(f"{n % 24:02d}3015", "CT") for n in range(48)] + [("00", "CT"), ("1200", "CT"), ("235959.9", "CT")]
    server.fill(files(tmp_path, kinds))
    with client_of(server) as client:
        found = client.find_studies(STUDY_DATE)
    assert len(found) == len(kinds)
    assert all(len(study.series) == 1 for study in found)


@pytest.mark.parametrize("time", [None, ""])
def test_studies_without_a_time_are_found_or_the_census_fails(
    server: OrthancServer, tmp_path: Path, time: str | None
) -> None:
    kinds: list[tuple[str | None, str]] = [(f"{n:02d}0000", "MR") for n in range(8)]
    kinds += [(f"{n:02d}3000", "US") for n in range(8)] + [(time, "CR"), (time, "OT")]
    server.fill(files(tmp_path, kinds))
    with client_of(server) as client:
        assert len(client.find_studies(STUDY_DATE)) == len(kinds)


def test_a_crowd_at_one_moment_fails(server: OrthancServer, tmp_path: Path) -> None:
    server.fill(files(tmp_path, [("000000", "CT")] * 12))
    with client_of(server) as client, pytest.raises(Permanent, match="0xFE00"):
        client.find_studies(STUDY_DATE)


def test_every_instance_beyond_the_limit(server: OrthancServer, tmp_path: Path) -> None:
    server.fill(files(tmp_path, [("101500", "CT")], instances=25))
    with client_of(server) as client:
        (study,) = client.find_studies(STUDY_DATE)
        assert len(client.find_instances(study.series[0])) == 25
