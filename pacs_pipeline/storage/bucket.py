"""The research bucket: objects are put once, verified, and skipped when they are already there.

How an object is verified, in this order, after every put and before every skip:

1. the ETag, which the server computes over what it received, is the MD5 of what was sent (for an object in
   parts: the MD5 of the parts' MD5s);
2. with KMS encryption the ETag is no MD5: then the SHA-256 checksum that the server validated and stored;
3. otherwise the object is read back and hashed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.settings import BucketSettings
from pacs_pipeline.storage.content import SINGLE_PUT_LIMIT, Digests, Part, Source
from pacs_pipeline.storage.keys import check_key, object_key, series_prefix
from pacs_pipeline.storage.s3 import make_client, s3_errors, status_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONTENT_TYPE = "application/dicom"
_SHA256_METADATA = "sha256"  # on the wire x-amz-meta-sha256
_LISTINGS_KEPT = 64
_WINDOW_PER_WORKER = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file to put: where it is, its key, and what the manifest says of its content."""

    path: Path
    key: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Put:
    """One object that is in the bucket and verified; ``skipped`` when it was there already."""

    key: str
    uri: str
    sha256: str
    size: int
    skipped: bool


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the bucket lists it."""

    key: str
    size: int


class Bucket:
    """One S3 bucket. Safe to use from several threads; make one per process.

    All methods raise Transient when the server is away or overloaded after ``attempts`` tries, and
    Permanent (SettingsError for missing keys) when somebody has to change something.
    """

    def __init__(
        self,
        settings: BucketSettings,
        *,
        client: S3Client | None = None,
        attempts: int = 5,
        connect_timeout: float = 5.0,
        read_timeout: float = 60.0,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self._client = client or make_client(
            settings, attempts=attempts, connect_timeout=connect_timeout, read_timeout=read_timeout
        )

    def close(self) -> None:
        """Close the connections; the object is of no use afterwards."""
        self._client.close()

    def uri(self, key: str) -> str:
        """The ``s3://`` address of ``key``."""
        return f"s3://{self.name}/{key}"

    def ensure(self) -> bool:
        """Create the bucket if it is missing, private as every server's default is; True when created."""
        with s3_errors(self.settings):
            try:
                self._client.head_bucket(Bucket=self.name)
            except ClientError as error:
                if status_of(error) != 404:
                    raise
            else:
                return False
            location: dict[str, Any] = {}
            if self.settings.region != "us-east-1":  # the one region that must not be named
                location = {"CreateBucketConfiguration": {"LocationConstraint": self.settings.region}}
            try:
                self._client.create_bucket(Bucket=self.name, **location)
            except self._client.exceptions.BucketAlreadyOwnedByYou:
                return False  # another run was faster
        return True

    def put_file(self, path: Path, key: str, sha256: str, size: int, *, known_absent: bool = False) -> Put:
        """Put the file at ``path`` under ``key`` unless that very object is there; verified either way.

        Raises Permanent when the file's content is not ``sha256`` and ``size``: what changed after the
        verdict is not published. Raises Transient when the object did not arrive as sent; nothing is
        deleted then. ``known_absent`` saves asking the server first; being wrong about it does no harm.
        """
        check_key(key)
        with s3_errors(self.settings):
            send = self._put_whole if size <= SINGLE_PUT_LIMIT else self._put_in_parts
            skipped = send(Source(path, sha256, size), key, known_absent)
        return Put(key, self.uri(key), sha256, size, skipped)

    def put_rows(
        self, rows: Iterable[Mapping[str, Any]], folder: Path, *, workers: int | None = None
    ) -> Iterator[tuple[Mapping[str, Any], Put]]:
        """Put the files of ``rows`` (columns of the ``instances`` table, paths below ``folder``) under their keys.

        Yields each row with its object, in order; otherwise as :meth:`put_many`.
        """
        prefix = self.settings.prefix
        uploads = (
            (row, Upload(folder / row["path"], object_key(prefix, row), row["sha256"], row["size"])) for row in rows
        )
        return self._put_all(uploads, workers)

    def put_many(self, uploads: Iterable[Upload], *, workers: int | None = None) -> Iterator[Put]:
        """Put all ``uploads`` with ``workers`` threads; yields the objects in the order of the uploads.

        A few uploads per worker are in flight, so that any number can stream through. Fastest when those of a
        series follow each other: each series is listed once and only keys that exist are asked for. The first
        failure is raised and stops the rest; what was put stays, and the next run skips it.
        """
        return (put for _, put in self._put_all(((upload, upload) for upload in uploads), workers))

    def head(self, key: str) -> StoredObject | None:
        """The object under ``key`` or None."""
        with s3_errors(self.settings):
            found = self._head(key)
        return None if found is None else StoredObject(key, found["ContentLength"])

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """All objects below ``prefix``, in pages of 1,000. Some servers list a new object only after a while."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        with s3_errors(self.settings):
            for page in pages:
                for item in page.get("Contents", ()):
                    yield StoredObject(item["Key"], item["Size"])

    def totals(self, prefix: str = "") -> tuple[int, int]:
        """The number of objects below ``prefix`` and their bytes."""
        count = size = 0
        for item in self.objects(prefix):
            count += 1
            size += item.size
        return count, size

    def delete(self, key: str) -> None:
        """Delete the object under ``key``; nothing happens when there is none."""
        with s3_errors(self.settings):
            self._client.delete_object(Bucket=self.name, Key=check_key(key))

    def probe(self) -> None:
        """Write, read, list and delete a small object below the prefix; raises what stands in the way."""
        key = f"{self.settings.prefix}pacs-pipeline-check/{secrets.token_hex(8)}"
        content = secrets.token_bytes(64)
        with s3_errors(self.settings):
            self._client.put_object(Bucket=self.name, Key=key, Body=content)
            try:
                read = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
                self._client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)
            finally:
                self._client.delete_object(Bucket=self.name, Key=key)
        if read != content:
            raise Permanent(
                f"the bucket '{self.name}' gives back other bytes than were written",
                fix="look for a proxy or gateway between this machine and the server",
            )

    # ------------------------------------------------------------------------------------------ putting

    def _put_all(self, uploads: Iterable[tuple[T, Upload]], workers: int | None) -> Iterator[tuple[T, Put]]:
        workers = workers or self.settings.parallel_uploads
        window: deque[tuple[T, Future[Put]]] = deque()
        listings: OrderedDict[str, Future[frozenset[str]]] = OrderedDict()
        with ThreadPoolExecutor(workers, thread_name_prefix="put") as pool:
            try:
                for label, upload in uploads:
                    prefix = series_prefix(upload.key)
                    if prefix not in listings:
                        listings[prefix] = pool.submit(self._keys_below, prefix)
                        if len(listings) > _LISTINGS_KEPT:
                            listings.popitem(last=False)
                    # the pool is first in, first out: a listing is under way before anything waits for it
                    window.append((label, pool.submit(self._put_listed, upload, listings[prefix])))
                    if len(window) >= workers * _WINDOW_PER_WORKER:
                        label, put = window.popleft()
                        yield label, put.result()
                while window:
                    label, put = window.popleft()
                    yield label, put.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _put_listed(self, item: Upload, listing: Future[frozenset[str]]) -> Put:
        absent = item.key not in listing.result()
        return self.put_file(item.path, item.key, item.sha256, item.size, known_absent=absent)

    def _keys_below(self, prefix: str) -> frozenset[str]:
        return frozenset(item.key for item in self.objects(prefix))

    def _put_whole(self, source: Source, key: str, known_absent: bool) -> bool:
        """Put a small object in one request; True when it was there already."""
        content = source.whole()
        digests = Digests.of_whole(content)
        source.check(digests.sha256, digests.size)
        if not known_absent and self._is_there(key, source, lambda: digests):
            return True
        response = self._client.put_object(
            Bucket=self.name,
            Key=key,
            Body=content,  # bytes, not a file: boto3 then sends no "Expect: 100-continue", which costs a round trip
            ContentType=_CONTENT_TYPE,
            Metadata={_SHA256_METADATA: source.sha256},
            **self._integrity(digests.parts[0]),
        )
        self._verify(key, response, source, digests)
        return False

    def _put_in_parts(self, source: Source, key: str, known_absent: bool) -> bool:
        """Put a large object holding one part in memory; True when it was there already."""
        if not known_absent and self._is_there(key, source, source.digests_of_parts):
            return True
        self._abort_leftovers(key)
        algorithm: dict[str, Any] = {} if self._old_server else {"ChecksumAlgorithm": "SHA256"}
        upload = self._client.create_multipart_upload(
            Bucket=self.name,
            Key=key,
            ContentType=_CONTENT_TYPE,
            Metadata={_SHA256_METADATA: source.sha256},
            **algorithm,
        )["UploadId"]
        here: dict[str, Any] = {"Bucket": self.name, "Key": key, "UploadId": upload}
        try:
            parts: list[Part] = []
            answers: list[Any] = []
            whole = hashlib.sha256()
            for content in source.parts():
                whole.update(content)
                part = Part.of(content)
                parts.append(part)
                answer = self._client.upload_part(**here, PartNumber=len(parts), Body=content, **self._integrity(part))
                answers.append({"PartNumber": len(parts), "ETag": answer["ETag"], **_checksum_in(answer)})
            digests = Digests.of_parts(whole.hexdigest(), parts)
            source.check(digests.sha256, digests.size)
            self._client.complete_multipart_upload(**here, MultipartUpload={"Parts": answers})
        except BaseException:
            with suppress(ClientError, BotoCoreError):  # the error that is on its way says more
                self._client.abort_multipart_upload(**here)
            raise
        self._verify(key, self._head(key) or {}, source, digests)
        return False

    def _abort_leftovers(self, key: str) -> None:
        """A killed run leaves its parts in the bucket, invisible and paid for. The partition's lock makes this safe."""
        listed = self._client.list_multipart_uploads(Bucket=self.name, Prefix=key)
        for upload in listed.get("Uploads", ()):
            if upload.get("Key") == key:
                with suppress(self._client.exceptions.NoSuchUpload):
                    self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload["UploadId"])

    @property
    def _old_server(self) -> bool:
        return self.settings.checksums == "when_required"

    def _integrity(self, part: Part) -> dict[str, Any]:
        """What lets the server refuse a body that was damaged on the way."""
        if self._old_server:
            return {"ContentMD5": base64.b64encode(part.md5).decode()}
        return {"ChecksumSHA256": base64.b64encode(part.sha256).decode()}

    # ---------------------------------------------------------------------------------------- verifying

    def _head(self, key: str) -> Mapping[str, Any] | None:
        asked: dict[str, Any] = {} if self._old_server else {"ChecksumMode": "ENABLED"}
        try:
            return self._client.head_object(Bucket=self.name, Key=key, **asked)
        except ClientError as error:
            if status_of(error) == 404:
                return None
            raise

    def _is_there(self, key: str, source: Source, digests: Callable[[], Digests]) -> bool:
        """Is this very object in the bucket? A damaged one is not, and will be put again."""
        found = self._head(key)
        if found is None or found["ContentLength"] != source.size:
            return False
        if found.get("Metadata", {}).get(_SHA256_METADATA) != source.sha256:
            return False
        expected = digests()
        source.check(expected.sha256, expected.size)
        return expected.proven_by(found) or self._reads_back(key, source)

    def _verify(self, key: str, response: Mapping[str, Any], source: Source, digests: Digests) -> None:
        if not digests.proven_by(response) and not self._reads_back(key, source):
            raise Transient(
                f"an object arrived damaged in the bucket '{self.name}'; it is not published",
                fix="run again; if it stays, look for a proxy or a failing disk on the server's side",
            )

    def _reads_back(self, key: str, source: Source) -> bool:
        try:
            body = self._client.get_object(Bucket=self.name, Key=key)["Body"]
        except ClientError as error:
            if status_of(error) == 404:
                return False
            raise
        digest, size = hashlib.sha256(), 0
        with body:
            for chunk in body.iter_chunks(2**20):
                digest.update(chunk)
                size += len(chunk)
        return size == source.size and digest.hexdigest() == source.sha256


def _checksum_in(answer: Mapping[str, Any]) -> dict[str, str]:
    """The part's checksum as the server repeated it; it must be named again when the parts are joined."""
    return {"ChecksumSHA256": answer["ChecksumSHA256"]} if "ChecksumSHA256" in answer else {}
