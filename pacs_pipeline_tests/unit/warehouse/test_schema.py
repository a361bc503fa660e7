"""The schema: documented to the last column, migrated in order, never used by older code."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from pacs_pipeline import warehouse
from pacs_pipeline.errors import Permanent
from pacs_pipeline.warehouse.database import Migration, migrate, migrations
from pacs_pipeline_tests.unit.warehouse.staged import Staged


def test_every_table_view_and_column_is_explained(database: Path) -> None:
    warehouse.prepare(database)
    for source in ("duckdb_tables()", "duckdb_views()", "duckdb_columns()"):
        silent = warehouse.query(database, f"SELECT * FROM {source} WHERE comment IS NULL AND NOT internal").rows
        assert silent == []


def test_migrations_are_numbered_without_gaps() -> None:
    assert [step.version for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_preparing_twice_is_harmless(database: Path) -> None:
    warehouse.prepare(database)
    warehouse.prepare(database)
    applied = warehouse.query(database, "SELECT version FROM schema_version ORDER BY version").rows
    assert applied == [(step.version,) for step in migrations()]


def test_an_older_database_is_brought_forward_and_keeps_its_rows() -> None:
    connection = duckdb.connect()
    first = Migration(1, "one", "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)")
    second = Migration(2, "two", "ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 5")
    assert migrate(connection, (first,)) == 1
    assert migrate(connection, (first, second)) == 2
    assert connection.execute("SELECT a, b FROM t").fetchall() == [(1, 5)]


def test_rows_of_before_the_proof_stay_and_are_replaced(database: Path, staged: Staged) -> None:
    database.parent.mkdir()
    with duckdb.connect(str(database)) as connection:
        migrate(connection, migrations()[:2])
        connection.execute(
            "INSERT INTO instance (partition_id, site, SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, PatientID, "
            "SOPClassUID, bytes, sha256, uri) VALUES ('p0', 'north', '1', '1', '1', 'P', '1', 1, 's', 'u')"
        )
    staged.load(database)
    kept = warehouse.query(database, "SELECT actions, residue_scan FROM instance WHERE partition_id = 'p0'").rows
    assert kept == [(None, None)]
    loaded = warehouse.query(
        database,
        "SELECT DISTINCT (actions->>'X')::INT, regions_redacted, residue_scan, identifiers_sought "
        "FROM instance WHERE partition_id = 'p1'",
    ).rows
    assert loaded == [(3, 0, "clean", 21)]


def test_a_migration_that_fails_leaves_nothing_of_itself() -> None:
    connection = duckdb.connect()
    broken = Migration(1, "broken", "CREATE TABLE t (a INTEGER); SELECT nonsense")
    with pytest.raises(duckdb.BinderException):
        migrate(connection, (broken,))
    assert migrate(connection, (Migration(1, "mended", "CREATE TABLE t (a INTEGER)"),)) == 1


def test_a_database_of_the_future_is_refused(database: Path, staged: Staged) -> None:
    warehouse.prepare(database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (9999, 'future', now())")
    with pytest.raises(Permanent, match=r"schema version 9999.*upgrade"):
        staged.load(database)


def test_a_run_killed_while_it_creates_the_database_is_no_obstacle(database: Path, staged: Staged) -> None:
    code = (
        "import os, sys, signal, threading, time\n"
        "from pathlib import Path\n"
        "from pacs_pipeline import warehouse\n"
        "delay = float(sys.argv[2])\n"
        "threading.Thread(target=lambda: (time.sleep(delay), os.kill(os.getpid(), signal.SIGKILL))).start()\n"
        "warehouse.prepare(Path(sys.argv[1]))\n"
        "time.sleep(60)\n"
    )
    for delay in (0.0, 0.005, 0.02, 0.05):
        subprocess.run([sys.executable, "-c", code, str(database), str(delay)], check=False)
        if database.exists():
            assert warehouse.totals(database)["instance"] == 0
            database.unlink()
    assert staged.load(database).instances == 6


@pytest.mark.parametrize("content", [b"no database", b"\0" * 5000, b""])
def test_a_file_that_is_no_database_is_permanent(database: Path, content: bytes) -> None:
    database.parent.mkdir()
    database.write_bytes(content)
    with pytest.raises(Permanent, match=r"cannot be used.*move it away"):
        warehouse.prepare(database)
    assert database.read_bytes() == content


def test_a_place_that_cannot_be_written_is_permanent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Permanent, match=r"warehouse\.path"):
        warehouse.prepare(tmp_path / "file/w.duckdb")


def test_patients_are_linked_over_sites_and_dates(database: Path, another: Callable[..., Staged]) -> None:
    another("p1").fill(patient="P1", day=1).load(database)
    another("p2", site="south").fill(patient="P1", day=11).load(database)
    another("p3", site="south").fill(patient="P2", day=1).load(database)
    found = warehouse.query(database, "SELECT * FROM patient ORDER BY PatientID")
    row = dict(zip(found.columns, found.rows[0], strict=True))
    assert row == {
        "PatientID": "P1",
        "first_study_date": dt.date(2019, 3, 1),
        "last_study_date": dt.date(2019, 3, 11),
        "follow_up_days": 10,
        "studies": 2,
        "series": 4,
        "instances": 12,
        "modalities": ["CT", "SEG"],
        "sites": ["north", "south"],
    }
    assert len(found.rows) == 2


def test_a_study_in_two_partitions_counts_once(database: Path, another: Callable[..., Staged]) -> None:
    another("p1").load(database)
    another("p2", site="south").load(database)
    assert warehouse.query(database, "SELECT studies, instances, sites FROM patient").rows == [
        (1, 6, ["north", "south"])
    ]
