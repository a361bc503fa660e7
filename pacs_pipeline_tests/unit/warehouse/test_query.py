"""Questions are answered, everything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pacs_pipeline import warehouse
from pacs_pipeline.errors import Permanent
from pacs_pipeline_tests.unit.warehouse.staged import Staged


@pytest.fixture
def loaded(database: Path, staged: Staged, another: Callable[..., Staged]) -> Path:
    staged.load(database)
    another("p2", site="south").fill(patient="P1", day=9).load(database)
    return database


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM instance",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a;",
        "FROM study",
        "-- why\nVALUES (1)",
        "DESCRIBE instance",
        "SHOW TABLES",
        "SUMMARIZE study",
        "EXPLAIN SELECT 1",
    ],
)
def test_reading_statements_are_answered(loaded: Path, sql: str) -> None:
    assert warehouse.query(loaded, sql).rows


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM instance",
        "INSERT INTO study SELECT * FROM study",
        "UPDATE study SET site = 'x'",
        "DROP TABLE instance",
        "CREATE TABLE x AS SELECT 1",
        "CREATE TEMP TABLE x AS SELECT 1",
        "SELECT 1; DELETE FROM instance",
        "SELECT 1; SELECT 2",
        "",
        "-- nothing",
        "not sql",
        "COPY instance TO '{folder}/out.csv'",
        "EXPLAIN ANALYZE COPY instance TO '{folder}/out.csv'",
        "EXPLAIN ANALYZE DELETE FROM instance",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/out.duckdb'",
        "SELECT * FROM read_csv('{folder}/secret.csv')",
        "SELECT * FROM '{folder}/secret.csv'",
        "SELECT * FROM read_text('{folder}/secret.csv')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_parquet('http://127.0.0.1:1/x')",
        "PRAGMA enable_profiling",
        "SET enable_external_access = true",
        "SET VARIABLE x = 1",
        "RESET memory_limit",
        "CALL pragma_version()",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CHECKPOINT",
        "BEGIN",
        "USE memory",
        "PREPARE p AS SELECT 1",
        "VACUUM",
        "SELECT * FROM nowhere",
        "SELECT * FROM loaded",
    ],
)
def test_everything_else_is_refused_and_changes_nothing(loaded: Path, tmp_path: Path, sql: str) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    before = loaded.read_bytes()
    files = set(tmp_path.rglob("*"))
    with pytest.raises(Permanent, match=r"read-only statement|the query failed"):
        warehouse.query(loaded, sql.format(folder=tmp_path))
    assert loaded.read_bytes() == before
    assert set(tmp_path.rglob("*")) == files


def test_python_variables_are_out_of_reach(loaded: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": [1]})
    assert len(frame) == 1
    with pytest.raises(Permanent, match="frame"):
        warehouse.query(loaded, "SELECT * FROM frame")


def test_a_long_answer_is_cut_and_says_so(loaded: Path) -> None:
    answer = warehouse.query(loaded, "SELECT * FROM range(10)", limit=4)
    assert ([row[0] for row in answer.rows], answer.truncated) == ([0, 1, 2, 3], True)
    assert not warehouse.query(loaded, "SELECT * FROM range(4)", limit=4).truncated


def test_before_the_first_load_the_message_says_what_to_run(database: Path) -> None:
    for ask in (lambda: warehouse.query(database, "SELECT 1"), lambda: warehouse.totals(database)):
        with pytest.raises(Permanent, match=r"nothing is published yet.*pacs-pipeline run"):
            ask()
    assert warehouse.published_instances(database, "p1") == {}
    assert not database.exists()


def test_the_examples_have_titles_and_answers(loaded: Path) -> None:
    examples = warehouse.example_queries()
    assert [example.name for example in examples] == ["follow_up", "header_attributes", "instances_by_modality"]
    for example in examples:
        assert example.title
        assert warehouse.query(loaded, example.sql).rows, example.name
    intervals = warehouse.query(loaded, examples[0].sql)
    assert [row[intervals.columns.index("days_later")] for row in intervals.rows] == [None, 8]
