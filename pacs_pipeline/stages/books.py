"""The books over a range of days: which day is accounted for, which is not and why, which nobody asked about."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from pacs_pipeline import storage
from pacs_pipeline.records import Books, Partition, Stage, VerdictStatus
from pacs_pipeline.settings import SiteSettings
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.staleness import reconcile_inputs


class DayStatus(StrEnum):
    """What the books of a day come to. The value is what people see."""

    CLOSED = "closed"
    EMPTY = "empty"  # the PACS was asked and has nothing
    OPEN = "not closed"
    WITHHELD = "withheld"  # not closed since the verdict keeps it back
    NOT_ASKED = "not asked"  # a gap: nobody asked the PACS


@dataclass(frozen=True, slots=True)
class Day:
    """The books of one study date of one site; ``books.problems`` says what is wrong."""

    books: Books
    status: DayStatus

    @property
    def partition(self) -> Partition:
        """The site and the study date."""
        return self.books.partition

    @property
    def accounted_for(self) -> bool:
        """Whether the PACS was asked about the day and its books close."""
        return self.status in (DayStatus.CLOSED, DayStatus.EMPTY)


def book_days(
    project: Project,
    *,
    now: dt.datetime,
    sites: Collection[str] | None = None,
    first: dt.date | None = None,
    last: dt.date | None = None,
) -> Iterator[Day]:
    """Every day of ``sites`` (default: all) from ``first`` to ``last`` (default: all there is), by site and date.

    A day is due from the site's start date on and once it is over at the site at ``now`` (aware); a due day
    without any record is a gap. Days that are not due appear only when something is stored of them. Raises
    SettingsError for a site there is not.
    """
    chosen = [project.settings.site(name) for name in sites] if sites is not None else project.settings.sites
    for site in sorted(chosen, key=lambda each: each.name):
        yield from _of_site(project, site, now, first or dt.date.min, last or dt.date.max)


def _of_site(project: Project, site: SiteSettings, now: dt.datetime, first: dt.date, last: dt.date) -> Iterator[Day]:
    yesterday = now.astimezone(site.zone).date() - dt.timedelta(days=1)
    end = min(last, yesterday)
    due = max(first, site.start_date)
    for day in _stored(project, site.name, first, last):
        while due < day.partition.study_date and due <= end:
            yield _gap(site.name, due)
            due += dt.timedelta(days=1)
        yield day
        due = max(due, day.partition.study_date + dt.timedelta(days=1))
    while due <= end:
        yield _gap(site.name, due)
        due += dt.timedelta(days=1)


def _stored(project: Project, site: str, first: dt.date, last: dt.date) -> Iterator[Day]:
    for records in storage.scan_records(project.zones.state.root, sites=(site,), first=first, last=last):
        if not isinstance(records, storage.Damaged):
            yield day_of(records)
            continue
        try:
            partition = Partition(site, dt.date.fromisoformat(records.study_date))
        except ValueError:
            raise records.error from None  # a folder that no day owns
        yield Day(Books(partition, 0, 0, 0, 0, 0, (records.error.message,)), DayStatus.OPEN)


def _gap(site: str, date: dt.date) -> Day:
    return Day(
        Books(Partition(site, date), 0, 0, 0, 0, 0, ("nobody asked the PACS: run the census",)), DayStatus.NOT_ASKED
    )


def day_of(records: storage.Records) -> Day:
    """What the records of a partition come to. Pure.

    Stored books count only as long as what they were made up from is what is stored now.
    """
    census, harvest = records.commits.get(Stage.CENSUS), records.commits.get(Stage.HARVEST)
    books = records.books
    if census is None:
        if books is None:
            return _gap(records.partition.site, records.partition.study_date)
        return Day(_with_problem(books, "there is no census record: run the census"), DayStatus.OPEN)
    announced = census.counts.get("instances", 0)
    if harvest is None and books is None and not announced and not census.counts.get("series", 0):
        return Day(Books(records.partition, 0, 0, 0, 0, 0), DayStatus.EMPTY)
    outdated = _outdated(records)
    if books is None:
        why = "withheld by its verdict" if _withheld(records) else outdated or "the books are not made up yet"
        books = Books(records.partition, announced, 0, 0, 0, 0, (why,))
    elif outdated:
        books = _with_problem(books, outdated)
    if books.closed:
        return Day(books, DayStatus.CLOSED if books.expected else DayStatus.EMPTY)
    return Day(books, DayStatus.WITHHELD if _withheld(records) else DayStatus.OPEN)


def _with_problem(books: Books, problem: str) -> Books:
    return replace(books, problems=(*books.problems, problem))


def _outdated(records: storage.Records) -> str:
    """What has changed since the books were made up, empty when nothing has."""
    commits, judgement = records.commits, records.judgement
    census, harvest, deidentified = (commits.get(stage) for stage in (Stage.CENSUS, Stage.HARVEST, Stage.DEIDENTIFY))
    if harvest is None:
        return "not worked on yet"
    if census is not None and harvest.inputs.get("census") != census.digest:
        return "the PACS has new or changed series since: run the partition again"
    if deidentified is None:
        return "not de-identified yet"
    if deidentified.inputs.get("harvest") != harvest.digest:
        return "other instances have landed since: run the partition again"
    made = commits.get(Stage.RECONCILE)
    if made is None or judgement is None:
        return ""  # a run cut off between books and commit; the books themselves are from these records
    published = commits.get(Stage.PUBLISH) if judgement.status is VerdictStatus.PASSED else None
    if made.inputs != reconcile_inputs(deidentified, published, judgement):
        return "the books are older than what is published: make them up again"
    return ""


def _withheld(records: storage.Records) -> bool:
    """Whether the verdict on exactly the present data keeps it back."""
    judgement, deidentified = records.judgement, records.commits.get(Stage.DEIDENTIFY)
    harvest, census = records.commits.get(Stage.HARVEST), records.commits.get(Stage.CENSUS)
    return (
        judgement is not None
        and deidentified is not None
        and harvest is not None
        and census is not None
        and harvest.inputs.get("census") == census.digest
        and deidentified.inputs.get("harvest") == harvest.digest
        and judgement.manifest_digest == deidentified.digest
        and judgement.status is not VerdictStatus.PASSED
    )
