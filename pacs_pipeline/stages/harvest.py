"""Harvest: bring the instances that are missing into the landing zone, and account for every one that is expected."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacs_pipeline import storage
from pacs_pipeline.errors import Paused, Permanent, PipelineError, Transient
from pacs_pipeline.pacs import Access, Landing, Retriever
from pacs_pipeline.records import (
    InstanceRef,
    LandedInstance,
    Manifest,
    Partition,
    RetrievalFailure,
    RetrievalReport,
    SeriesRef,
    Stage,
)
from pacs_pipeline.stages.crew import Crew
from pacs_pipeline.stages.landing_zone import (
    DELETED,
    EXCLUDED,
    LANDED,
    UNAVAILABLE,
    UNEXPECTED,
    UNLISTED,
    LandingZone,
    row_of,
    series_of,
)
from pacs_pipeline.stages.project import Progress, Project, silent
from pacs_pipeline.stages.sources import Source
from pacs_pipeline.stages.tries import Tries

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often one run asks again for a series when the association broke."""

ANEW = "anew"
"""The folder, inside that of a series, of what is to be compared."""

OUT_OF_RESOURCES = 0xA700
"""C-STORE and C-MOVE status, PS3.4 B.2.3 and C.4.2.1.5."""

SET_ASIDE = "set_aside"
"""The count of unavailable instances that are not asked for again by themselves."""


def harvest(
    project: Project, partition: Partition, source: Source, progress: Progress = silent, *, again: bool = False
) -> Manifest:
    """Fetch what the archive lists and the landing zone does not have yet; of what is there, only what changed.

    An instance that the archive refuses is written down as unavailable with its status. A series that is lost in
    the middle does not keep the others from coming; Transient is raised at the end, so that the next run continues,
    until the series has failed in as many runs as the site's ``tries`` and is set aside as unavailable. What the
    archive does not list any more is kept or withdrawn, as the site says. Raises Paused when the site closes.

    A query does not tell that an instance has another content than before under the same UID. With ``again``
    everything is fetched once more and compared; what differs is a new version.
    """
    folder = project.zones.landing.partition(partition)
    with project.lock(partition):
        census = project.require(partition, Stage.CENSUS)
        previous = project.manifest(partition, Stage.HARVEST)
        project.verify_tables(census)
        zone = LandingZone.of(project, folder, previous)
        tries = Tries.read(folder, source.site.tries)
        series = list(storage.read_rows(folder / "census.parquet"))
        run = _Run(partition, source, zone, tries)
        run.list_instances(project, series, again=again)
        run.fetch(progress)
        run.settle()
        zone.make_durable()
        rows = sorted(run.rows(), key=lambda row: (row["SOPInstanceUID"], row["status"]))
        table = project.write_table(folder / "harvest.parquet", rows, storage.HARVEST)
        manifest = project.commit(
            Manifest(
                stage=Stage.HARVEST,
                partition=partition,
                inputs={"census": census.digest},
                tables={"harvest": table},
                counts=run.counts(rows),
            )
        )
        run.forget_withdrawn(rows)
    log.info("%s: fetched %d instances, %d were there", partition, len(run.taken), len(zone.have.keys() - run.taken))
    if manifest.counts[DELETED]:
        log.warning(
            "%s: %d instances that had been harvested are not listed by the archive any more",
            partition,
            manifest.counts[DELETED],
        )
    return manifest


def is_awaited(project: Project, partition: Partition) -> bool:
    """Whether the census announced something that no harvest has answered yet."""
    census, previous = (project.manifest(partition, stage) for stage in (Stage.CENSUS, Stage.HARVEST))
    if census is None or not census.counts["series"]:
        return False
    return previous is None or previous.inputs["census"] != census.digest


@dataclass
class _Series:
    """A series of the census on its way: its own row, what the archive lists, what has to come."""

    row: Mapping[str, Any]
    ref: SeriesRef
    into: Path
    listed: tuple[InstanceRef, ...] = ()
    missing: set[str] = field(default_factory=set)
    anew: set[str] = field(default_factory=set)  # there, to be fetched and compared
    aside: bool = False  # not asked for any more
    problem: PipelineError | None = None  # why it is not complete

    @property
    def wanted(self) -> int:
        """How many instances have to come."""
        return len(self.missing) + len(self.anew)

    @property
    def excluded(self) -> bool:
        """Whether a rule of the site excludes it."""
        return bool(self.row.get("excluded"))  # a census of an older version has no filters


@dataclass
class _Run:
    """One harvest of one partition."""

    partition: Partition
    source: Source
    zone: LandingZone
    tries: Tries
    series: list[_Series] = field(default_factory=list)
    failures: dict[str, RetrievalFailure] = field(default_factory=dict)
    unexpected: dict[str, InstanceRef] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)  # what has come in this run
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _crew: Crew[_Series] | None = None

    def list_instances(self, project: Project, census: Sequence[Mapping[str, Any]], *, again: bool) -> None:
        """Ask the archive for the instances of every series, and look which of them are missing."""
        if not census:
            return
        with self.source.archive() as archive:
            for row in census:
                into = self.zone.series_folder(project.keys.hash(row["SeriesInstanceUID"]))
                series = _Series(row, series_of(row), into, aside=self.tries.set_aside(row))
                self.series.append(series)
                try:
                    series.listed = archive.find_instances(series.ref)
                except Paused:
                    raise
                except (Transient, Permanent) as problem:
                    series.problem = problem
                    continue
                if not series.excluded:
                    series.missing, series.anew = self.zone.take_stock(into, series.listed, again=again)

    def fetch(self, progress: Progress) -> None:
        """Bring what is missing, as many series at a time as the site bears."""
        wanted = [s for s in self.series if (s.missing or s.anew) and not s.aside]
        total = sum(len(s.listed) for s in self.series if not s.excluded)
        done = total - sum(s.wanted for s in wanted)
        progress("instances landed", done, total)
        if not wanted:
            return
        self._crew = Crew(self.source, self._fetch)
        for series in self._crew.run(wanted):
            done += series.wanted
            progress("instances landed", done, total)

    def _fetch(self, retriever: Retriever, series: _Series) -> None:
        """Bring what is missing of a series, then what is to be compared."""
        self._bring(retriever, series, series.missing, series.into, self.zone.land)
        if series.problem is None and series.anew:
            apart = series.into / ANEW
            _clear(apart)  # of a run that was killed: nothing there was ever recorded
            self._bring(retriever, series, series.anew, apart, self.zone.compare)
            _clear(apart)

    def _bring(
        self,
        retriever: Retriever,
        series: _Series,
        wanted: Collection[str],
        into: Path,
        take: Callable[[Iterable[LandedInstance]], None],
    ) -> None:
        """Retrieve ``wanted`` of a series into a folder, and give what landed to ``take``."""
        access, left = self.source.access, set(wanted)
        for _ in range(ATTEMPTS):
            left -= self.taken
            if not left:
                break
            access.require_open()
            access.rest()
            landing = Landing(
                series.ref,
                left,
                into,
                gate=_Gate(access, lambda: self._crew is not None and self._crew.stopping),
                minimum_free_bytes=self.source.minimum_free_bytes,
            )
            try:
                report = retriever.retrieve(landing, series.listed)
            except Paused:
                raise
            except Transient as problem:
                series.problem = problem
                continue
            self._note(report, left, take)
            series.problem = next((Transient(f.message) for f in report.failures if _lost(f)), None)
            if landing.is_full:
                raise self._full(report)
            if series.problem is None:
                break  # the archive has answered for every instance
        if series.problem is None or left <= self.taken:
            series.problem = None
            access.succeeded()
        else:
            access.failed()  # once for the series: it may be this one that the archive cannot send

    def _note(
        self, report: RetrievalReport, asked: Collection[str], take: Callable[[Iterable[LandedInstance]], None]
    ) -> None:
        with self._lock:
            take(report.landed)
            self.taken.update(landed.SOPInstanceUID for landed in report.landed)
            self.failures.update({f.SOPInstanceUID: f for f in report.failures if f.SOPInstanceUID in asked})
            self.unexpected.update({ref.SOPInstanceUID: ref for ref in report.unexpected})

    def _full(self, report: RetrievalReport) -> Transient:
        why = next((f.message for f in report.failures if f.status == OUT_OF_RESOURCES and f.SOPInstanceUID), "")
        return Transient(
            f"{self.partition}: the harvest stopped because the landing zone takes no more ({why})",
            fix="make room on its disk; what arrived is kept, and the next run continues",
        )

    def settle(self) -> None:
        """Count the series that were lost or cannot be listed; raise while any of them may still come.

        When nothing at all came, the archive is to blame, not a series; so it is when it refuses every series.
        """
        open_ones = [s for s in self.series if s.problem and not s.aside]
        done = [s for s in self.series if not s.problem and not s.aside]
        lost = [s for s in open_ones if isinstance(s.problem, Transient)]
        tried = lost if lost and (self.taken or self._answers()) else []
        if done:
            tried = [*tried, *(s for s in open_ones if s not in lost)]
        self.tries.note([s.row for s in tried], [s.row for s in done])
        for series in tried:
            series.aside = self.tries.set_aside(series.row)
        problems = [s.problem for s in open_ones if s.problem and not s.aside]
        if not problems:
            return
        lasting = next((problem for problem in problems if isinstance(problem, Permanent)), None)
        message = f"{self.partition}: {len(problems)} of {len(self.series)} series did not arrive in full"
        if lasting is not None:
            raise Permanent(f"{message} ({lasting.message})", fix=lasting.fix)
        raise Transient(
            f"{message} ({problems[0].message})",
            fix="what arrived is kept; run the partition again when archive, network and disk are well",
        )

    def _answers(self) -> bool:
        try:
            with self.source.archive() as archive:
                archive.check()
        except Transient:
            return False
        return True

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per instance that the archive lists, that had landed, or that came without being asked for."""
        seen: set[str] = set()
        for series in self.series:
            for ref in series.listed:
                if ref.SOPInstanceUID in seen:  # listed twice by the archive: one instance, one row
                    continue
                seen.add(ref.SOPInstanceUID)
                landed = self.zone.have.get(ref.SOPInstanceUID)
                if series.excluded:
                    yield row_of(ref, EXCLUDED, series.row["excluded"])
                elif landed is not None:
                    yield self.zone.row(landed)
                else:
                    yield row_of(ref, UNAVAILABLE, self._why(series, ref))
        for uid, row in self.zone.not_listed(seen):
            seen.add(uid)
            if row["SeriesInstanceUID"] in self._unlisted:
                yield row  # nobody knows whether the archive still has it
            else:
                yield self._gone(row)
        for ref in self.unexpected.values():
            if ref.SOPInstanceUID not in seen:
                yield row_of(ref, UNEXPECTED, "sent without being asked for; not kept")

    @property
    def _unlisted(self) -> set[str]:
        """The series whose instances the archive could not list."""
        return {s.ref.SeriesInstanceUID for s in self.series if s.problem and not s.listed}

    def _gone(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row of an instance that had landed and that the archive does not list any more."""
        detail = "the archive does not list it any more"
        if self.source.site.when_deleted == "withdraw":
            return row | {"status": DELETED, "detail": f"{detail}; withdrawn", "path": "", "size": 0}
        return row | {"status": DELETED, "detail": f"{detail}; kept"}

    def forget_withdrawn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Delete the files of what was withdrawn; called when the harvest is committed."""
        for row in rows:
            before = self.zone.before.get(row["SOPInstanceUID"])
            if row["status"] == DELETED and not row["path"] and before is not None and before["path"]:
                (self.zone.folder / before["path"]).unlink(missing_ok=True)

    def _why(self, series: _Series, ref: InstanceRef) -> str:
        if series.aside:
            return f"set aside after {self.tries.most} runs that did not bring the series in full"
        failure = self.failures.get(ref.SOPInstanceUID)
        detail = failure.message if failure else "the archive listed it and did not send it"
        if failure and failure.status is not None:
            detail = f"{detail} (0x{failure.status:04X})"
        return detail

    def counts(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """The counts of the manifest."""
        status = Counter(row["status"] for row in rows)
        asides = {ref.SOPInstanceUID for series in self.series if series.aside for ref in series.listed}
        known = Counter(row["SeriesInstanceUID"] for row in rows if row["status"] == LANDED)
        unlisted = sum(
            max(0, (s.ref.NumberOfSeriesRelatedInstances or 0) - known[s.ref.SeriesInstanceUID])
            for s in self.series
            if s.aside and s.ref.SeriesInstanceUID in self._unlisted
        )
        excluded = status[EXCLUDED] + sum(  # nobody needs to know which the announced and excluded ones are
            max(0, (s.ref.NumberOfSeriesRelatedInstances or 0) - len(s.listed)) for s in self.series if s.excluded
        )
        return {
            "expected": status[LANDED] + status[UNAVAILABLE] + excluded + unlisted,
            **{name: status[name] for name in (LANDED, UNAVAILABLE, UNEXPECTED, DELETED)},
            EXCLUDED: excluded,
            SET_ASIDE: sum(row["status"] == UNAVAILABLE and row["SOPInstanceUID"] in asides for row in rows),
            UNLISTED: unlisted,
            "bytes": sum(row["size"] for row in rows),
        }


class _Gate:
    """Asked for every instance before it is taken: the site may have closed, or may bear only so many a second."""

    def __init__(self, access: Access, stopping: Callable[[], bool]) -> None:
        self._access = access
        self._stopping = stopping
        self._last: float | None = None

    def __call__(self, size: int) -> None:
        """Raises Paused when nothing more may come; ``size`` is that of the instance before, in bytes."""
        if self._stopping():
            raise Paused("the harvest ends")
        self._access.require_open()
        if self._last is not None:
            self._access.observe("store", time.monotonic() - self._last, size)
        self._access.throttle()
        self._last = time.monotonic()


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _lost(failure: RetrievalFailure) -> bool:
    """Whether the failure says nothing of the instance: the association was lost, or the archive is short of room."""
    return (not failure.SOPInstanceUID and failure.status is None) or failure.status == OUT_OF_RESOURCES
