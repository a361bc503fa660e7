"""The same bucket on three servers: SeaweedFS over HTTP and HTTPS, and Swift."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from pacs_pipeline.settings import BucketSettings
from pacs_pipeline.storage import Bucket
from pacs_pipeline_tests.integration.servers.s3 import S3Server, seaweedfs, swift

SERVERS = {
    "seaweedfs": seaweedfs,
    "seaweedfs-https": lambda folder: seaweedfs(folder, tls=True),
    "swift": swift,
}


@pytest.fixture(scope="package", params=list(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def make_bucket(tmp_path: Path) -> Iterator[Callable[..., Bucket]]:
    """A client of a server; ``changes`` are settings or options of Bucket."""
    made: list[Bucket] = []

    def make(server: S3Server, name: str = "research", *, attempts: int = 3, **changes: object) -> Bucket:
        (tmp_path / "access").write_text(server.access_key)
        (tmp_path / "secret").write_text(server.secret_key)
        values: dict[str, object] = {
            "name": name,
            "endpoint_url": server.endpoint_url,
            "ca_bundle": server.ca_bundle,
            "access_key_file": tmp_path / "access",
            "secret_key_file": tmp_path / "secret",
        }
        bucket = Bucket(BucketSettings.model_validate(values | changes), attempts=attempts)
        made.append(bucket)
        return bucket

    without_keys = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, without_keys, clear=True):
        yield make
        for bucket in made:
            bucket.close()
