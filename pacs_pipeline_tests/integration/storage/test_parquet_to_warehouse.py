"""The tables as storage writes them are the tables the warehouse loads, and manifests bind the two."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pacs_pipeline import storage, warehouse
from pacs_pipeline.errors import NotAllowed
from pacs_pipeline.records import ContractResult, Manifest, Partition, Stage, Verdict, VerdictStatus

DAY = Partition("north", dt.date(2024, 3, 31))
SCHEMAS = {"instances": storage.INSTANCES, "series": storage.SERIES, "studies": storage.STUDIES}


def full_row(schema: pa.Schema, **values: Any) -> dict[str, Any]:
    """A row with something in every column."""
    made = {pa.string(): "2.25.1", pa.int64(): 7, pa.date32(): dt.date(2019, 1, 2)}
    return {field.name: made[field.type] for field in schema} | values


def test_every_column_of_the_tables_arrives(tmp_path: Path) -> None:
    header = json.dumps({"KVP": 120})
    rows = {
        "instances": full_row(storage.INSTANCES, sha256="ab" * 32, header=header, actions='{"X":3}'),
        "series": full_row(storage.SERIES),
        "studies": full_row(storage.STUDIES, ModalitiesInStudy="CT\\SR"),
    }
    paths = {name: tmp_path / f"{name}.parquet" for name in rows}
    tables = {name: storage.write_table(paths[name], [rows[name]], schema) for name, schema in SCHEMAS.items()}
    published = tmp_path / "published.parquet"
    row = full_row(storage.PUBLISHED, sha256="ab" * 32, uri="s3://research/x")
    storage.write_table(published, [row], storage.PUBLISHED)
    manifest = Manifest(Stage.DEIDENTIFY, DAY, {"profile": "f" * 64}, tables)
    folder = tmp_path / DAY.folder
    storage.write_manifest(folder, manifest)
    storage.write_verdict(
        folder, Verdict(manifest.digest, "c", (ContractResult("instances", "1", VerdictStatus.PASSED, ()),))
    )
    stored, verdict = storage.read_manifest(folder, Stage.DEIDENTIFY), storage.read_verdict(folder)
    assert stored is not None
    assert verdict is not None
    database = tmp_path / "w.duckdb"
    now = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    warehouse.replace_partition(database, "p", "north", paths, published, stored, verdict, now)

    for table, name in (("instance", "instances"), ("series", "series"), ("study", "studies")):
        answer = warehouse.query(database, f"SELECT * FROM {table}")
        loaded = dict(zip(answer.columns, answer.rows[0], strict=True))
        expected = rows[name] | {"partition_id": "p", "site": "north", "bytes": rows[name]["size"]}
        if name == "instances":
            expected |= {"uri": "s3://research/x"}
        assert loaded == {column: value for column, value in expected.items() if column not in ("size", "path")}

    storage.write_table(paths["instances"], [rows["instances"] | {"PatientID": "other"}], storage.INSTANCES)
    with pytest.raises(NotAllowed, match="not the one that was judged"):
        warehouse.replace_partition(database, "p", "north", paths, published, stored, verdict, now)
