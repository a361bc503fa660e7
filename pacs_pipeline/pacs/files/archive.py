"""Files as an archive: what they are is asked of their index, their data sets are streamed into the landing zone."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from types import TracebackType
from typing import Self, TypeVar

from pacs_pipeline.errors import Paused, Quarantine, Transient
from pacs_pipeline.pacs.files.index import Damaged, FileRow, Index, StudyRow, Summary
from pacs_pipeline.pacs.files.source import Files
from pacs_pipeline.pacs.landing import OUT_OF_RESOURCES, Delivery, Landing
from pacs_pipeline.records import (
    InstanceRef,
    Reason,
    RetrievalFailure,
    RetrievalReport,
    SeriesRef,
    StudyRef,
    StudyTraits,
)

log = logging.getLogger(__name__)

T = TypeVar("T")


class FileArchive:
    """An archive made of files (see :class:`Archive` and :class:`Retriever`). One thread at a time.

    A study is of the earliest StudyDate of its files, so that it stands under one date whatever its files say. The
    files are listed once for all questions that are asked between ``__enter__`` and ``__exit__``.
    """

    def __init__(self, site: str, files: Files, index: Index) -> None:
        self._site = site
        self._files = files
        self._index = index
        self._listed: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._index.close()
        self._files.close()
        self._listed.clear()

    def check(self) -> str:
        """List everything; how much there is, and how much of it cannot be read or asked for by date."""
        summary = self._asked(self._index.summary, scope=b"")
        return f"{self._files.where}: {summary.instances} instances in {summary.studies} studies" + "".join(
            f", {part}" for part in _problems(summary)
        )

    def find_studies(self, study_date: dt.date) -> tuple[StudyRef, ...]:
        """Every study of a date with its series, in order of UID."""
        rows = self._asked(lambda: list(self._index.studies(study_date)), self._files.scope(study_date))
        return tuple(
            _study(study_date, list(group)) for _, group in groupby(rows, key=lambda row: row.StudyInstanceUID)
        )

    def find_instances(self, series: SeriesRef) -> tuple[InstanceRef, ...]:
        """Every instance of a series, each once, in order of UID."""
        rows = self._asked(lambda: list(self._rows(series)))
        return tuple(self._ref(list(group)) for _, group in groupby(rows, key=lambda row: row.SOPInstanceUID))

    def fingerprint(self, study_date: dt.date) -> str:
        """Changes with the files of the studies of a date; empty when there are none."""
        return self._asked(lambda: self._index.fingerprint(study_date), self._files.scope(study_date))

    def retrieve(self, landing: Landing, expected: Sequence[InstanceRef]) -> RetrievalReport:
        """Bring what is missing to ``landing``, each as the version that is ``expected``; see :class:`Retriever`."""
        series = landing.series.SeriesInstanceUID
        versions = {ref.SOPInstanceUID: ref.version for ref in expected}
        failed: dict[str, RetrievalFailure] = {}
        for uid in sorted(landing.missing):
            try:
                self._bring(uid, versions.get(uid, ""), landing)
            except Quarantine as problem:
                failed[uid] = RetrievalFailure(series, uid, None, str(problem))
            except Paused:
                raise
            except Transient as problem:
                if landing.open == landing.missing:
                    raise
                rest = landing.open - failed.keys()
                failed |= {each: RetrievalFailure(series, each, None, problem.message) for each in ("", *rest)}
                break
            if landing.is_full:
                rest = landing.open - failed.keys()
                failed |= {each: RetrievalFailure(series, each, OUT_OF_RESOURCES, "the disk is full") for each in rest}
                break
        for failure in landing.failures:
            failed.setdefault(failure.SOPInstanceUID, failure)
        return RetrievalReport(
            landed=tuple(landed for _, landed in sorted(landing.landed.items())),
            failures=tuple(failed[uid] for uid in sorted(failed)),
            duplicates=landing.duplicates,
        )

    def _bring(self, uid: str, version: str, landing: Landing) -> None:
        """Stream an instance into the landing; raises Quarantine when there is no file that can be taken for it."""
        copies = self._asked(lambda: list(self._index.copies(uid)))
        if not copies:
            raise Quarantine(Reason.WRONG_INSTANCE, "no file holds it any more")
        ours = (landing.series.StudyInstanceUID, landing.series.SeriesInstanceUID)
        if any((copy.StudyInstanceUID, copy.SeriesInstanceUID) != ours for copy in copies):
            raise Quarantine(Reason.CONFLICT, "files of several series have this SOPInstanceUID")
        if version and self._ref(copies).version != version:
            raise Quarantine(Reason.WRONG_INSTANCE, "the file is not the one that was listed")
        if len(copies) > 1 and not self._files.newest_wins and len({self._digest(copy) for copy in copies}) > 1:
            raise Quarantine(Reason.CONFLICT, "files of different content have this SOPInstanceUID")
        newest = copies[0]
        arrival = landing.begin(Delivery(newest.SOPClassUID, uid, newest.TransferSyntaxUID, solicited=True))
        try:
            for chunk in self._stream(newest):
                arrival.write(chunk)
                if arrival.problem:  # the disk is full: the rest need not be read
                    break
        except BaseException:
            arrival.abandon()
            raise
        arrival.finish()

    def _digest(self, copy: FileRow) -> tuple[str, str]:
        """What makes two files the same instance: their transfer syntax and their data set."""
        digest = hashlib.sha256()
        for chunk in self._stream(copy):
            digest.update(chunk)
        return copy.TransferSyntaxUID, digest.hexdigest()

    def _stream(self, copy: FileRow) -> Iterator[bytes]:
        """The data set of a file; raises Quarantine when it is not what was listed, and has it read again."""
        try:
            yield from self._files.stream(copy.entry, copy.start)
        except FileNotFoundError:
            self._look_again(copy)
            raise Quarantine(Reason.WRONG_INSTANCE, "the file is gone that was listed") from None
        except Quarantine:
            self._look_again(copy)
            raise

    def _look_again(self, copy: FileRow) -> None:
        with self._index.mended():
            self._index.look_again(copy)

    def _rows(self, series: SeriesRef) -> Iterator[FileRow]:
        return self._index.instances(series.StudyInstanceUID, series.SeriesInstanceUID)

    def _ref(self, copies: list[FileRow]) -> InstanceRef:
        newest = copies[0]
        counting = copies[:1] if self._files.newest_wins else copies
        versions = repr([(copy.entry.size, copy.entry.version) for copy in counting])
        return InstanceRef(
            newest.StudyInstanceUID,
            newest.SeriesInstanceUID,
            newest.SOPInstanceUID,
            newest.SOPClassUID,
            version=hashlib.sha256(versions.encode()).hexdigest()[:16],
        )

    def _asked(self, question: Callable[[], T], scope: bytes | None = None) -> T:
        """The answer of the index after what lies in ``scope`` was listed; a damaged index is made anew once.

        Without a scope what was listed before is enough, by this run or an earlier one.
        """
        try:
            return self._ask(question, scope)
        except Damaged:
            self._listed.clear()
            return self._ask(question, scope)

    def _ask(self, question: Callable[[], T], scope: bytes | None) -> T:
        with self._index.mended():
            if scope is None:
                if not self._listed and not self._index.is_complete:
                    self._refresh(b"")
            elif not self._listed & {b"", scope}:
                self._refresh(scope)
            return question()

    def _refresh(self, scope: bytes) -> None:
        self._index.refresh(scope)
        if not self._listed and (problems := tuple(_problems(self._index.summary()))):
            log.warning("%s: of %s, %s", self._site, self._files.where, ", ".join(problems))
        self._listed.add(scope)


def _study(study_date: dt.date, rows: list[StudyRow]) -> StudyRef:
    study = rows[0].StudyInstanceUID
    return StudyRef(
        StudyInstanceUID=study,
        StudyDate=study_date,
        StudyTime=min((row.StudyTime for row in rows if row.StudyTime), default=""),
        ModalitiesInStudy=tuple(sorted({row.Modality for row in rows} - {""})),
        NumberOfStudyRelatedInstances=sum(row.instances for row in rows),
        series=tuple(SeriesRef(study, row.SeriesInstanceUID, row.Modality, row.instances) for row in rows),
        traits=StudyTraits(
            StudyDescription=next((row.StudyDescription for row in rows if row.StudyDescription), None),
            InstitutionName=next((row.InstitutionName for row in rows if row.InstitutionName), None),
            age_years=min((row.age_years for row in rows if row.age_years is not None), default=None),
        ),
    )


def _problems(summary: Summary) -> Iterator[str]:
    """What of the files cannot be asked for, in counts."""
    if summary.unreadable:
        yield f"{summary.unreadable} files cannot be read as DICOM"
    if summary.foreign:
        yield f"{summary.foreign} files are no DICOM"
    if summary.undated_studies:
        yield f"{summary.undated_studies} studies ({summary.undated_instances} instances) have no usable StudyDate"
