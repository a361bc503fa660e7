"""What a terminal shows: tables, progress bars, messages. Everything passes through here, nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pacs_pipeline.errors import PipelineError
from pacs_pipeline.records import Books, Partition

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)

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


def books_table(books: Iterable[Books], verdicts: dict[Partition, str] | None = None) -> Table:
    """The books of partitions, one row each, with totals."""
    found = list(books)
    names = ("expected", "published", "excluded", "quarantined", "unavailable")
    table = _table("partition", *([] if verdicts is None else ["verdict"]))
    table.show_footer = len(found) > 1
    table.columns[0].footer = "total"
    table.columns[0].no_wrap = True
    for name in names:
        total = sum(getattr(b, name) for b in found)
        table.add_column(_HYPHENATED.get(name, name), justify="right", footer=f"{total:,}")
    table.add_column("books", footer="")
    for b in found:
        closed = "[green]closed[/]" if b.closed else f"[red]open[/] {escape('; '.join(b.problems))}"
        verdict = [] if verdicts is None else [verdicts.get(b.partition, "")]
        table.add_row(str(b.partition), *verdict, *(f"{getattr(b, name):,}" for name in names), closed)
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
