"""One secret, one key per purpose: pseudonyms, UIDs, date shifts, log hashes. Nothing here reads a data set."""

from __future__ import annotations

import hmac
import re
import unicodedata
import uuid
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

DEFAULT_MAX_SHIFT_DAYS = 3650
_SPACE = re.compile(r"\s+")


def normalised(text: str) -> str:
    """``text`` without the differences that padding, case of width and composition make."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text.replace("\0", " "))).strip()


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The derived keys of one project. Two projects share no key, so they cannot be linked."""

    patient: bytes
    uids: bytes
    dates: bytes
    vault: bytes
    hashes: bytes
    max_shift_days: int = DEFAULT_MAX_SHIFT_DAYS

    @classmethod
    def derive(cls, secret: bytes, project: str, *, max_shift_days: int = DEFAULT_MAX_SHIFT_DAYS) -> Keys:
        """HKDF-SHA256 (RFC 5869) over the project ``secret``; one independent key per purpose."""
        if not secret or not project:
            raise ValueError("a secret and a project name are needed to derive keys")
        if max_shift_days < 1:
            raise ValueError("the date shift needs a range of at least one day")

        def key(purpose: str) -> bytes:
            info = f"pacs_pipeline/1/{purpose}/{project}".encode()
            return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)

        return cls(
            patient=key("patient"),
            uids=key("uid"),
            dates=key("date-shift"),
            vault=key("vault"),
            hashes=key("hash"),
            max_shift_days=max_shift_days,
        )

    def __repr__(self) -> str:
        return "Keys(…)"

    def pseudonym(self, patient_id: str, issuer: str = "") -> str:
        """A stable LO value for one person: ``P`` and 80 bits in upper-case hex.

        PatientID is compared after normalisation; the same number from another issuer is another person.
        """
        return "P" + _mac(self.patient, normalised(patient_id), normalised(issuer))[:10].hex().upper()

    def uid(self, original: str) -> str:
        """A UID under ``2.25.`` (PS3.5 B.2), the same for the same original, at most 44 characters."""
        digest = _mac(self.uids, original.strip(" \0"))
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    def date_shift(self, patient: str) -> int:
        """Whole days, 1 to ``max_shift_days``, by which every date of ``patient`` moves into the past."""
        digest = _mac(self.dates, normalised(patient))
        return 1 + int.from_bytes(digest[:16], "big") % self.max_shift_days

    def hash(self, value: str) -> str:
        """A short keyed hash that may stand in logs and tables where ``value`` must not."""
        return _mac(self.hashes, value)[:8].hex()


def _mac(key: bytes, *parts: str) -> bytes:
    """HMAC-SHA256 over ``parts``, each with its length, so that no two lists of parts read the same."""
    message = b"".join(len(encoded).to_bytes(4, "big") + encoded for encoded in (p.encode() for p in parts))
    return hmac.digest(key, message, sha256)
