"""A staged file on its way to the bucket: its bytes, and what the server must say of them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pacs_pipeline.errors import Permanent

SINGLE_PUT_LIMIT = 32 * 2**20  # bytes; each worker may hold one such object
PART_SIZE = 16 * 2**20
_MAXIMUM_PARTS = 10_000  # S3's own limit
_FIX = "run the partition again from stage deidentify"


@dataclass(frozen=True, slots=True)
class Part:
    """The digests of one request's body."""

    md5: bytes
    sha256: bytes
    size: int

    @classmethod
    def of(cls, content: bytes) -> Part:
        """The digests of ``content``."""
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        return cls(md5, hashlib.sha256(content).digest(), len(content))


@dataclass(frozen=True, slots=True)
class Digests:
    """What the server must say of an object that it holds exactly as it was sent."""

    sha256: str
    size: int
    parts: tuple[Part, ...]
    in_parts: bool = False

    @classmethod
    def of_whole(cls, content: bytes) -> Digests:
        """Of an object that is put in one request."""
        part = Part.of(content)
        return cls(part.sha256.hex(), part.size, (part,))

    @classmethod
    def of_parts(cls, whole_sha256: str, parts: Sequence[Part]) -> Digests:
        """Of an object that is put in ``parts``."""
        return cls(whole_sha256, sum(part.size for part in parts), tuple(parts), in_parts=True)

    @property
    def etag(self) -> str:
        """The ETag of an object that is not encrypted with KMS: MD5, or MD5 of MD5s and the number of parts."""
        if not self.in_parts:
            return self.parts[0].md5.hex()
        joined = b"".join(part.md5 for part in self.parts)
        return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(self.parts)}"

    @property
    def checksum(self) -> str:
        """The ``ChecksumSHA256``: of the object, or composite like the ETag."""
        if not self.in_parts:
            return base64.b64encode(self.parts[0].sha256).decode()
        joined = hashlib.sha256(b"".join(part.sha256 for part in self.parts)).digest()
        return f"{base64.b64encode(joined).decode()}-{len(self.parts)}"

    def proven_by(self, response: Mapping[str, Any]) -> bool:
        """Does this answer to a put or a head prove the object? See ``bucket``'s docstring."""
        if response.get("ETag", "").strip('"') == self.etag:
            return True
        etag_is_no_md5 = "kms" in response.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in response
        return etag_is_no_md5 and response.get("ChecksumSHA256") == self.checksum


@dataclass(frozen=True, slots=True)
class Source:
    """A local file and what it must contain."""

    path: Path
    sha256: str
    size: int

    def whole(self) -> bytes:
        """The content of a small file."""
        with self._open() as file:
            return file.read(self.size + 1)  # one more than expected shows that it grew, and bounds the memory

    def parts(self) -> Iterator[bytes]:
        """The content of a large file, one request's body at a time."""
        smallest = -(-self.size // _MAXIMUM_PARTS)
        with self._open() as file:
            while content := file.read(max(PART_SIZE, smallest)):
                yield content

    def digests_of_parts(self) -> Digests:
        """What the server must say of a large file; reads all of it."""
        whole = hashlib.sha256()
        parts = []
        for content in self.parts():
            whole.update(content)
            parts.append(Part.of(content))
        return Digests.of_parts(whole.hexdigest(), parts)

    def check(self, sha256: str, size: int) -> None:
        """Raise Permanent unless what was read is what the manifest promised."""
        if (sha256, size) != (self.sha256, self.size):
            raise Permanent(
                "a staged file is not the one that was validated; it is not published",
                fix=_FIX,
            )

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("rb") as file:
                yield file
        except OSError as error:
            raise Permanent(f"a staged file cannot be read ({error.strerror})", fix=_FIX) from error
