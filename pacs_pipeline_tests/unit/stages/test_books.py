"""Over a range no day is lost: it is closed, empty, withheld, open with its problem in words, or a gap."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pacs_pipeline import storage
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import Books, Partition, Stage, VerdictStatus
from pacs_pipeline.stages import heat_map
from pacs_pipeline.stages.books import Day, DayStatus, book_days
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.reconcile import reconcile, stored_books
from pacs_pipeline_tests.unit.stages import stored
from pacs_pipeline_tests.unit.stages.stored import DAY
from pacs_pipeline_tests.unit.stages.test_account import listed, outcome, row_of

NOON = dt.datetime(2024, 3, 8, 12, tzinfo=dt.UTC)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return stored.project(tmp_path, "north", "south")


def finished(project: Project, partition: Partition, status: VerdictStatus = VerdictStatus.PASSED) -> Books:
    landed = stored.harvest(project, stored.take_census(project, partition, instances=1), [listed("1.2.0", "landed")])
    made = stored.deidentify(project, landed, [outcome("1.2.0")])
    stored.judge(project, made, status)
    if status is VerdictStatus.PASSED:
        stored.publish(project, made)
        stored.in_warehouse(project, dict([row_of("1.2.0")]), partition)
    return reconcile(project, partition)


def on(day: int, site: str = "north", month: int = 3) -> Partition:
    return Partition(site, dt.date(2024, month, day))


def days(project: Project, now: dt.datetime = NOON, **more: object) -> list[Day]:
    return list(book_days(project, now=now, **more))  # type: ignore[arg-type]


def statuses(found: list[Day]) -> dict[str, DayStatus]:
    return {day.partition.key: day.status for day in found}


def test_each_day_of_a_range_is_what_it_is(project: Project) -> None:
    finished(project, on(2))
    stored.take_census(project, on(3))
    finished(project, on(4), VerdictStatus.FAILED)
    stored.take_census(project, on(5), instances=7)
    found = days(project, sites=["north"])
    assert statuses(found) == {
        "2024-03-01": DayStatus.NOT_ASKED,
        "2024-03-02": DayStatus.CLOSED,
        "2024-03-03": DayStatus.EMPTY,
        "2024-03-04": DayStatus.WITHHELD,
        "2024-03-05": DayStatus.OPEN,
        "2024-03-06": DayStatus.NOT_ASKED,
        "2024-03-07": DayStatus.NOT_ASKED,
    }
    assert [day.accounted_for for day in found] == [False, True, True, False, False, False, False]
    assert all(day.books.problems for day in found if not day.accounted_for)


def test_all_sites_are_shown_and_an_unknown_one_is_refused(project: Project) -> None:
    finished(project, on(2, "south"))
    assert [(day.partition.site, day.status) for day in days(project, first=DAY.study_date.replace(day=7))] == [
        ("north", DayStatus.NOT_ASKED),
        ("south", DayStatus.NOT_ASKED),
    ]
    with pytest.raises(SettingsError):
        days(project, sites=["west"])


def test_a_day_is_due_when_it_is_over_at_the_site(project: Project) -> None:
    before, after = (dt.datetime(2024, 3, 1, hour, 30, tzinfo=dt.UTC) for hour in (22, 23))  # midnight in Berlin
    assert days(project, before, sites=["north"]) == []
    assert statuses(days(project, after, sites=["north"])) == {"2024-03-01": DayStatus.NOT_ASKED}
    dst = dt.datetime(2024, 3, 31, 22, 30, tzinfo=dt.UTC)  # the clocks went forward: it is already April there
    assert days(project, dst, sites=["north"])[-1].partition == on(31)


def test_days_that_are_not_due_are_no_gaps_and_still_show_what_is_stored(project: Project) -> None:
    first, last = dt.date(2024, 2, 20), dt.date(2024, 6, 1)
    stored.take_census(project, on(25, month=2), instances=2)
    stored.take_census(project, on(9, month=4))
    found = statuses(days(project, sites=["north"], first=first, last=last))
    assert min(found) == "2024-02-25"
    assert max(found) == "2024-04-09"
    assert len(found) == 2 + 7
    assert days(project, sites=["north"], first=dt.date(2024, 5, 1), last=last) == []


def test_books_are_worth_nothing_once_the_pacs_has_more(project: Project) -> None:
    assert finished(project, DAY).closed
    stored.take_census(project, DAY, instances=2)
    (day,) = days(project, sites=["north"], first=DAY.study_date, last=DAY.study_date)
    assert day.status is DayStatus.OPEN
    assert "new or changed series" in day.books.problems[0]
    assert [books.closed for books in stored_books(project, "north", [DAY.study_date])] == [False]


def test_books_are_worth_nothing_once_other_data_is_there(project: Project) -> None:
    finished(project, DAY)
    census = project.require(DAY, Stage.CENSUS)
    landed = stored.harvest(project, census, [listed("1.2.0", "landed"), listed("1.2.1", "landed")])
    assert "other instances have landed" in _problem(project)
    made = stored.deidentify(project, landed, [outcome("1.2.0"), outcome("1.2.1")])
    assert "older than what is published" in _problem(project)
    stored.judge(project, made)
    stored.publish(project, made)
    assert "older than what is published" in _problem(project)


def _problem(project: Project) -> str:
    (day,) = days(project, sites=["north"], first=DAY.study_date, last=DAY.study_date)
    assert not day.accounted_for
    return "; ".join(day.books.problems)


def test_a_damaged_record_is_no_gap_and_hides_no_other_day(project: Project) -> None:
    finished(project, on(2))
    finished(project, on(3))
    (project.zones.state.partition(on(2)) / "harvest.json").write_text("{")
    first, second = days(project, sites=["north"], first=dt.date(2024, 3, 2), last=dt.date(2024, 3, 3))
    assert (first.status, second.status) == (DayStatus.OPEN, DayStatus.CLOSED)
    assert "is damaged" in first.books.problems[0]


def test_books_without_a_census_are_not_closed(project: Project) -> None:
    finished(project, DAY)
    storage.remove_manifest(project.zones.state.partition(DAY), Stage.CENSUS)
    assert "no census record" in _problem(project)


def test_a_range_without_anything_is_all_gaps(project: Project) -> None:
    assert {day.status for day in days(project)} == {DayStatus.NOT_ASKED}


def some_days() -> list[Day]:
    return [
        Day(Books(on(1), 10, 9, 0, 1, 0), DayStatus.CLOSED),
        Day(Books(on(2), 10, 9, 0, 1, 0), DayStatus.CLOSED),
        Day(Books(on(3), 0, 0, 0, 0, 0), DayStatus.EMPTY),
        Day(Books(on(4), 5, 0, 0, 0, 0, ("a <problem> & more",)), DayStatus.OPEN),
        Day(Books(on(1, "south"), 5, 0, 0, 0, 0), DayStatus.WITHHELD),
        Day(Books(on(2, "south"), 0, 0, 0, 0, 0), DayStatus.NOT_ASKED),
    ]


def test_the_heat_map_has_a_cell_for_each_day_with_its_counts() -> None:
    image = ElementTree.fromstring(heat_map.svg(some_days()))
    titles = [title.text or "" for title in image.iter("{http://www.w3.org/2000/svg}title")][1:]
    assert len(titles) == len(some_days())
    assert "north 2024-03-01: closed; 10 expected, 9 published, 1 quarantined" in titles
    assert "north 2024-03-04: not closed; 5 expected; a <problem> & more" in titles
    assert "south 2024-03-02: nobody asked the PACS" in titles


@pytest.mark.parametrize("tooltips", [True, False])
def test_the_heat_map_is_the_same_for_the_same_days_and_says_who_may_see_it(tooltips: bool) -> None:
    image = heat_map.svg(some_days(), tooltips=tooltips)
    assert image == heat_map.svg(iter(some_days()), tooltips=tooltips)
    assert "for staff" in image
    for status in DayStatus:
        assert image.count(f'fill="{heat_map.COLOURS[status]}"') == 2  # the legend, and one group of days
    assert heat_map.svg([]).startswith("<svg ")


def test_days_in_a_row_are_one_stroke_and_the_end_of_a_month_ends_it() -> None:
    month = [Day(Books(on(1), 1, 1, 0, 0, 0), DayStatus.CLOSED)] * 0 + [
        Day(Books(Partition("north", dt.date(2024, 1, 30) + dt.timedelta(days=n)), 1, 1, 0, 0, 0), DayStatus.CLOSED)
        for n in (0, 1, 2, 4)  # two in January, the first of February, and after a gap the third
    ]
    image = heat_map.svg(month, tooltips=False)
    assert image.count("M") - image.count("Mar") - image.count("May") == 3
