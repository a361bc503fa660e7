from __future__ import annotations

import datetime as dt
import io

import pytest
from rich.console import Console
from rich.table import Table

from pacs_pipeline.cli import terminal
from pacs_pipeline.cli.commands import Period
from pacs_pipeline.records import Books, Partition
from pacs_pipeline.stages.books import Day, DayStatus

DAY = dt.date(2024, 3, 4)


def rendered(table: Table) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_books_can_be_read_in_a_terminal_of_80_columns() -> None:
    partitions = [Partition("north", DAY + dt.timedelta(days=n)) for n in range(3)]
    books = [
        Books(partition, expected=12_345, published=12_000, excluded=45, quarantined=290, unavailable=10)
        for partition in partitions
    ]
    text = rendered(terminal.books_table(books, dict.fromkeys(partitions, "passed")))
    for heading in ("partition", "verdict", "expected", "published", "excluded", "quaran-", "unavail-", "books"):
        assert heading in text
    assert "…" not in text
    assert "37,035" in text  # the total


def test_a_long_value_is_continued_and_not_cut() -> None:
    value = "0123456789" * 12
    text = rendered(terminal.rows_table(("PatientID", "a_column_with_a_long_name"), [(value, "x" * 40)]))
    assert "…" not in text
    assert "".join(part for part in text.split() if part.isdigit()) == value


def day(n: int, *, site: str = "north", problem: str = "", gap: bool = False) -> Day:
    partition = Partition(site, DAY + dt.timedelta(days=n))
    if gap:
        return Day(Books(partition, 0, 0, 0, 0, 0, ("nobody asked the PACS",)), DayStatus.NOT_ASKED)
    books = Books(partition, 10, 7, 1, 1, 1, (problem,) if problem else ())
    return Day(books, DayStatus.OPEN if problem else DayStatus.CLOSED)


def shown(days: list[Day], by: Period, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], bool]:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    monkeypatch.setattr(terminal, "console", console)
    books = terminal.BooksOfRange(by.value)
    for each in days:
        books.add(each)
    books.show()
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()], books.accounted_for


def test_a_long_range_has_a_line_for_each_month_of_a_site_and_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [day(n) for n in range(40)] + [day(n, site="south") for n in range(3)]
    lines, accounted_for = shown(days, Period.MONTH, monkeypatch)
    assert accounted_for
    assert "north 2024-03 280 196 28 28 28 28 days closed" in lines
    assert "north 2024-04 120 84 12 12 12 12 days closed" in lines
    assert "south 2024-03 30 21 3 3 3 3 days closed" in lines
    assert "total 430 301 43 43 43" in lines
    assert lines[-1] == "43 closed"


def test_weeks_are_iso_weeks(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, _ = shown([day(n) for n in range(8)], Period.WEEK, monkeypatch)
    assert [line.split()[1] for line in lines if line.startswith("north")] == ["2024-W10", "2024-W11"]


@pytest.mark.parametrize("by", list(Period))
def test_what_does_not_close_and_gaps_are_listed_in_words(by: Period, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [day(0), day(1, problem="a [row] is lost"), day(2, gap=True), day(3, gap=True), day(4)]
    days += [day(4, site="south", gap=True), day(6, site="south", problem="x"), day(7, site="south", problem="y")]
    lines, accounted_for = shown(days, by, monkeypatch)
    assert not accounted_for
    assert "2 closed, 3 not closed, 3 not asked" in lines
    assert lines[lines.index("2 closed, 3 not closed, 3 not asked") + 1 :] == [
        "not closed north 2024-03-05: a [row] is lost",
        "not asked north 2024-03-06 to 2024-03-07 (2 days): nobody asked the PACS",
        "not asked south 2024-03-08: nobody asked the PACS",
        "not closed south 2024-03-10: x",
        "not closed south 2024-03-11: y",
    ]


def test_one_gap_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not shown([day(0), day(1, gap=True)], Period.DAY, monkeypatch)[1]
    assert shown([], Period.DAY, monkeypatch)[1]


def test_the_heat_map_has_a_cell_for_each_day_in_the_column_of_its_date(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    monkeypatch.setattr(terminal, "console", console)
    terminal.heat_map([day(0), day(1, problem="x"), day(2, gap=True), day(30)])
    assert isinstance(console.file, io.StringIO)
    legend, march, april = console.file.getvalue().splitlines()
    assert all(status.value in legend for status in DayStatus)
    assert march[24:].startswith(" 2024-03    █X?")
    assert april[24:].startswith(" 2024-04   █ ")
