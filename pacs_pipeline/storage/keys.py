"""Names of objects in the bucket: made of de-identified UIDs and the content's digest, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pacs_pipeline.errors import Permanent

_UID = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*")  # PS3.5 section 9.1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_MAXIMUM_KEY_LENGTH = 1024
_DIGEST_CHARACTERS = 16


def object_key(prefix: str, row: Mapping[str, object]) -> str:
    """The key of the instance in ``row`` (columns of the ``instances`` table) below ``prefix``.

    ``<prefix>studies/<StudyInstanceUID>/series/<SeriesInstanceUID>/<SOPInstanceUID>-<sha256[:16]>.dcm``: one
    prefix per series, and another content is another key, so a new version never overwrites an old one.
    Raises Permanent when a UID or the digest is malformed; the message names the column only.
    """
    study, series, instance = (
        _matching(_UID, row, name) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    )
    digest = _matching(_SHA256, row, "sha256")
    return check_key(f"{prefix}studies/{study}/series/{series}/{instance}-{digest[:_DIGEST_CHARACTERS]}.dcm")


def check_key(key: str) -> str:
    """``key`` itself when every S3 server takes it literally, else Permanent."""
    if not _KEY.fullmatch(key) or len(key) > _MAXIMUM_KEY_LENGTH or not {".", ".."}.isdisjoint(key.split("/")):
        raise Permanent(
            "an object key has characters or a length that S3 servers treat differently",
            fix="use letters, digits, '_', '.', '-' and '/' in bucket.prefix",
        )
    return key


def series_prefix(key: str) -> str:
    """Everything of ``key`` up to and with its last slash."""
    return key[: key.rfind("/") + 1]


def _matching(pattern: re.Pattern[str], row: Mapping[str, object], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Permanent(f"an instance cannot be named in the bucket: its {column} is malformed", fix="report this bug")
    return value
