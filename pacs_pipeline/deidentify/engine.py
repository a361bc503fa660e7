"""One instance from file to file: read strictly, judge, rewrite, write, look again, and only then release."""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import uuid
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from pydicom.uid import DeflatedExplicitVRLittleEndian

from pacs_pipeline.deidentify.burned_in import Detector, TextDetector, available, clean_pixels, load_device_rules
from pacs_pipeline.deidentify.classify import Treatment, treatment_of
from pacs_pipeline.deidentify.codec import (
    PIXEL_DATA,
    Buffer,
    Element,
    Elements,
    Source,
    Span,
    components,
    deflated,
    encode,
    encode_meta,
    read,
)
from pacs_pipeline.deidentify.content_context import RewriteContext
from pacs_pipeline.deidentify.descriptor_identifiers import Fact
from pacs_pipeline.deidentify.descriptors import TextCleaner, cleaner_for, identifiers_of
from pacs_pipeline.deidentify.documents import clean_document
from pacs_pipeline.deidentify.identity import EVERYWHERE, PATIENT, IdentityRule, patient_of
from pacs_pipeline.deidentify.keys import Keys
from pacs_pipeline.deidentify.objects import object_pixels
from pacs_pipeline.deidentify.outcome import Outcome
from pacs_pipeline.deidentify.pixel_data import only_pixels, written_with
from pacs_pipeline.deidentify.plan import Plan
from pacs_pipeline.deidentify.presentation import clean_presentation
from pacs_pipeline.deidentify.profile import ENGINE_VERSION, Profile
from pacs_pipeline.deidentify.released_documents import NO_DOCUMENTS, DocumentReleases, document_attributes
from pacs_pipeline.deidentify.residue import ResidueScan
from pacs_pipeline.deidentify.residue_identifiers import Harvest
from pacs_pipeline.deidentify.rewrite import Counted, Counts, Decision, Rewrite, actions_of
from pacs_pipeline.deidentify.row import Member, instance_row, proof
from pacs_pipeline.deidentify.series import Last, Made, Pieces
from pacs_pipeline.deidentify.steps.work import Patient
from pacs_pipeline.deidentify.structured import clean_items, identifying_texts
from pacs_pipeline.deidentify.tags import SERIES_INSTANCE, SOP_INSTANCE, STUDY_INSTANCE
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

DEFAULT_MAX_INFLATED_BYTES = 256 * 1024 * 1024
DEFAULT_MAX_DEPTH = 32
SCRATCH = ".looked-at-"
T = TypeVar("T")
SOP_CLASS = 0x00080016
DERIVATION = 0x00082111
# Ours in every file we write (PS3.7 D.3.3.2); a fixed UUID under 2.25.
IMPLEMENTATION_CLASS_UID = "2.25." + str(uuid.UUID("5f0d3a52-6b1c-4b0e-9a4e-3c2f7d1e8b60").int)
IMPLEMENTATION_VERSION_NAME = "PACSPIPELINE_" + ENGINE_VERSION

# What a defect of the engine can raise on one instance. It must cost that instance, not the run.
DEFECTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


def code_version() -> str:
    """Version of the package and of the engine, as stored with every row."""
    try:
        package = version("pacs-pipeline")
    except PackageNotFoundError:
        package = "unknown"
    return f"{package}+engine.{ENGINE_VERSION}"


class Deidentifier:
    """Makes instances publishable, or says why they are not. Picklable; give each worker its own."""

    def __init__(
        self,
        profile: Profile,
        keys: Keys,
        *,
        identity: IdentityRule = EVERYWHERE,
        documents: DocumentReleases = NO_DOCUMENTS,
        max_inflated_bytes: int = DEFAULT_MAX_INFLATED_BYTES,
        max_depth: int = DEFAULT_MAX_DEPTH,
    ) -> None:
        self.profile = profile
        self.keys = keys
        self.identity = identity
        self.documents = documents
        self.max_inflated_bytes = max_inflated_bytes
        self.max_depth = max_depth
        self._plans: dict[str, Plan] = {}
        self._uids: dict[str, str] = {}
        self._version = code_version()
        # what the instances of a series have in common, from one to the next
        self._pieces: Pieces[Element] | None = None
        self._facts: Made[Element, frozenset[Fact]] = Made()
        self._decisions: Made[Element, Decision] = Made()
        self._sums: Last[list[Counted], Counts] = Last()
        self._encoded: Made[Element, bytes] = Made()
        self._members: Made[Element, Member] = Made()
        self._accounts: Last[tuple[dict[tuple[int, str], int], int, int], _Account] = Last()
        self._patients: Last[Elements, Patient] = Last()
        self._harvest = Harvest(profile.retains)
        self._scan = ResidueScan(profile.safe_private)
        self._detector: Detector | None = TextDetector() if available() else None  # without the extra: None

    def __reduce__(self) -> tuple[object, ...]:
        limits = self.max_inflated_bytes, self.max_depth
        return _rebuilt, (self.profile, self.keys, self.identity, self.documents, *limits)

    def deidentify(self, src: Path, out_dir: Path) -> Outcome:
        """De-identify the file ``src`` into ``out_dir/<SeriesInstanceUID>/<SOPInstanceUID>.dcm`` (new UIDs).

        Never raises for what is in the file: the outcome carries the reason, and nothing is left behind.
        Raises OSError when ``out_dir`` cannot be written, which is no property of the instance.
        """
        work = _Instance(src)
        try:
            return self._process(work, out_dir)
        except Quarantine as found:
            work.discard()
            return work.set_aside(found.reason, found.detail)
        except DEFECTS as defect:  # documented: the one place where a bug is turned into a reason
            work.discard()
            return work.set_aside(Reason.INTERNAL, type(defect).__name__)
        except OSError:
            work.discard()
            raise

    def _looked_at(self, source: Source, pixels: Element | None, work: _Instance, out_dir: Path) -> tuple[Source, int]:
        """The source with burned-in text blanked, and in how many regions; its file is gone when this returns.

        ``pixels`` is what takes the place of PixelData before anybody looks.
        """
        rules = load_device_rules()
        out_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=out_dir) as scratch:  # mode 0700
            blanked, original = Path(scratch) / "blanked", work.source
            if pixels is not None:
                original = Path(scratch) / "stripped"
                written_with(pixels, source, original)
            redaction = clean_pixels(original, blanked, rules=rules, detector=self._detector)
            source = read(blanked, max_inflated_bytes=self.max_inflated_bytes, max_depth=self.max_depth)
            source.buffer.keep()
        return source, len(redaction.regions)

    def _rewrite(self, sop_class: str, source: Source, patient: Patient) -> Rewrite:
        def items(rewrite: Rewrite, found: list[Elements]) -> list[Elements]:
            return clean_items(found, self.profile.content, RewriteContext.of(rewrite, source.dataset))

        return Rewrite(
            plan=self._plan(sop_class),
            keys=self.keys,
            buffer=source.buffer,
            patient=patient,
            uids=self._uids,
            cleaner_of=lambda: self._cleaner(source, patient),
            clean_items=items,
            little=source.encoding.little,
            decisions=self._decisions,
            sums=self._sums,
        )

    def _cleaner(self, source: Source, patient: Patient) -> TextCleaner:
        sought = identifiers_of(source.dataset, patient.charsets, self.profile.retains, self._facts)
        return cleaner_for(sought, self.profile.vocabulary)

    def _plan(self, sop_class: str) -> Plan:
        plan = self._plans.get(sop_class)
        if plan is None:
            plan = self._plans[sop_class] = Plan(self.profile, sop_class)
        return plan

    def _pixels(self, source: Source, treatment: Treatment, sop_class: str) -> Element | None:
        """What takes the place of PixelData, None when it is what its class allows and nothing else."""
        if treatment in (Treatment.HEADER, Treatment.LOOK):
            return only_pixels(source)
        return object_pixels(source, sop_class) if treatment is Treatment.OBJECT else None

    def _process(self, work: _Instance, out_dir: Path) -> Outcome:
        source = work.read(self.max_inflated_bytes, self.max_depth, self._pieces)
        self._pieces = source.pieces
        sop_class = _uid_of(source.dataset, SOP_CLASS)
        released = self.documents.cover(source)
        treatment = Treatment.RELEASED if released else treatment_of(source.dataset, self.profile.codes)
        for tag in (SOP_INSTANCE, SERIES_INSTANCE, STUDY_INSTANCE):
            if not _uid_of(source.dataset, tag):
                raise Quarantine(Reason.UNREADABLE, "the data set lacks one of its instance UIDs")
        regions = 0
        pixels = self._pixels(source, treatment, sop_class)
        stripped = pixels is not None
        if treatment is Treatment.LOOK:
            source, regions = self._looked_at(source, pixels, work, out_dir)
            pixels = only_pixels(source)
        deciding = {tag: source.dataset[tag] for tag in PATIENT if tag in source.dataset}
        patient = self._patients.of(deciding, lambda elements: patient_of(elements, self.keys, self.identity))
        rewrite = self._rewrite(sop_class, source, patient)
        context = RewriteContext.of(rewrite, source.dataset)
        if treatment is Treatment.PRESENTATION:
            clean = clean_presentation(source.dataset, context)
        elif treatment is Treatment.DOCUMENT:
            clean = clean_document(source.dataset, self.profile.content, context)
        else:
            clean = rewrite.dataset(source.dataset)
        if treatment is Treatment.RELEASED:
            clean |= document_attributes(source.dataset, rewrite)
        clean |= rewrite.mark(pixels_looked_at=treatment is Treatment.LOOK)
        if pixels is not None:
            clean[PIXEL_DATA] = pixels
        if stripped:
            rewrite.counts[PIXEL_DATA, "C"] = 1
        if regions:
            rewrite.counts[PIXEL_DATA, "R"] = regions
            clean[DERIVATION] = source.dataset[DERIVATION]  # our own words, see burned_in/encode.py
        inflated = work.write(clean, source, out_dir, self._encoded)
        sought = self._harvest.of(source.dataset)
        sought = sought.with_texts(identifying_texts(source.dataset, self.profile.content, context.decode))
        self._scan.verify(work.temporary, sought, source.encoding, inflated)
        row = instance_row(clean, source.encoding, source.transfer_syntax, self._members)
        row |= {"profile_fingerprint": self.profile.fingerprint, "code_version": self._version}
        actions, columns = self._accounts.of((dict(rewrite.counts), regions, sought.total), _account)
        return work.release(row | columns, actions, out_dir)


@lru_cache(maxsize=4)
def _rebuilt(
    profile: Profile,
    keys: Keys,
    identity: IdentityRule,
    documents: DocumentReleases,
    max_inflated_bytes: int,
    max_depth: int,
) -> Deidentifier:
    """The engine in a worker: the same one for every task, so that what it has decided and mapped is kept."""
    limits = {"max_inflated_bytes": max_inflated_bytes, "max_depth": max_depth}
    return Deidentifier(profile, keys, identity=identity, documents=documents, **limits)


Actions = tuple[tuple[str, str, str, int], ...]
_Account = tuple[Actions, dict[str, object]]


def _account(done: tuple[dict[tuple[int, str], int], int, int]) -> _Account:
    """What is told of an instance: its actions, and the columns of its row that prove them."""
    counts, regions, sought = done
    return actions_of(counts), proof(counts, regions_redacted=regions, identifiers_sought=sought)


class _Instance:
    """The files of one instance while it is worked on."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.temporary = source  # set by write
        self._written = False
        self._uids = ("", "", "")
        self._input_sha256 = ""
        self._size = 0
        self._sha256 = ""

    def read(self, max_inflated_bytes: int, max_depth: int, before: Pieces[Element] | None) -> Source:
        """The source, parsed to its end; its digest is taken first, so a refusal has it too."""
        try:
            buffer = Buffer(self.source)
            digest = hashlib.sha256()
            for chunk in buffer.views(Span(0, len(buffer.data))):
                digest.update(chunk)
            self._input_sha256 = digest.hexdigest()
            limits = {"max_inflated_bytes": max_inflated_bytes, "max_depth": max_depth}
            source = read(self.source, buffer=buffer, before=before, **limits)
        except OSError as error:
            raise Quarantine(Reason.UNREADABLE, "the file cannot be read") from error
        self._uids = (
            _uid_of(source.dataset, SOP_INSTANCE),
            _uid_of(source.dataset, SERIES_INSTANCE),
            _uid_of(source.dataset, STUDY_INSTANCE),
        )
        return source

    def write(self, clean: Elements, source: Source, out_dir: Path, encoded: Made[Element, bytes]) -> bytes | None:
        """Write ``clean`` under a temporary name; returns the data set before deflation, if it was deflated."""
        sop_instance = _uid_of(clean, SOP_INSTANCE)
        meta = encode_meta(
            {
                0x00020001: ("OB", b"\0\1"),
                0x00020002: ("UI", _uid_of(clean, SOP_CLASS).encode("ascii")),
                0x00020003: ("UI", sop_instance.encode("ascii")),
                0x00020010: ("UI", source.transfer_syntax.encode("ascii")),
                0x00020012: ("UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
                0x00020013: ("SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
            }
        )
        pieces = encode(clean, source.encoding, encoded)
        inflated = None
        if source.transfer_syntax == DeflatedExplicitVRLittleEndian:
            inflated = b"".join(chunk for piece in pieces for chunk in _chunks(piece, source.buffer))
            pieces = [deflated(inflated)]
        self.temporary = out_dir / f".{sop_instance}.{os.getpid()}.{os.urandom(4).hex()}.part"
        self._written = True
        digest = hashlib.sha256()
        size = 0
        with _in_folder(self.temporary, lambda: self.temporary.open("wb")) as file:
            for piece in [meta, *pieces]:
                for chunk in _chunks(piece, source.buffer):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
        self._size, self._sha256 = size, digest.hexdigest()
        return inflated

    def release(self, row: dict[str, object], actions: Actions, out_dir: Path) -> Outcome:
        """Give the verified file its final name."""
        output = Path(out_dir, str(row["SeriesInstanceUID"]), f"{row['SOPInstanceUID']}.dcm")
        _in_folder(output, lambda: self.temporary.replace(output))
        self._written = False
        return Outcome(
            self.source,
            *self._uids,
            output=output,
            size=self._size,
            sha256=self._sha256,
            input_sha256=self._input_sha256,
            row=row | {"size": self._size, "sha256": self._sha256},
            actions=actions,
        )

    def set_aside(self, reason: Reason, detail: str) -> Outcome:
        """The outcome of an instance that cannot be released."""
        return Outcome(self.source, *self._uids, reason=reason, detail=detail, input_sha256=self._input_sha256)

    def discard(self) -> None:
        """Remove what was written; nothing of a refused instance stays."""
        if self._written:
            self.temporary.unlink(missing_ok=True)


def _in_folder(path: Path, write: Callable[[], T]) -> T:
    """What ``write`` gives; the folder of ``path`` is made when it turns out to be missing."""
    try:
        return write()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write()


def _uid_of(dataset: Elements, tag: int) -> str:
    element: Element | None = dataset.get(tag)
    if element is None or not isinstance(element.value, bytes):
        return ""
    return components(element.value)[0]


def _chunks(piece: bytes | Span, buffer: Buffer) -> Iterable[bytes | memoryview]:
    return [piece] if isinstance(piece, bytes) else buffer.views(piece)
