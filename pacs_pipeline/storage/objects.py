"""The objects below a prefix of somebody else's bucket, listed and read: an archive of DICOM files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from pacs_pipeline.errors import Quarantine, Transient
from pacs_pipeline.records import Reason
from pacs_pipeline.settings import BucketSettings, S3PrefixSettings
from pacs_pipeline.storage.s3 import make_client, s3_errors, status_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_SECTION = "s3"
_CHUNK = 1 << 20
_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})
_READERS = 8


@dataclass(frozen=True, slots=True)
class PrefixObject:
    """An object as the bucket lists it."""

    key: str
    size: int
    etag: str


class Prefix:
    """Everything below one prefix, read-only. Safe to use from several threads.

    What is read is the object that was listed: FileNotFoundError when it is gone, Quarantine when it is another one
    now. Otherwise raises Transient when the server is away or overloaded after ``attempts`` tries, and Permanent
    (SettingsError for missing keys) when somebody has to change something.
    """

    def __init__(
        self,
        settings: S3PrefixSettings,
        *,
        client: S3Client | None = None,
        attempts: int = 5,
        connect_timeout: float = 5.0,
        read_timeout: float = 60.0,
    ) -> None:
        self._prefix = settings.prefix
        self._settings = BucketSettings(
            name=settings.bucket,
            endpoint_url=settings.endpoint_url,
            region=settings.region,
            addressing_style=settings.addressing_style,
            checksums="when_required",
            ca_bundle=settings.ca_bundle,
            access_key_file=settings.access_key_file,
            secret_key_file=settings.secret_key_file,
            parallel_uploads=_READERS,
        )
        self.where = f"the objects at s3://{settings.bucket}/{settings.prefix} ({settings.endpoint_url or 'AWS'})"
        self._client = client or make_client(
            self._settings,
            attempts=attempts,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            section=_SECTION,
        )

    def close(self) -> None:
        """Close the connections; the object is of no use afterwards."""
        self._client.close()

    def list(self) -> Iterator[PrefixObject]:
        """All objects, in pages of 1,000; ends only when the list is complete."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._settings.name, Prefix=self._prefix)
        with self._errors():
            for page in pages:
                for item in page.get("Contents", ()):
                    changed = item.get("LastModified")
                    # some servers give no ETag in listings
                    etag = item.get("ETag") or f"modified {changed.isoformat() if changed else ''}"
                    yield PrefixObject(item["Key"], item["Size"], etag)

    def read(self, key: str, etag: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start`` on, which the object must have."""
        with self._errors(), closing(self._get(key, etag, f"bytes={start}-{start + length - 1}")["Body"]) as body:
            content = body.read(length + 1)
        if len(content) != length:
            raise _changed()
        return content

    def stream(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        """Everything from ``start`` on in chunks; raises Transient when the object breaks off."""
        with self._errors():
            found = self._get(key, etag, f"bytes={start}-")
            left = found["ContentLength"]
            with closing(found["Body"]) as body:
                while chunk := body.read(_CHUNK):
                    left -= len(chunk)
                    yield chunk
        if left:
            raise self._broken_off()

    def _get(self, key: str, etag: str, wanted: str) -> GetObjectOutputTypeDef:
        try:
            found = self._client.get_object(Bucket=self._settings.name, Key=key, Range=wanted)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _GONE:
                raise FileNotFoundError("the object is gone") from None
            if status_of(error) == 416:  # it is shorter now
                raise _changed() from None
            raise
        now = found.get("ETag") or ""
        if not etag.startswith("modified "):
            same = now == etag
        else:
            same = etag == f"modified {found['LastModified'].isoformat()}"
        if not same:
            found["Body"].close()
            raise _changed()
        return found

    def _errors(self) -> AbstractContextManager[None]:
        return s3_errors(self._settings, _SECTION, "list and read")

    def _broken_off(self) -> Transient:
        return Transient(f"{self.where}: an object broke off", fix="run again when server and network are well")


def _changed() -> Quarantine:
    return Quarantine(Reason.WRONG_INSTANCE, "the object is not the one that was listed")
