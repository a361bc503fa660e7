"""Asks the warehouse: one read-only statement at a time, and the few questions the pipeline itself has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from pacs_pipeline.errors import Permanent
from pacs_pipeline.warehouse.database import READER_WAIT_SECONDS, duckdb_errors, reading, sql, sql_files

ROW_LIMIT = 10_000
_ALLOWED = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}  # DESCRIBE, SHOW and SUMMARIZE are SELECTs


class Answer(NamedTuple):
    """The result of a query; ``truncated`` when there were more rows than asked for."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A query worth starting from."""

    name: str
    title: str
    sql: str


def query(path: Path, statement: str, *, limit: int = ROW_LIMIT, wait_seconds: float = READER_WAIT_SECONDS) -> Answer:
    """Run one SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN and fetch up to ``limit`` rows.

    Files, the network, other databases and settings are out of reach. Raises Permanent for anything else, for
    several statements, for an error in the SQL and when nothing is published yet; Busy while a load runs.
    """
    with reading(path, wait_seconds=wait_seconds) as connection:
        try:
            statements = connection.extract_statements(statement)
            if len(statements) != 1 or statements[0].type not in _ALLOWED:
                raise Permanent(
                    "this is not one read-only statement",
                    fix="write a single SELECT, WITH, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN",
                )
            answer = connection.execute(statements[0])
            columns = tuple(column[0] for column in answer.description or ())
            rows = answer.fetchmany(limit + 1)
        except duckdb.Error as error:
            raise Permanent(f"the query failed: {error}", fix="SHOW TABLES and DESCRIBE tell what there is") from error
    return Answer(columns, rows[:limit], truncated=len(rows) > limit)


def totals(path: Path, *, wait_seconds: float = READER_WAIT_SECONDS) -> dict[str, int]:
    """The rows of each table and view; raises as :func:`query`."""
    with reading(path, wait_seconds=wait_seconds) as connection, duckdb_errors(path):
        return dict(connection.execute(sql("totals")).fetchall())


def published_instances(path: Path, partition_id: str, *, wait_seconds: float = READER_WAIT_SECONDS) -> dict[str, str]:
    """SOPInstanceUID and SHA-256 of every row of a partition; empty when there is no database yet."""
    if not path.exists():
        return {}
    with reading(path, wait_seconds=wait_seconds) as connection, duckdb_errors(path):
        rows = connection.execute(sql("published_instances"), {"partition_id": partition_id}).fetchall()
    return dict(rows)


def example_queries() -> tuple[Example, ...]:
    """Queries to start from; the first comment line of each file is its title."""
    return tuple(
        Example(name, text.partition("\n")[0].removeprefix("--").strip(), text.partition("\n")[2].strip())
        for name, text in sql_files("examples").items()
    )
