"""Encapsulated documents that a steward has read and releases: which they are, and what of their header is kept."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pacs_pipeline.deidentify.codec import PIXEL_DATA, Element, Elements, Source, Span
from pacs_pipeline.deidentify.rewrite import Rewrite
from pacs_pipeline.deidentify.steps.work import first
from pacs_pipeline.deidentify.tags import SOP_INSTANCE
from pacs_pipeline.deidentify.values import LENGTHS
from pacs_pipeline.errors import Quarantine, SettingsError
from pacs_pipeline.records import Reason

DOCUMENT, MIME_TYPE, TITLE, HL7_INSTANCE = 0x00420011, 0x00420012, 0x00420010, 0x0040E001
MIME_TYPES = {  # PS3.3 A.45, A.85 and C.24.2
    "1.2.840.10008.5.1.4.1.1.104.1": "application/pdf",
    "1.2.840.10008.5.1.4.1.1.104.2": "text/XML",
    "1.2.840.10008.5.1.4.1.1.104.3": "model/stl",
    "1.2.840.10008.5.1.4.1.1.104.4": "model/obj",
    "1.2.840.10008.5.1.4.1.1.104.5": "model/mtl",
}
_SOP_CLASS = 0x00080016
_COLUMNS = ("SOPInstanceUID", "sha256", "reviewed_by", "reason")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class DocumentReleases:
    """The documents that may leave. Picklable: the list is read by each worker, once.

    ``path`` is a CSV file with the columns SOPInstanceUID (of the source), sha256 (of the document), reviewed_by
    and reason. ``digest`` is that of its content.
    """

    path: Path | None = None
    digest: str = ""

    @property
    def fingerprint(self) -> str:
        """The same for the same list; it tells nothing about anybody."""
        return self.digest

    def cover(self, source: Source) -> bool:
        """Whether the source is a document on the list, byte for byte the one that was read.

        Raises Quarantine (ENCAPSULATED_DOCUMENT) for one on the list that is another document now, or whose header
        says that it is no document of its class.
        """
        element = source.dataset.get(DOCUMENT)
        mime_type = MIME_TYPES.get(first(source.dataset.get(_SOP_CLASS)))
        if self.path is None or element is None or mime_type is None:
            return False
        expected = _read(self.path, self.digest).get(first(source.dataset.get(SOP_INSTANCE)))
        if expected is None:
            return False
        if element.items is not None or expected not in _digests(source, element):
            raise _withheld("the document is not the one that was reviewed")
        if first(source.dataset.get(MIME_TYPE)).casefold() != mime_type.casefold():
            raise _withheld("MIMETypeOfEncapsulatedDocument is not that of the class")
        if PIXEL_DATA in source.dataset:
            raise _withheld("there are pixels beside the document")
        return True


NO_DOCUMENTS = DocumentReleases()
"""Every encapsulated document is withheld."""


def load_releases(path: Path | None = None) -> DocumentReleases:
    """The project's list. Raises SettingsError, naming the line, for one that cannot be used."""
    if path is None:
        return NO_DOCUMENTS
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(
            f"the list of documents {path} cannot be read ({error.strerror})",
            fix="correct deidentify.release_documents",
        ) from error
    _read(path, digest)
    return DocumentReleases(path, digest)


def document_attributes(source: Elements, rewrite: Rewrite) -> Elements:
    """What of a released document replaces what the ordinary pass made: the document itself, its type and title.

    The title is cleaned with Clean Descriptors and empty without (PS3.3 C.24.2: type 2). The identifier of a CDA
    document becomes a replaced UID (type 1C).
    """
    document = source[DOCUMENT]
    mime_type = MIME_TYPES[first(source[_SOP_CLASS])]
    title = source.get(TITLE)
    kept = ""
    if title is not None and isinstance(title.value, bytes) and rewrite.plan.profile.cleans_descriptors:
        text = rewrite.decoded(title, source)
        kept = rewrite.cleaner.clean(text)[: LENGTHS.get("ST")].strip() if text else ""
    result = {
        DOCUMENT: Element(DOCUMENT, "OB", document.value),
        MIME_TYPE: Element(MIME_TYPE, "LO", mime_type.encode("ascii")),
        TITLE: Element(TITLE, "ST", kept.encode("ascii") if kept.isascii() else b""),
    }
    if identifier := first(source.get(HL7_INSTANCE)):
        result[HL7_INSTANCE] = Element(HL7_INSTANCE, "ST", rewrite.uid(identifier).encode("ascii"))
        rewrite.counts[HL7_INSTANCE, "U"] += 1
    for tag, letter in ((DOCUMENT, "D"), (MIME_TYPE, "X"), (TITLE, "X"), (HL7_INSTANCE, "X")):
        rewrite.counts.pop((tag, letter), None)  # what the ordinary pass did with them is undone
    rewrite.counts[DOCUMENT, "K"] = 1
    rewrite.counts[TITLE, "C" if kept else "Z"] = 1
    return result


def _withheld(detail: str) -> Quarantine:
    return Quarantine(Reason.ENCAPSULATED_DOCUMENT, detail)


def _digests(source: Source, element: Element) -> tuple[str, str]:
    """SHA-256 of the document as it is stored, and without its pad byte when it ends in a zero byte."""
    value = element.value
    size = len(value)
    digest = hashlib.sha256()
    last = b""
    for piece in source.buffer.chunks(value) if isinstance(value, Span) else (value,):
        digest.update(last)
        digest.update(piece[:-1])
        last = bytes(piece[-1:])
    unpadded = digest.hexdigest() if size and last == b"\0" else ""
    digest.update(last)
    return digest.hexdigest(), unpadded


@lru_cache(maxsize=2)
def _read(path: Path, digest: str) -> Mapping[str, str]:
    """SHA-256 by SOPInstanceUID."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise SettingsError(f"the list of documents {path} was changed while in use", fix="run the partition again")
    try:
        reader = csv.DictReader(content.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise SettingsError(f"the list of documents {path} is not UTF-8", fix="save it as UTF-8") from error
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise SettingsError(
            f"the list of documents {path} lacks columns", fix=f"its first line is {','.join(_COLUMNS)}"
        )
    documents: dict[str, str] = {}
    for row in reader:
        uid, sha256, reviewer, reason = ((row[column] or "").strip() for column in _COLUMNS)
        if not (uid and reviewer and reason):
            raise SettingsError(
                f"{path}, line {reader.line_num}: a column is empty", fix="say which document, who read it, and why"
            )
        if not _SHA256.fullmatch(sha256.lower()):
            raise SettingsError(
                f"{path}, line {reader.line_num}: sha256 is no SHA-256 in hex", fix="see docs/deidentification.md"
            )
        if documents.setdefault(uid, sha256.lower()) != sha256.lower():
            raise SettingsError(
                f"{path}, line {reader.line_num}: this instance is another document further up", fix="decide for one"
            )
    return documents
