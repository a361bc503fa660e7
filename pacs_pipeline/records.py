"""The frozen values that every room shares. No I/O, no behaviour beyond what a value knows of itself.

Attributes that are DICOM attributes carry the standard's keyword. UIDs are plain strings.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Stage(StrEnum):
    """The stages of a partition, in order."""

    CENSUS = "census"
    HARVEST = "harvest"
    DEIDENTIFY = "deidentify"
    VALIDATE = "validate"
    PUBLISH = "publish"
    RECONCILE = "reconcile"


class Reason(StrEnum):
    """Why an instance was set aside. The value is what reports, tables and the UI show."""

    UNREADABLE = "unreadable"  # not DICOM, or a data set that cannot be parsed to its end
    TRUNCATED = "truncated"  # PixelData or an element is shorter than the header says
    TOO_DEEP = "too-deeply-nested"
    TOO_LARGE = "too-large"  # inflates beyond the limit
    STRUCTURED_REPORT = "structured-report"
    ENCAPSULATED_DOCUMENT = "encapsulated-document"
    BURNED_IN_TEXT = "burned-in-text-possible"
    HIDDEN_CONTENT = "hidden-content-possible"  # overlays in pixel bits, trailing data, JPEG comments …
    UNSUPPORTED = "unsupported-sop-class"  # no rule says how to prove this class clean
    RESIDUE = "identifier-in-output"  # the residue scan found an identifier of this instance
    WRONG_INSTANCE = "not-what-the-census-listed"
    CONFLICT = "conflicting-copies"  # two different objects under one SOPInstanceUID
    INTERNAL = "engine-error"  # the engine failed on this instance; a bug, reported as such


class VerdictStatus(StrEnum):
    """Three-valued on purpose: a check that could not run has not passed."""

    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_RUN = "could-not-run"


class Severity(StrEnum):
    """Of a contract rule: an ``error`` withholds the partition, a ``warning`` is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One study date of one site, in the site's own zone."""

    site: str
    study_date: dt.date

    @property
    def key(self) -> str:
        """The Dagster partition key, ``YYYY-MM-DD``."""
        return self.study_date.isoformat()

    @property
    def folder(self) -> str:
        """The hive-style folder inside a zone."""
        return f"site={self.site}/study_date={self.key}"

    def __str__(self) -> str:
        return f"{self.site} {self.key}"


@dataclass(frozen=True, slots=True)
class SeriesRef:
    """A series as the PACS announced it. ``None`` counts were not given by the PACS."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    Modality: str
    NumberOfSeriesRelatedInstances: int | None


@dataclass(frozen=True, slots=True)
class StudyTraits:
    """What a census filter may need to know of a study; None where the archive does not say.

    Lives only until the filter has decided: it is never shown, stored or logged.
    """

    StudyDescription: str | None = field(default=None, repr=False)
    InstitutionName: str | None = field(default=None, repr=False)
    age_years: int | None = field(default=None, repr=False)  # completed, at the study


@dataclass(frozen=True, slots=True)
class StudyRef:
    """A study as the PACS announced it, with its series."""

    StudyInstanceUID: str
    StudyDate: dt.date
    StudyTime: str
    ModalitiesInStudy: tuple[str, ...]
    NumberOfStudyRelatedInstances: int | None
    series: tuple[SeriesRef, ...] = ()
    traits: StudyTraits = StudyTraits()


@dataclass(frozen=True, slots=True)
class InstanceRef:
    """One instance as the archive listed it. ``version`` changes with the content, where the archive can tell."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class LandedInstance:
    """One complete file in the landing zone, as received.

    ``sha256`` is over the data set's bytes as they came over the wire (the file meta group is ours).
    """

    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    TransferSyntaxUID: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RetrievalFailure:
    """Why one expected instance (or, with an empty SOPInstanceUID, one request) did not arrive."""

    SeriesInstanceUID: str
    SOPInstanceUID: str
    status: int | None  # the DIMSE status, None when the association was lost
    message: str


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """What one retrieve request brought. Completeness is judged by the caller, from lists."""

    landed: tuple[LandedInstance, ...]
    failures: tuple[RetrievalFailure, ...] = ()
    unexpected: tuple[InstanceRef, ...] = ()  # sent by the PACS, asked for by nobody; not kept
    duplicates: int = 0  # the same instance again, identical; not kept twice


@dataclass(frozen=True, slots=True)
class TableRef:
    """A Parquet table a stage wrote: its path below the zone, its rows and content digest."""

    path: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The commit record of one stage for one partition.

    ``inputs`` are the fingerprints of everything that made it (upstream digests, profile, contracts,
    code); ``digest`` covers inputs, tables and counts and nothing that changes by itself, so that the
    same work gives the same digest.
    """

    stage: Stage
    partition: Partition
    inputs: Mapping[str, str]
    tables: Mapping[str, TableRef] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 in hex over the canonical JSON of the manifest."""
        return fingerprint(self.to_json())

    def to_json(self) -> dict[str, object]:
        """The plain structure that is stored (without the digest)."""
        return {
            "stage": self.stage.value,
            "site": self.partition.site,
            "study_date": self.partition.key,
            "inputs": dict(self.inputs),
            "tables": {name: {"path": t.path, "rows": t.rows, "sha256": t.sha256} for name, t in self.tables.items()},
            "counts": dict(self.counts),
        }


class Commit(NamedTuple):
    """What a manifest says to whoever compares manifests: all but its tables. A plain tuple: there are very many."""

    stage: Stage
    partition: Partition
    digest: str
    inputs: Mapping[str, str]
    counts: Mapping[str, int]


class Judgement(NamedTuple):
    """What a verdict says to whoever compares verdicts: all but its rules."""

    manifest_digest: str
    contracts_fingerprint: str
    status: VerdictStatus


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule of a contract on one partition: counts only, never a value."""

    rule: str  # e.g. "StudyInstanceUID matches the UID pattern"
    column: str  # empty for a rule on the table
    severity: Severity
    status: VerdictStatus
    rows: int
    unexpected: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class ContractResult:
    """What one data contract says of one table."""

    contract: str
    version: str
    status: VerdictStatus
    rules: tuple[RuleResult, ...]

    @property
    def failing(self) -> tuple[RuleResult, ...]:
        """The rules that did not pass, errors first."""
        bad = [r for r in self.rules if r.status is not VerdictStatus.PASSED]
        return tuple(sorted(bad, key=lambda r: (r.severity is not Severity.ERROR, r.rule)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of all contracts on exactly one manifest."""

    manifest_digest: str
    contracts_fingerprint: str
    results: tuple[ContractResult, ...]

    @property
    def status(self) -> VerdictStatus:
        """That of all contracts together."""
        return overall(result.status for result in self.results)


@dataclass(frozen=True, slots=True)
class Books:
    """The books of one partition, counted in instances."""

    partition: Partition
    expected: int
    published: int
    excluded: int
    quarantined: int
    unavailable: int
    problems: tuple[str, ...] = ()  # what is wrong, in words; empty when the books close

    @property
    def closed(self) -> bool:
        """``expected = published + excluded + quarantined + unavailable`` and nothing else is wrong."""
        accounted = self.published + self.excluded + self.quarantined + self.unavailable
        return self.expected == accounted and not self.problems


def overall(statuses: Iterable[VerdictStatus]) -> VerdictStatus:
    """Passed only when every contract ran and passed; nothing judged is could-not-run."""
    found = set(statuses)
    if not found or VerdictStatus.COULD_NOT_RUN in found:
        return VerdictStatus.COULD_NOT_RUN
    return VerdictStatus.FAILED if VerdictStatus.FAILED in found else VerdictStatus.PASSED


def fingerprint(value: object) -> str:
    """SHA-256 in hex over the canonical JSON of ``value`` (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
