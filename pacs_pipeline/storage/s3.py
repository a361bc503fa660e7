"""The boto3 client as the pipeline wants it, and its errors in the project's terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)

from pacs_pipeline.errors import Permanent, PipelineError, SettingsError, Transient
from pacs_pipeline.settings import BucketSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ALL_RIGHTS = "list, read, write and delete"
_DAMAGED_IN_TRANSIT = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_WRONG_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}
_WRONG_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_NO_SPACE = {"QuotaExceeded", "XMinioStorageFull", "507"}


def make_client(
    settings: BucketSettings, *, attempts: int, connect_timeout: float, read_timeout: float, section: str = "bucket"
) -> S3Client:
    """A client with bounded waiting; raises SettingsError when keys, files or the endpoint are unusable.

    ``attempts`` is the total number of tries of a call (botocore's standard mode: connection errors, 429,
    5xx, SlowDown, with exponential back-off); timeouts are seconds; ``section`` names the settings in messages.
    """
    if settings.ca_bundle is not None and not settings.ca_bundle.is_file():
        raise SettingsError(f"{section}.ca_bundle: there is no file {settings.ca_bundle}", fix="name a PEM file")
    session = boto3.Session(
        aws_access_key_id=_key_from(settings.access_key_file, f"{section}.access_key_file"),
        aws_secret_access_key=_key_from(settings.secret_key_file, f"{section}.secret_key_file"),
        region_name=settings.region,
    )
    try:
        if session.get_credentials() is None:
            raise SettingsError("the keys of the bucket are missing", fix=_credentials_fix(section))
        return session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            verify=str(settings.ca_bundle) if settings.ca_bundle else None,
            config=Config(
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=settings.parallel_uploads + 2,
                tcp_keepalive=True,
                s3={"addressing_style": settings.addressing_style},
                request_checksum_calculation=settings.checksums,
                response_checksum_validation=settings.checksums,
            ),
        )
    except ValueError as error:  # "Invalid endpoint: …"
        raise SettingsError(
            f"{section}.endpoint_url is not a URL", fix="write it like https://s3.example.org"
        ) from error
    except BotoCoreError as error:
        raise SettingsError(f"the S3 client cannot be made ({error})", fix=_credentials_fix(section)) from error


@contextmanager
def s3_errors(settings: BucketSettings, section: str = "bucket", rights: str = _ALL_RIGHTS) -> Iterator[None]:
    """Turn what boto3 raises inside the block into Transient, Permanent or SettingsError with a fix.

    ``section`` names the settings and ``rights`` what the keys must be allowed, in messages.
    """
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, settings, section, rights) from error
    except BotoCoreError as error:
        raise _of_connection(error, settings, section) from error


def status_of(error: ClientError) -> int:
    """The HTTP status of an error answer, 0 when unknown."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _of_answer(error: ClientError, settings: BucketSettings, section: str, rights: str) -> PipelineError:
    name = "name" if section == "bucket" else "bucket"
    code = error.response.get("Error", {}).get("Code", "")
    status = status_of(error)
    what = f"the bucket '{settings.name}' at {_where(settings)}"
    answer = f"{error.operation_name}: {code or status}"
    if code in _DAMAGED_IN_TRANSIT:
        return Transient(f"{what} received a damaged object and refused it ({answer})", fix="run again")
    if code == "RequestTimeTooSkewed":
        return Permanent(f"{what} says this machine's clock is wrong ({answer})", fix="synchronise the clock (NTP)")
    if code in _WRONG_REGION or status == 301:
        return Permanent(f"{what} is in another region ({answer})", fix=f"set {section}.region")
    if code in _NO_SPACE or status == 507:
        return Transient(
            f"{what} has no space left ({answer})", fix="free space there or raise its quota, then run again"
        )
    if code in _WRONG_KEYS:
        return Permanent(f"{what} does not know these keys ({answer})", fix=_credentials_fix(section))
    if status in (401, 403):
        return Permanent(
            f"{what} denies access ({answer})",
            fix=f"give these keys the right to {rights} in that bucket",
        )
    if code == "NoSuchBucket" or status == 404:
        return Permanent(
            f"{what} does not exist ({answer})",
            fix=f"create it, or correct {section}.{name}",
        )
    if status == 429 or status >= 500:
        return Transient(f"{what} is overloaded or down ({answer}, status {status})", fix="run again when it is back")
    return Permanent(f"{what} refused a request ({answer}, status {status})", fix="look into the server's log")


def _of_connection(error: BotoCoreError, settings: BucketSettings, section: str) -> PipelineError:
    what = f"the bucket '{settings.name}' at {_where(settings)}"
    if isinstance(error, SSLError):
        return Permanent(
            f"{what} has a certificate that is not trusted, or speaks no TLS",
            fix=f"set {section}.ca_bundle to the CA's PEM file, or correct {section}.endpoint_url",
        )
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return SettingsError("the keys of the bucket are missing or incomplete", fix=_credentials_fix(section))
    if isinstance(error, ConnectionError | ConnectionClosedError | HTTPClientError | IncompleteReadError):
        return Transient(
            f"{what} cannot be reached ({type(error).__name__})",
            fix=f"check that the server is up and {section}.endpoint_url is right, then run again",
        )
    return Permanent(f"{what}: the request cannot be made ({type(error).__name__})", fix="report this bug")


def _credentials_fix(section: str) -> str:
    return (
        f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or {section}.access_key_file and {section}.secret_key_file"
    )


def _where(settings: BucketSettings) -> str:
    return settings.endpoint_url or f"AWS {settings.region}"


def _key_from(path: Path | None, name: str) -> str | None:
    if path is None:
        return None
    try:
        value = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}: {path} cannot be read", fix="point it at a file with the key") from error
    if not value:
        raise SettingsError(f"{name}: {path} is empty", fix="put the key into it")
    return value
