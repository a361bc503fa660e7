"""The floor: what a good engineer would script without de-identifying anything, one step after the other."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from benchmarks.servers import ARCHIVE, ENVIRONMENT, MAXIMUM_PDU
from pacs_pipeline.demo.object_store import EmbeddedObjectStore
from pacs_pipeline.demo.ports import LOOPBACK
from pacs_pipeline.errors import Transient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AE_TITLE = "BENCH_FLOOR"
THREADS = (1, 4, 8, 16)
"""Which of these is the fastest differs from machine to machine: all are tried, the fastest in every round."""


def move(port: int, studies: Sequence[str], into: Path, expected: int) -> float:
    """Seconds that ``movescu`` takes to have all instances of ``studies`` written by the storescp that is running."""
    query = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=" + "\\".join(studies)]
    command = ["movescu", "--study", "--call", ARCHIVE, "--move", AE_TITLE, "--max-pdu", str(MAXIMUM_PDU), *query]
    start = time.perf_counter()
    done = subprocess.run([*command, LOOPBACK, str(port)], capture_output=True, text=True, env=ENVIRONMENT)
    seconds = time.perf_counter() - start
    arrived = sum(1 for _ in into.iterdir())
    if done.returncode or arrived != expected:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise Transient(f"movescu brought {arrived} of {expected} instances and said {said!r}", fix="run again")
    return seconds


def upload(store: EmbeddedObjectStore, bucket: str, prefix: str, files: Sequence[Path], threads: int) -> float:
    """Seconds that a plain ``put_object`` for each of ``files`` takes, with a boto3 client that is ready."""
    client = _client(store, threads)

    def put(path: Path) -> None:
        client.put_object(Bucket=bucket, Key=f"{prefix}{path.name}", Body=path.read_bytes())

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(put, files):
            pass
    seconds = time.perf_counter() - start
    client.close()
    return seconds


def make_bucket(store: EmbeddedObjectStore, bucket: str) -> None:
    """Create the bucket that all uploads go to."""
    client = _client(store, 1)
    client.create_bucket(Bucket=bucket)
    client.close()


def _client(store: EmbeddedObjectStore, threads: int) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        config=Config(max_pool_connections=threads, s3={"addressing_style": "path"}),
    )
