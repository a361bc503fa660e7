"""The objects below a prefix as an archive, on the real servers."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import boto3
import pytest

from pacs_pipeline.errors import Permanent, PipelineError, Quarantine, Transient
from pacs_pipeline.pacs import Landing
from pacs_pipeline.pacs.files import FileArchive, Index, ObjectFiles
from pacs_pipeline.records import Reason, SeriesRef
from pacs_pipeline.settings import S3PrefixSettings
from pacs_pipeline.storage import Prefix
from pacs_pipeline_tests.integration.servers import free_port
from pacs_pipeline_tests.integration.servers.s3 import S3Server
from pacs_pipeline_tests.unit.pacs.files.dicom_files import DAY, Made

pytestmark = pytest.mark.integration

SERIES = SeriesRef("1.2.3.10", "1.2.3.10.1", "CT", None)


class Place:
    """A bucket with an export in it."""

    def __init__(self, server: S3Server, tmp_path: Path, name: str) -> None:
        self.tmp_path = tmp_path
        (tmp_path / "access").write_text(server.access_key)
        (tmp_path / "secret").write_text(server.secret_key)
        self.settings = S3PrefixSettings(
            bucket=name,
            prefix="exports/2024 März/",
            endpoint_url=server.endpoint_url,
            ca_bundle=server.ca_bundle,
            access_key_file=tmp_path / "access",
            secret_key_file=tmp_path / "secret",
        )
        self.client = boto3.client(
            "s3",
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="us-east-1",
            verify=str(server.ca_bundle) if server.ca_bundle else None,
            config=boto3.session.Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}),
        )
        self.client.create_bucket(Bucket=name)

    def put(self, made: Made, key: str) -> None:
        content = made.write(self.tmp_path / "scratch").read_bytes()
        self.client.put_object(Bucket=self.settings.bucket, Key=f"{self.settings.prefix}{key}", Body=content)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.settings.bucket, Key=f"{self.settings.prefix}{key}")

    def prefix(self, **changes: object) -> Prefix:
        return Prefix(self.settings.model_copy(update=changes), attempts=2)

    def archive(self, prefix: Prefix) -> FileArchive:
        files = ObjectFiles(prefix)
        return FileArchive("imports", files, Index(self.tmp_path / "zone" / "files.sqlite", files))


@pytest.fixture
def place(server: S3Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    without_keys = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, without_keys, clear=True):
        made = Place(server, tmp_path, f"exports-{abs(hash(request.node.name)) % 10**9}")
        yield made
        made.client.close()


@pytest.fixture
def prefix(place: Place) -> Iterator[Prefix]:
    opened = place.prefix()
    yield opened
    opened.close()


def test_an_export_in_a_bucket_is_an_archive(place: Place, prefix: Prefix) -> None:
    for number in range(1, 6):
        place.put(Made(number, pixels=os.urandom(2_500_000)), f"a b/Ünï{number}.dcm")
    place.put(Made(1, study="1.9", series="1.9.1", date="20240310"), "other")
    place.client.put_object(Bucket=place.settings.bucket, Key="exports/elsewhere", Body=b"not below the prefix")
    place.client.put_object(Bucket=place.settings.bucket, Key=f"{place.settings.prefix}empty", Body=b"")
    place.client.put_object(Bucket=place.settings.bucket, Key=f"{place.settings.prefix}note.txt", Body=b"a letter")
    with place.archive(prefix) as archive:
        assert "6 instances in 2 studies" in archive.check()
        assert "2 files are no DICOM" in archive.check()
        (study,) = archive.find_studies(DAY)
        assert study.NumberOfStudyRelatedInstances == 5
        refs = archive.find_instances(study.series[0])
        report = archive.retrieve(
            Landing(study.series[0], {r.SOPInstanceUID for r in refs}, place.tmp_path / "into"), refs
        )
    assert len(report.landed) == 5
    assert report.failures == ()


def test_only_the_head_of_an_object_is_read_for_the_census(place: Place, prefix: Prefix) -> None:
    place.put(Made(1, pixels=bytes(5_000_000)), "large")
    ranges = []
    real = prefix.read

    def read(key: str, etag: str, start: int, length: int) -> bytes:
        ranges.append((start, length))
        return real(key, etag, start, length)

    prefix.read = read  # type: ignore[method-assign]
    with place.archive(prefix) as archive:
        assert len(archive.find_studies(DAY)) == 1
        ranges_of_first = list(ranges)
    with place.archive(prefix) as archive:
        assert len(archive.find_studies(DAY)) == 1
    assert ranges == ranges_of_first == [(0, 65536)]


def test_what_changes_or_goes_between_listing_and_reading_does_not_land(place: Place, prefix: Prefix) -> None:
    for number in (1, 2, 3):
        place.put(Made(number), str(number))
    with place.archive(prefix) as archive:
        refs = archive.find_instances(SERIES)
        uids = [ref.SOPInstanceUID for ref in refs]
        place.put(Made(1, pixels=b"\1" * 1024), "1")
        place.delete("2")
        report = archive.retrieve(Landing(SERIES, set(uids), place.tmp_path / "into"), refs)
    assert [landed.SOPInstanceUID for landed in report.landed] == uids[2:]
    assert [failure.SOPInstanceUID for failure in report.failures] == uids[:2]
    assert all(failure.message.startswith(Reason.WRONG_INSTANCE.value) for failure in report.failures)
    with place.archive(prefix) as archive:
        archive.find_studies(DAY)
        after = archive.find_instances(SERIES)
    assert [ref.SOPInstanceUID for ref in after] == [uids[0], uids[2]]
    assert after[0].version != refs[0].version


def test_reads_are_of_the_object_that_was_listed(place: Place, prefix: Prefix) -> None:
    place.put(Made(1), "a")
    (listed,) = prefix.list()
    assert len(prefix.read(listed.key, listed.etag, 10, 20)) == 20
    assert b"".join(prefix.stream(listed.key, listed.etag, 0)) == (place.tmp_path / "scratch").read_bytes()
    with pytest.raises(Quarantine):
        prefix.read(listed.key, '"another"', 0, 10)
    with pytest.raises(Quarantine):
        prefix.read(listed.key, listed.etag, 10_000_000, 10)
    with pytest.raises(FileNotFoundError):
        prefix.read(f"{listed.key}-not", listed.etag, 0, 10)


def test_a_prefix_that_became_empty_is_no_empty_answer(place: Place, prefix: Prefix) -> None:
    place.put(Made(1), "a")
    with place.archive(prefix) as archive:
        assert len(archive.find_studies(DAY)) == 1
    place.delete("a")
    with pytest.raises(Transient), place.archive(prefix) as archive:
        archive.find_studies(DAY)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"bucket": "there-is-none-of-this-name"}, Permanent),
        ({"endpoint_url": f"http://127.0.0.1:{free_port()}", "ca_bundle": None}, Transient),
    ],
)
def test_what_cannot_be_reached_is_no_empty_answer(
    place: Place, change: dict[str, object], kind: type[PipelineError]
) -> None:
    opened = place.prefix(**change)
    try:
        with pytest.raises(kind), place.archive(opened) as archive:
            archive.find_studies(DAY + dt.timedelta(days=1))
    finally:
        opened.close()


def test_wrong_keys_name_the_section_of_the_site(place: Place) -> None:
    (place.tmp_path / "secret").write_text("wrong")
    opened = place.prefix()
    try:
        with pytest.raises(Permanent) as caught, place.archive(opened) as archive:
            archive.check()
    finally:
        opened.close()
    assert "delete" not in caught.value.fix
