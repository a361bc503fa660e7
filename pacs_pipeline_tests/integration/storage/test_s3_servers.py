"""The bucket on real servers: exact bytes, skipped when there, honest when something is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.storage import Bucket, Upload
from pacs_pipeline_tests.integration.servers.s3 import S3Server
from pacs_pipeline_tests.integration.storage.proxy import proxy

pytestmark = pytest.mark.integration

LARGE = 34 * 2**20 + 7  # more than one request takes


def uploads(folder: Path, count: int, size: int = 20_000, study: int = 1) -> list[Upload]:
    made = []
    for i in range(count):
        body = os.urandom(size)
        path = folder / f"{study}-{i}.dcm"
        path.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        key = f"studies/2.25.{study}/series/2.25.{i // 20}/2.25.{i}-{digest[:16]}.dcm"
        made.append(Upload(path, key, digest, size))
    return made


@pytest.fixture(params=["when_supported", "when_required"])
def bucket(request: pytest.FixtureRequest, server: S3Server, make_bucket: Callable[..., Bucket]) -> Bucket:
    bucket = make_bucket(server, f"research-{request.param.replace('_', '-')}", checksums=request.param)
    bucket.ensure()
    return bucket


def port_of(server: S3Server) -> int:
    port = urlsplit(server.endpoint_url).port
    assert port is not None
    return port


def read(bucket: Bucket, key: str) -> bytes:
    return bucket._client.get_object(Bucket=bucket.name, Key=key)["Body"].read()


def test_objects_are_exact_skipped_later_and_counted(bucket: Bucket, tmp_path: Path) -> None:
    assert not bucket.ensure()
    bucket.probe()
    items = uploads(tmp_path, 45)
    first = list(bucket.put_many(items))
    assert [put.key for put in first] == [item.key for item in items]
    assert not any(put.skipped for put in first)
    assert all(read(bucket, item.key) == item.path.read_bytes() for item in items[::9])
    assert all(put.skipped for put in bucket.put_many(items))
    assert bucket.totals("studies/2.25.1/") == (45, 45 * 20_000)
    bucket.delete(items[0].key)
    assert bucket.head(items[0].key) is None
    assert sum(not put.skipped for put in bucket.put_many(items)) == 1


def test_a_large_object_goes_in_parts(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = uploads(tmp_path, 1, LARGE, study=2)
    monkeypatch.setattr(Bucket, "_reads_back", lambda *_: pytest.fail("the server's ETag must prove the object"))
    for skipped in (False, True):
        assert bucket.put_file(item.path, item.key, item.sha256, item.size).skipped is skipped
    assert hashlib.sha256(read(bucket, item.key)).hexdigest() == item.sha256


def test_an_object_that_is_wrong_in_the_bucket_is_replaced(bucket: Bucket, tmp_path: Path) -> None:
    (item,) = uploads(tmp_path, 1, study=3)
    bucket._client.put_object(Bucket=bucket.name, Key=item.key, Body=b"x" * item.size, Metadata={"sha256": item.sha256})
    assert not bucket.put_file(item.path, item.key, item.sha256, item.size).skipped
    assert read(bucket, item.key) == item.path.read_bytes()


def test_wrong_keys_and_a_missing_bucket_are_permanent(
    server: S3Server, make_bucket: Callable[..., Bucket], tmp_path: Path
) -> None:
    (item,) = uploads(tmp_path, 1, study=4)
    with pytest.raises(Permanent, match="does not exist"):
        list(make_bucket(server, "no-such-bucket").put_many([item]))
    (tmp_path / "wrong").write_text("not-the-secret")
    stranger = make_bucket(server, secret_key_file=tmp_path / "wrong")
    for ask in (stranger.ensure, lambda: list(stranger.put_many([item]))):
        with pytest.raises(Permanent, match=r"denies access|does not know these keys"):
            ask()


@pytest.mark.parametrize("server", ["seaweedfs-https"], indirect=True)
def test_a_certificate_nobody_vouches_for_is_permanent(server: S3Server, make_bucket: Callable[..., Bucket]) -> None:
    with pytest.raises(Permanent, match=r"not trusted.*bucket\.ca_bundle"):
        make_bucket(server, ca_bundle=None).ensure()


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("server", ["seaweedfs", "swift"], indirect=True)  # with HTTPS, TLS itself notices
def test_a_body_damaged_on_the_way_is_never_taken_for_published(
    server: S3Server, make_bucket: Callable[..., Bucket], tmp_path: Path, checksums: str
) -> None:
    straight = make_bucket(server)
    straight.ensure()
    body = b"start" + os.urandom(30_000) + b"here:" + os.urandom(1000)
    path = tmp_path / "damaged.dcm"
    path.write_bytes(body)
    digest = hashlib.sha256(body).hexdigest()
    key = f"studies/2.25.5/series/2.25.5/2.25.5-{digest[:16]}.dcm"
    with proxy(port_of(server), b"here:") as port:
        bucket = make_bucket(server, endpoint_url=f"http://127.0.0.1:{port}", checksums=checksums, attempts=1)
        with pytest.raises((Transient, Permanent)):
            bucket.put_file(path, key, digest, len(body))
        bucket.close()
    put = straight.put_file(path, key, digest, len(body))
    assert not put.skipped
    assert read(straight, key) == body


def test_a_connection_that_breaks_in_the_middle_loses_nothing(
    server: S3Server, make_bucket: Callable[..., Bucket], tmp_path: Path
) -> None:
    straight = make_bucket(server, "interrupted")
    straight.ensure()
    items = uploads(tmp_path, 200, study=6)
    acknowledged: list[str] = []
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(proxy(port_of(server)))
        address = server.endpoint_url.replace(str(port_of(server)), str(port))
        bucket = make_bucket(server, "interrupted", endpoint_url=address, attempts=2)

        def publish() -> None:
            for put in bucket.put_many(items):
                acknowledged.append(put.key)
                if len(acknowledged) == 30:
                    stack.close()

        with pytest.raises(Transient, match=rf"127\.0\.0\.1:{port} cannot be reached.*run again"):
            publish()
    assert 30 <= len(acknowledged) < 200
    again = list(straight.put_many(items))
    assert {put.key for put in again if put.skipped} >= set(acknowledged)
    assert straight.totals("studies/2.25.6/") == (200, 200 * 20_000)
