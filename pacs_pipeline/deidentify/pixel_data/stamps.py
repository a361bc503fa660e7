"""Comments that encoders leave in every file they write; nothing else may stand in a comment."""

from __future__ import annotations

import re

_VERSION = rb"\d{1,2}(?:\.\d{1,2}){1,3}"
_STAMP = re.compile(
    rb"(?:Created by (?:GDCM/)?OpenJPEG version %(v)s|Kakadu-v?%(v)s|Creator: JasPer Version %(v)s"
    rb"|LEAD Technologies Inc\. V%(v)s)\x00?" % {b"v": _VERSION}
)


def is_stamp(comment: bytes) -> bool:
    """Whether the content of a comment is the name and version of a known encoder and no more."""
    return _STAMP.fullmatch(comment) is not None
