"""The tables of one de-identified partition, collected while its instances stream by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacs_pipeline.compute import Done, WorkerLost
from pacs_pipeline.deidentify import Keys, Outcome
from pacs_pipeline.records import Reason

RELEASED, QUARANTINED = "released", "quarantined"

DOCUMENT_KEPT = ("00420011", "K")

Row = dict[str, Any]


@dataclass
class Ledger:
    """Notes every outcome of a partition.

    ``landed`` maps the landed files to their harvest rows. What is kept per instance is a few short strings,
    so that a partition of a hundred thousand instances stays small; the instance rows themselves, with their
    headers, are only passed on.
    """

    landed: Mapping[Path, Row]
    keys: Keys
    staging: Path
    outcomes: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    files: set[Path] = field(default_factory=set)
    bytes: int = 0
    _actions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _series: dict[str, Row] = field(default_factory=dict)
    _studies: dict[str, Row] = field(default_factory=dict)

    def released(self, results: Iterable[Done[Path, Outcome]]) -> Iterator[Row]:
        """Note every outcome; yield the rows of the released instances in their order."""
        for done in results:
            source, outcome = self.landed[done.item], done.result
            if isinstance(outcome, WorkerLost):
                self._set_aside(source, Reason.INTERNAL, "the worker process died on this instance", None)
            elif outcome.output is None or not outcome.released:
                self._set_aside(source, outcome.reason or Reason.INTERNAL, outcome.detail, outcome.input_sha256)
            elif outcome.source_sop_instance_uid != source["SOPInstanceUID"]:
                outcome.output.unlink()
                self._set_aside(source, Reason.WRONG_INSTANCE, "SOPInstanceUID", outcome.input_sha256)
            else:
                yield self._release(source, outcome, outcome.output)

    @property
    def actions(self) -> Iterator[Row]:
        """How often each action was applied to each attribute."""
        for (tag, keyword, action), count in sorted(self._actions.items()):
            yield {"tag": tag, "keyword": keyword, "action": action, "count": count}

    @property
    def documents(self) -> int:
        """Encapsulated documents, released or set aside."""
        released = sum(count for (tag, _, letter), count in self._actions.items() if (tag, letter) == DOCUMENT_KEPT)
        return released + self.reasons[Reason.ENCAPSULATED_DOCUMENT.value]

    @property
    def series(self) -> Iterator[Row]:
        """One row per released series."""
        for _, row in sorted(self._series.items()):
            yield row

    @property
    def studies(self) -> Iterator[Row]:
        """One row per study with anything released."""
        for _, row in sorted(self._studies.items()):
            yield row | {"ModalitiesInStudy": "\\".join(sorted(row["ModalitiesInStudy"])), "series": len(row["series"])}

    def _release(self, source: Row, outcome: Outcome, path: Path) -> Row:
        row = dict(outcome.row) | {"path": path.relative_to(self.staging).as_posix()}
        self.files.add(path)
        self.bytes += outcome.size
        for tag, keyword, action, count in outcome.actions:
            self._actions[(tag, keyword, action)] += count
        self.outcomes.append(
            _outcome(source, RELEASED, outcome.input_sha256)
            | {"deidentified_sop_instance_uid": row["SOPInstanceUID"], "sha256": outcome.sha256}
        )
        self._add_up(row)
        return row

    def _set_aside(self, source: Row, reason: Reason, detail: str, input_sha256: str | None) -> None:
        self.reasons[reason.value] += 1
        self.outcomes.append(_outcome(source, QUARANTINED, input_sha256) | {"reason": reason.value, "detail": detail})
        self.quarantine.append(
            {
                "source_hash": self.keys.hash(source["SOPInstanceUID"]),
                "reason": reason.value,
                "detail": detail,
                "SOPClassUID": source["SOPClassUID"],
                "size": source["size"],
            }
        )

    def _add_up(self, row: Row) -> None:
        series = self._series.setdefault(
            row["SeriesInstanceUID"],
            {
                name: row[name]
                for name in (
                    "SeriesInstanceUID",
                    "StudyInstanceUID",
                    "PatientID",
                    "Modality",
                    "SeriesNumber",
                    "BodyPartExamined",
                    "SOPClassUID",
                )
            }
            | {"instances": 0, "size": 0},
        )
        study = self._studies.setdefault(
            row["StudyInstanceUID"],
            {name: row[name] for name in ("StudyInstanceUID", "PatientID", "StudyDate")}
            | {"ModalitiesInStudy": set(), "series": set(), "instances": 0, "size": 0},
        )
        study["ModalitiesInStudy"].add(row["Modality"] or "")
        study["series"].add(row["SeriesInstanceUID"])
        for total in (series, study):
            total["instances"] += 1
            total["size"] += row["size"]


def _outcome(source: Row, outcome: str, input_sha256: str | None) -> Row:
    return {
        "source_sop_instance_uid": source["SOPInstanceUID"],
        "source_series_instance_uid": source["SeriesInstanceUID"],
        "source_study_instance_uid": source["StudyInstanceUID"],
        "deidentified_sop_instance_uid": None,
        "outcome": outcome,
        "reason": "",
        "detail": "",
        "input_sha256": input_sha256 or "",
        "sha256": "",
    }
