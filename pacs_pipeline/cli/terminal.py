"""What a terminal shows: tables, progress bars, messages. Everything passes through here, nothing is computed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pacs_pipeline.errors import PipelineError
from pacs_pipeline.records import Books, Partition

if TYPE_CHECKING:
    from pacs_pipeline.stages.books import Day

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)

NUMBERS = ("expected", "published", "excluded", "quarantined", "unavailable")
_HYPHENATED = {"quarantined": "quaran-\ntined", "unavailable": "unavail-\nable"}

ProgressOf = Callable[[Partition], Callable[[str, int, int], None]]


def complain(what: str, error: PipelineError) -> None:
    """One message for the person who must act."""
    stderr.print(f"[red]{escape(what)}:[/] {escape(error.message)}.", soft_wrap=True)
    if error.fix:
        stderr.print(f"  fix: {escape(error.fix)}", soft_wrap=True)


@contextmanager
def bars() -> Iterator[ProgressOf]:
    """Progress bars, one per thing that is counted in a partition."""
    columns = (TextColumn("{task.description:<48}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:

        def of(partition: Partition) -> Callable[[str, int, int], None]:
            tasks: dict[str, TaskID] = {}

            def update(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(f"{partition}  {what}", total=total)
                progress.update(tasks[what], completed=done, total=total)
                if done >= total:
                    progress.update(tasks[what], visible=False)

            return update

        yield of


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """One progress bar; call it with how many are done and, once known, how many there are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _table(*columns: str) -> Table:
    """A table that fits the headings of the books into 80 columns."""
    return Table(*columns, box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold underline")


def books_heading(*more: str) -> Table:
    """The headings of books, with ``more`` behind the first column."""
    table = _table("partition", *more)
    table.columns[0].footer = "total"
    table.columns[0].no_wrap = True
    for name in NUMBERS:
        table.add_column(_HYPHENATED.get(name, name), justify="right")
    table.add_column("books", footer="")
    return table


def books_table(books: Iterable[Books], verdicts: dict[Partition, str] | None = None) -> Table:
    """The books of partitions, one row each, with totals."""
    found = list(books)
    table = books_heading(*([] if verdicts is None else ["verdict"]))
    table.show_footer = len(found) > 1
    for column, name in zip(table.columns[1 if verdicts is None else 2 :], NUMBERS, strict=False):
        column.footer = f"{sum(getattr(b, name) for b in found):,}"
    for b in found:
        closed = "[green]closed[/]" if b.closed else f"[red]open[/] {escape('; '.join(b.problems))}"
        verdict = [] if verdicts is None else [verdicts.get(b.partition, "")]
        table.add_row(str(b.partition), *verdict, *(f"{getattr(b, name):,}" for name in NUMBERS), closed)
    return table


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """Any rows as text."""
    table = _table(*columns)
    table.title, table.title_justify = title, "left"
    for column in table.columns:
        column.overflow = "fold"  # what does not fit is continued below: half a value helps nobody
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    return table


_BLOCKS = {
    "closed": "green",
    "empty": "bright_black",
    "withheld": "yellow",
    "not closed": "red",
    "not asked": "magenta",
}
_MARKS = {"closed": "█", "empty": "·", "withheld": "▒", "not closed": "X", "not asked": "?"}  # without colours, too


def heat_map(days: Iterable[Day]) -> None:
    """The books of days as blocks: a row for each month of a site, a cell for each day."""
    console.print("  ".join(f"[{_BLOCKS[s]}]{mark}[/] {s}" for s, mark in _MARKS.items()))
    for (site, year, month), found in groupby(days, key=_month):
        cells = [" "] * 31
        for day in found:
            cells[day.partition.study_date.day - 1] = f"[{_BLOCKS[day.status]}]{_MARKS[day.status]}[/]"
        console.print(f"{escape(site):<24} {year}-{month:02d} {''.join(cells)}", soft_wrap=True)


def _month(day: Day) -> tuple[str, int, int]:
    return day.partition.site, day.partition.study_date.year, day.partition.study_date.month


def _goes_on(last: Day, day: Day) -> bool:
    """Whether ``day`` is the day after ``last`` with the same problem."""
    one = last.partition.site == day.partition.site and last.status == day.status
    return (
        one
        and last.books.problems == day.books.problems
        and _next(last.partition.study_date) == day.partition.study_date
    )


def _next(date: dt.date) -> dt.date:
    return date + dt.timedelta(days=1)


class BooksOfRange:
    """The books over a range of days: a line for each day, week or month of a site, totals, and what is not closed.

    Feed it days in order with :meth:`add`; it keeps a line for each period and the days that need a look.
    """

    def __init__(self, by: Literal["day", "week", "month"]) -> None:
        self._by = by
        self._table = books_heading()
        self._period: list[Day] = []
        self._totals = dict.fromkeys(NUMBERS, 0)
        self._tally: Counter[str] = Counter()
        self._to_look_at: list[tuple[Day, Day]] = []  # first and last of days in a row with the same problem

    @property
    def accounted_for(self) -> bool:
        """Whether the PACS was asked about every day and all books close."""
        return not self._to_look_at

    def add(self, day: Day) -> None:
        """Take the next day."""
        if self._period and self._key(day) != self._key(self._period[0]):
            self._close_period()
        self._period.append(day)
        self._tally[day.status] += 1
        for name in NUMBERS:
            self._totals[name] += getattr(day.books, name)
        if not day.accounted_for:
            first, last = self._to_look_at[-1] if self._to_look_at else (day, day)
            if _goes_on(last, day):
                self._to_look_at[-1] = (first, day)
            else:
                self._to_look_at.append((day, day))

    def show(self) -> None:
        """Print all of it."""
        self._close_period()
        self._table.show_footer = sum(self._tally.values()) > 1
        for column, name in zip(self._table.columns[1:], NUMBERS, strict=False):
            column.footer = f"{self._totals[name]:,}"
        console.print(self._table)
        console.print(
            ", ".join(f"{self._tally[name]:,} {name}" for name in _MARKS if self._tally[name]) or "no day is due"
        )
        for first, last in self._to_look_at:
            days = (last.partition.study_date - first.partition.study_date).days + 1
            until = f" to {last.partition.key} ({days} days)" if days > 1 else ""
            problems = "; ".join(first.books.problems) or "the sums differ"
            mark = f"[{_BLOCKS[first.status]}]{first.status.value}[/]"
            console.print(f"{mark} {first.partition}{until}: {escape(problems)}", soft_wrap=True)

    def _key(self, day: Day) -> tuple[str, str]:
        date = day.partition.study_date
        if self._by == "day":
            return day.partition.site, day.partition.key
        if self._by == "week":
            year, week, _ = date.isocalendar()
            return day.partition.site, f"{year}-W{week:02d}"
        return day.partition.site, f"{date.year}-{date.month:02d}"

    def _close_period(self) -> None:
        days, self._period = self._period, []
        if not days:
            return
        tally = Counter(day.status.value for day in days)
        if len(days) == 1 and self._by == "day":
            (day,) = days
            said = "[green]closed[/]" if day.accounted_for else f"[red]open[/] {escape('; '.join(day.books.problems))}"
            if day.status == "not asked":
                said = "[magenta]not asked[/]"
        else:
            wrong = [f"{tally[name]} {name}" for name in ("not closed", "withheld", "not asked") if tally[name]]
            said = f"[red]{len(days)} days, {', '.join(wrong)}[/]" if wrong else f"[green]{len(days)} days closed[/]"
        sums = (f"{sum(getattr(day.books, name) for day in days):,}" for name in NUMBERS)
        self._table.add_row(" ".join(self._key(days[0])), *sums, said)
