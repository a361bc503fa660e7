"""One instance from its landed file to a released one, or to the reason why not."""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacs_pipeline.deidentify import residue
from pacs_pipeline.deidentify.classify import require_releasable
from pacs_pipeline.deidentify.codec import (
    CHUNK,
    Elements,
    Source,
    Span,
    deflated,
    encode,
    encode_meta,
    read,
)
from pacs_pipeline.deidentify.identity import patient_of
from pacs_pipeline.deidentify.keys import Keys
from pacs_pipeline.deidentify.pixels import check_pixels
from pacs_pipeline.deidentify.profile import ENGINE_VERSION, Profile
from pacs_pipeline.deidentify.rewrite import (
    SERIES_INSTANCE,
    SOP_INSTANCE,
    STUDY_INSTANCE,
    Plan,
    Rewrite,
    actions_of,
)
from pacs_pipeline.deidentify.row import instance_row
from pacs_pipeline.deidentify.text import SPECIFIC_CHARACTER_SET
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

log = logging.getLogger(__name__)

CODE_VERSION = f"deidentify/{ENGINE_VERSION}"
"""Part of every fingerprint: another engine makes every partition stale."""

IMPLEMENTATION_CLASS_UID = "2.25.329800735698586629295641978511506172918"
IMPLEMENTATION_VERSION_NAME = "PACS_PIPELINE"
DEFLATED = "1.2.840.10008.1.2.1.99"
MAX_INFLATED_BYTES = 512 * 1024 * 1024
MAX_DEPTH = 64
_SOP_CLASS = 0x00080016

# What a bug in the engine raises on one instance. It is reported as such and costs that instance, not the partition.
# OSError is not among them: a full disk or a missing folder is nobody's instance.
_BUGS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    UnicodeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one source file.

    ``path`` is the released file, None when it was set aside for ``reason``. The source UIDs are for the
    vault's mapping only. ``row`` has the columns of the ``instances`` table except ``path``.
    """

    source: Path
    input_sha256: str = ""
    source_sop_instance_uid: str = ""
    reason: Reason | None = None
    detail: str = ""
    path: Path | None = None
    size: int = 0
    sha256: str = ""
    row: dict[str, Any] = field(default_factory=dict)
    actions: tuple[tuple[str, str, str, int], ...] = ()

    @property
    def released(self) -> bool:
        """Whether there is a clean instance at ``path``."""
        return self.path is not None


class Deidentifier:
    """The engine for one profile and one set of keys. Picklable; one per process, not thread-safe."""

    def __init__(
        self,
        profile: Profile,
        keys: Keys,
        *,
        max_inflated_bytes: int = MAX_INFLATED_BYTES,
        max_depth: int = MAX_DEPTH,
    ) -> None:
        self.profile = profile
        self.keys = keys
        self.max_inflated_bytes = max_inflated_bytes
        self.max_depth = max_depth
        self._plan = Plan(profile)
        self._uids: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.profile, self.keys, self.max_inflated_bytes, self.max_depth)

    def deidentify(self, src: Path, out_dir: Path) -> Outcome:
        """De-identify ``src`` into ``out_dir/<SeriesInstanceUID>/<SOPInstanceUID>.dcm`` (the new UIDs).

        The file appears under its name only after the residue scan has read it again and found nothing. For
        the same input, profile and keys it has the same bytes. Raises OSError for the disk, nothing else.
        """
        try:
            with src.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            source = read(src, max_inflated_bytes=self.max_inflated_bytes, max_depth=self.max_depth)
        except Quarantine as problem:
            return Outcome(src, digest, reason=problem.reason, detail=problem.detail)
        except _BUGS as error:
            return self._failed(src, digest, "", error)
        sop_instance = _uid_of(source.dataset, SOP_INSTANCE)
        try:
            return self._release(src, digest, sop_instance, source, out_dir)
        except Quarantine as problem:
            return Outcome(src, digest, sop_instance, problem.reason, problem.detail)
        except _BUGS as error:
            return self._failed(src, digest, sop_instance, error)

    def _failed(self, src: Path, digest: str, sop_instance: str, error: BaseException) -> Outcome:
        # the message of the exception may quote a value: only its class is told
        detail = type(error).__name__
        log.error("the engine failed on instance %s: %s", self.keys.hash(sop_instance or digest), detail)
        return Outcome(src, digest, sop_instance, Reason.INTERNAL, detail)

    def _release(self, src: Path, digest: str, sop_instance: str, source: Source, out_dir: Path) -> Outcome:
        dataset = source.dataset
        for tag in (SOP_INSTANCE, STUDY_INSTANCE, SERIES_INSTANCE):
            if not _uid_of(dataset, tag):
                raise Quarantine(Reason.UNREADABLE, "SOP, Series or Study Instance UID is missing or invalid")
        require_releasable(dataset)
        check_pixels(source)
        patient = patient_of(dataset, self.keys)
        work = Rewrite(self._plan, self.keys, source.buffer, patient, self._uids)
        result = work.dataset(dataset)
        result.update(work.mark())
        result.pop(SPECIFIC_CHARACTER_SET, None)  # everything that is written is plain ASCII, the default repertoire

        series, instance = _uid_of(result, SERIES_INSTANCE), _uid_of(result, SOP_INSTANCE)
        final = out_dir / series / f"{instance}.dcm"
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = final.with_name(f".{instance}.{os.getpid()}.part")
        try:
            size, sha256, inflated = _write(partial, source, result)
            residue.verify(partial, residue.identifiers_of(dataset), source.encoding, inflated)
            partial.rename(final)
            _sync_folder(final.parent)
        finally:
            partial.unlink(missing_ok=True)
        row = instance_row(result, source.encoding, source.transfer_syntax) | {
            "size": size,
            "sha256": sha256,
            "profile_fingerprint": self.profile.fingerprint,
            "code_version": CODE_VERSION,
        }
        return Outcome(
            src, digest, sop_instance, path=final, size=size, sha256=sha256, row=row, actions=actions_of(work.counts)
        )


def _rebuilt(profile: Profile, keys: Keys, max_inflated_bytes: int, max_depth: int) -> Deidentifier:
    """The engine of this process for these arguments, kept over tasks with all it has compiled and remembered."""
    key = (profile.fingerprint, keys, max_inflated_bytes, max_depth)
    engine = _ENGINES.get(key)
    if engine is None:
        _ENGINES.clear()
        engine = _ENGINES[key] = Deidentifier(
            profile, keys, max_inflated_bytes=max_inflated_bytes, max_depth=max_depth
        )
    return engine


_ENGINES: dict[Any, Deidentifier] = {}


def _uid_of(dataset: Elements, tag: int) -> str:
    """A UID of the data set without padding, empty when it is absent or no UID (PS3.5 9.1)."""
    element = dataset.get(tag)
    if element is None or not isinstance(element.value, bytes):
        return ""
    text = element.value.decode("latin-1").strip(" \0")
    return text if text and len(text) <= 64 and set(text) <= set("0123456789.") else ""


def _write(path: Path, source: Source, dataset: Elements) -> tuple[int, str, bytes | None]:
    """Write the file to the disk and flush it; its size, its SHA-256 and, if it is deflated, what was deflated."""
    meta = encode_meta(
        {
            0x00020001: ("OB", b"\0\1"),
            0x00020002: ("UI", _uid_of(dataset, _SOP_CLASS).encode()),
            0x00020003: ("UI", _uid_of(dataset, SOP_INSTANCE).encode()),
            0x00020010: ("UI", source.transfer_syntax.encode()),
            0x00020012: ("UI", IMPLEMENTATION_CLASS_UID.encode()),
            0x00020013: ("SH", IMPLEMENTATION_VERSION_NAME.encode()),
        }
    )
    pieces = encode(dataset, source.encoding)
    inflated = None
    if source.transfer_syntax == DEFLATED:
        whole = (source.buffer.chunks(piece) if isinstance(piece, Span) else (piece,) for piece in pieces)
        inflated = b"".join(part for parts in whole for part in parts)
        pieces = [deflated(inflated)]
    digest = hashlib.sha256(meta)
    size = len(meta)
    with path.open("wb", buffering=CHUNK) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(meta)
        for piece in pieces:
            for part in source.buffer.chunks(piece) if isinstance(piece, Span) else (piece,):
                file.write(part)
                digest.update(part)
                size += len(part)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest(), inflated


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
