"""Tables: what goes in comes out, the same rows give the same bytes, and nothing is guessed."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacs_pipeline import storage
from pacs_pipeline.errors import Permanent

ALL = [
    storage.CENSUS,
    storage.HARVEST,
    storage.INSTANCES,
    storage.SERIES,
    storage.STUDIES,
    storage.ACTIONS,
    storage.OUTCOMES,
    storage.QUARANTINE,
    storage.PUBLISHED,
]
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(max_size=6),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.date32(): st.dates(),
}


def rows_of(schema: pa.Schema) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries({f.name: st.none() | VALUES[f.type] for f in schema})
    return st.lists(row, max_size=4)


tables = st.sampled_from(ALL).flatmap(lambda schema: st.tuples(st.just(schema), rows_of(schema)))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables, st.integers(1, 5))
def test_tables_round_trip_and_are_deterministic(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[pa.Schema, list[dict[str, Any]]], batch: int
) -> None:
    schema, rows = table
    folder = tmp_path_factory.mktemp("t")
    first = storage.write_table(folder / "a.parquet", iter(rows), schema, batch)
    second = storage.write_table(folder / "b/a.parquet", rows, schema, batch)
    assert list(storage.read_rows(folder / "a.parquet")) == rows
    assert first == second
    assert (first.rows, first.path) == (len(rows), "a.parquet")
    assert first.sha256 == storage.file_sha256(folder / "a.parquet")


def test_columns_can_be_chosen_and_missing_values_are_null(tmp_path: Path) -> None:
    ref = storage.write_table(tmp_path / "x/s.parquet", [{"Modality": "CT"}], storage.SERIES, below=tmp_path)
    assert ref.path == "x/s.parquet"
    assert list(storage.read_rows(tmp_path / "x/s.parquet", ["Modality", "size"])) == [{"Modality": "CT", "size": None}]
    with pytest.raises(Permanent, match="no column Nonsense"):
        list(storage.read_rows(tmp_path / "x/s.parquet", ["Nonsense"]))


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"instances": "Mueller^Hans"}, "instances"),
        ({"Modality": 7.5}, "Modality"),
        ({"instances": 2**64}, "instances"),
        ({"NoSuchColumn": "Mueller^Hans"}, "NoSuchColumn"),
    ],
)
def test_wrong_values_are_refused_by_column_without_the_value(tmp_path: Path, row: dict[str, Any], column: str) -> None:
    with pytest.raises(Permanent, match=column) as caught:
        storage.write_table(tmp_path / "s.parquet", [row], storage.SERIES)
    assert "Mueller" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert list(tmp_path.iterdir()) == []


def test_a_generator_that_fails_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    storage.write_table(path, [{"Modality": "CT"}], storage.SERIES)

    def rows() -> Iterator[dict[str, Any]]:
        yield {"Modality": "MR"}
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        storage.write_table(path, rows(), storage.SERIES, batch=1)
    assert [row["Modality"] for row in storage.read_rows(path)] == ["CT"]
    assert [p.name for p in tmp_path.iterdir()] == ["s.parquet"]


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text"])
def test_a_table_that_is_not_whole_is_permanent(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.parquet"
    storage.write_table(path, [{"Modality": "CT"}] * 100, storage.SERIES)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "truncated": path.read_bytes()[:-9], "text": b"hello, world"}[damage])
    with pytest.raises(Permanent, match=r"cannot be read.*run the stage"):
        list(storage.read_rows(path))


def test_writing_and_reading_stream(tmp_path: Path) -> None:
    def rows(count: int) -> Iterator[dict[str, Any]]:
        for i in range(count):
            yield {"SOPInstanceUID": f"2.25.{i}", "header": "x" * 2000, "StudyDate": dt.date(2020, 1, 1)}

    tracemalloc.start()
    ref = storage.write_table(tmp_path / "i.parquet", rows(20_000), storage.INSTANCES)
    count = sum(1 for _ in storage.read_rows(tmp_path / "i.parquet"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == ref.rows == 20_000
    assert peak < 20e6, "40 MB of headers went through"
