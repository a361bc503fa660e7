from __future__ import annotations

import datetime as dt
import io

from rich.console import Console
from rich.table import Table

from pacs_pipeline.cli import terminal
from pacs_pipeline.records import Books, Partition

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
