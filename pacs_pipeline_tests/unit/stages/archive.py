"""An archive in memory that does what archives do, and lands real instances."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from pacs_pipeline.errors import Permanent, Transient
from pacs_pipeline.pacs.landing import Landing
from pacs_pipeline.records import InstanceRef, RetrievalFailure, RetrievalReport, SeriesRef, StudyRef
from pacs_pipeline_tests.unit.pacs.samples import Sample

STUDY = "1.2.3.10"


@dataclass
class MemoryArchive:
    """Archive and retriever in one. ``content`` may be changed between harvests."""

    content: list[Sample] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)  # instances it answers for without sending them
    dies_at: set[str] = field(default_factory=set)  # instances at which the association is lost
    lists_nothing_of: set[str] = field(default_factory=set)  # series whose listing breaks off
    refuses_to_list: set[str] = field(default_factory=set)  # series whose listing cannot be used
    away: bool = False
    before_sending: Callable[[str], None] = lambda _uid: None
    sent: list[str] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    def __enter__(self) -> MemoryArchive:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.open -= 1

    def check(self) -> str:
        self._reached()
        return "here"

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        self._reached()
        series = sorted({self._counted(s.series) for s in self.content}, key=lambda ref: ref.SeriesInstanceUID)
        if not series:
            return ()
        return (StudyRef(STUDY, study_date, "", ("CT",), len(self.content), tuple(series)),)

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        self._reached()
        if series.SeriesInstanceUID in self.lists_nothing_of:
            raise Transient("the archive hung up")
        if series.SeriesInstanceUID in self.refuses_to_list:
            raise Permanent("the archive sent an answer without a UID", fix="ask its team")
        return tuple(
            replace(sample.ref, version=self.versions.get(sample.uid, ""))
            for sample in self.content
            if sample.series.SeriesInstanceUID == series.SeriesInstanceUID
        )

    def retrieve(self, landing: Landing, expected: Sequence[InstanceRef]) -> RetrievalReport:
        self._reached()
        assert {ref.SOPInstanceUID for ref in expected} >= landing.missing
        lost = False
        for sample in self.content:
            if sample.uid not in landing.missing or sample.uid in self.refuses:
                continue
            if sample.uid in self.dies_at:
                lost = True
                break
            self.before_sending(sample.uid)
            self.sent.append(sample.uid)
            landing.receive(sample.delivery(), sample.data)
        failures = [RetrievalFailure(landing.series.SeriesInstanceUID, "", None, "the association was lost")] * lost
        failures += [
            RetrievalFailure(landing.series.SeriesInstanceUID, uid, None if lost else 0xC000, "not sent")
            for uid in sorted(landing.open)
        ]
        return RetrievalReport(tuple(landing.landed.values()), (*failures, *landing.failures))

    def _counted(self, series: SeriesRef) -> SeriesRef:
        count = sum(s.series.SeriesInstanceUID == series.SeriesInstanceUID for s in self.content)
        return replace(series, NumberOfSeriesRelatedInstances=count)

    def _reached(self) -> None:
        if self.away:
            raise Transient("the archive is away")
