"""Publishing rows: only behind a PASS on exactly these tables, all or nothing, the same again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pacs_pipeline import warehouse
from pacs_pipeline.errors import Busy, NotAllowed, Permanent
from pacs_pipeline.records import VerdictStatus
from pacs_pipeline_tests.unit.warehouse.staged import NOW, Staged, passed, with_status


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    return warehouse.query(database, sql).rows


def everything(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: sorted(rows(database, f"SELECT * FROM {table}"), key=repr)
        for table in ("instance", "series", "study", "partition")
    }


def test_a_partition_is_loaded_with_its_objects_and_header(database: Path, staged: Staged) -> None:
    counts = staged.load(database)
    assert counts == warehouse.LoadCounts(studies=1, series=2, instances=6, bytes=6015, replaced=0)
    first = staged.rows["instances"][0]
    found = rows(
        database,
        "SELECT sha256, uri, site, partition_id, bytes, header->>'KVP', header->'ImageType'->>0, \"Rows\" "
        f"FROM instance WHERE SOPInstanceUID = '{first['SOPInstanceUID']}'",
    )
    uri = f"s3://research/{first['SOPInstanceUID']}.dcm"
    assert found == [(first["sha256"], uri, "north", "p1", 1000, "120", "ORIGINAL", 512)]
    ((digest, contracts, profile, at),) = rows(
        database, "SELECT manifest_digest, contracts_fingerprint, profile_fingerprint, published_at FROM partition"
    )
    assert (digest, contracts, profile, at) == (staged.write().digest, "c" * 64, "f" * 64, NOW)


def test_the_original_study_date_is_nowhere_in_the_file(database: Path, staged: Staged) -> None:
    staged.load(database)
    content = database.read_bytes()
    for text in (b"2024-03-31", b"20240331", b"site=north"):
        assert text not in content
    for table in ("instance", "series", "study", "partition", "patient"):
        assert "2024, 3, 31" not in repr(rows(database, f"SELECT * EXCLUDE (x) FROM (SELECT 1 AS x, * FROM {table})"))


def test_loading_again_changes_nothing(database: Path, staged: Staged) -> None:
    staged.load(database)
    before = everything(database)
    assert staged.load(database).replaced == 6
    assert everything(database) == before


def test_a_new_version_replaces_exactly_its_partition(
    database: Path, staged: Staged, another: Callable[..., Staged]
) -> None:
    staged.load(database)
    other = another("p2", site="south")
    other.fill(patient="P2", day=2)
    other.load(database)
    south = rows(database, "SELECT * FROM instance WHERE site = 'south' ORDER BY ALL")
    staged.fill(instances=2, salt="new")
    assert staged.load(database) == warehouse.LoadCounts(1, 2, 2, 2001, replaced=6)
    assert rows(database, "SELECT * FROM instance WHERE site = 'south' ORDER BY ALL") == south
    assert warehouse.totals(database) == {"partition": 2, "patient": 2, "study": 2, "series": 4, "instance": 8}
    assert warehouse.published_instances(database, "p1") == {
        row["SOPInstanceUID"]: row["sha256"] for row in staged.rows["instances"]
    }


def test_a_partition_that_became_empty_is_emptied(database: Path, staged: Staged) -> None:
    staged.load(database)
    staged.fill(instances=0)
    assert staged.load(database) == warehouse.LoadCounts(0, 0, 0, 0, replaced=6)
    assert warehouse.totals(database)["instance"] == 0


def test_withdrawing_removes_a_partition_and_nothing_else(
    database: Path, staged: Staged, another: Callable[..., Staged]
) -> None:
    staged.load(database)
    another("p2").fill(patient="P2").load(database)
    assert warehouse.withdraw_partition(database, "p1").replaced == 6
    assert warehouse.withdraw_partition(database, "p1").replaced == 0
    assert warehouse.published_instances(database, "p1") == {}
    assert len(warehouse.published_instances(database, "p2")) == 6


# ----------------------------------------------------------------------------------------------- the gate


@pytest.mark.parametrize("status", [VerdictStatus.FAILED, VerdictStatus.COULD_NOT_RUN])
def test_only_a_pass_opens_the_gate(database: Path, staged: Staged, status: VerdictStatus) -> None:
    verdict = with_status(passed(staged.write()), status)
    with pytest.raises(NotAllowed, match=f"nothing was published, the verdict is {status.value}"):
        staged.load(database, verdict=verdict)
    assert not database.exists()


def test_a_verdict_without_results_is_no_pass(database: Path, staged: Staged) -> None:
    with pytest.raises(NotAllowed, match="could-not-run"):
        staged.load(database, verdict=replace(passed(staged.write()), results=()))


def test_a_verdict_on_another_manifest_is_refused(database: Path, staged: Staged) -> None:
    old = passed(staged.write())
    staged.fill(instances=2)
    with pytest.raises(NotAllowed, match="other data"):
        staged.load(database, verdict=old)


@pytest.mark.parametrize("table", ["instances", "series", "studies"])
@pytest.mark.parametrize("change", ["changed", "missing"])
def test_tables_other_than_the_judged_ones_are_refused(database: Path, staged: Staged, table: str, change: str) -> None:
    manifest = staged.write()
    paths = staged.paths()
    paths[table] = staged.folder / "other.parquet"
    if change == "changed":
        paths[table].write_bytes((staged.folder / f"{table}.parquet").read_bytes() + b"x")
    with pytest.raises(NotAllowed, match=f"table '{table}'"):
        staged.load(database, manifest=manifest, verdict=passed(manifest), tables=paths)


def spoil(staged: Staged, how: str) -> None:
    published, instances = staged.rows["published"], staged.rows["instances"]
    if how == "no object":
        del published[3]
    elif how == "another content":
        published[3]["sha256"] = "0" * 64
    elif how == "another size":
        published[3]["size"] += 1
    elif how == "two objects":
        published.append(published[3] | {"uri": "s3://research/second"})
    elif how == "one missing, one double":
        published[3] = published[4] | {"uri": "s3://research/second"}
    elif how == "instance twice":
        instances.append(dict(instances[3]))
    elif how == "series twice":
        staged.rows["series"] *= 2
    elif how == "study twice":
        staged.rows["studies"] *= 2


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no object", "1 instances have no verified object"),
        ("another content", "1 instances have no verified object"),
        ("another size", "1 instances have no verified object"),
        ("two objects", "1 instances have several objects"),
        ("one missing, one double", "1 instances have no verified object"),
        ("instance twice", "1 instances stand twice"),
        ("series twice", "2 series stand twice"),
        ("study twice", "1 studies stand twice"),
    ],
)
def test_what_does_not_fit_rolls_back_to_what_was_there(database: Path, staged: Staged, how: str, words: str) -> None:
    staged.load(database)
    before = everything(database)
    staged.fill(salt="new")
    spoil(staged, how)
    with pytest.raises(NotAllowed, match=words):
        staged.load(database)
    assert everything(database) == before


@pytest.mark.parametrize("how", ["null", "json"])
def test_rows_the_schema_refuses_roll_back_and_are_not_quoted(database: Path, staged: Staged, how: str) -> None:
    staged.load(database)
    before = everything(database)
    if how == "null":
        staged.rows["studies"][0]["PatientID"] = None
    else:
        staged.rows["instances"][0]["header"] = "{Mueller^Hans"
    with pytest.raises(Permanent, match="nothing was changed") as caught:
        staged.load(database)
    assert "Mueller" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert everything(database) == before


# ------------------------------------------------------------------------------------- several, and killed

KEEP_OPEN = """
import sys, time
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reader")
print("open", flush=True)
time.sleep(float(sys.argv[3]))
"""


def keep_open(database: Path, how: str, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KEEP_OPEN, str(database), how, str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    process.stdout.close()
    return process


@pytest.mark.parametrize("how", ["reader", "writer"])
def test_a_database_that_is_open_elsewhere_is_waited_for_then_busy(database: Path, staged: Staged, how: str) -> None:
    staged.load(database)
    other = keep_open(database, how, 60)
    try:
        with pytest.raises(Busy, match=r"open in another process.*run again"):
            staged.load(database, wait_seconds=0.2)
        if how == "writer":
            with pytest.raises(Busy, match="open in another process"):
                warehouse.query(database, "SELECT 1", wait_seconds=0.2)
        else:
            assert warehouse.query(database, "SELECT 1").rows == [(1,)]
    finally:
        other.kill()
        other.wait()
    other = keep_open(database, how, 0.5)
    assert staged.load(database, wait_seconds=30).replaced == 6
    other.wait()


def test_a_session_in_the_same_process_is_busy_too(database: Path, staged: Staged) -> None:
    staged.load(database)
    with duckdb.connect(str(database), read_only=True), pytest.raises(Busy):
        staged.load(database, wait_seconds=0.1)


RELOAD_FOREVER = """
import sys
from pathlib import Path
from pacs_pipeline_tests.unit.warehouse.staged import Staged
first, second = Staged(Path(sys.argv[2]) / "a"), Staged(Path(sys.argv[2]) / "b")
first.fill(instances=1500, salt="a")
second.fill(instances=1000, salt="b")
while True:
    for staged in (first, second):
        staged.load(Path(sys.argv[1]))
        print("loaded", flush=True)
"""


def test_a_load_that_is_killed_leaves_the_old_or_the_new_partition(
    database: Path, tmp_path: Path, another: Callable[..., Staged]
) -> None:
    another("other").fill(patient="P2").load(database)
    for delay in (0.0, 0.03, 0.08):
        command = [sys.executable, "-c", RELOAD_FOREVER, str(database), str(tmp_path)]
        loader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert loader.stdout is not None
        for _ in range(2):
            assert loader.stdout.readline() == "loaded\n"
        time.sleep(delay)
        loader.send_signal(signal.SIGKILL)
        loader.wait()
        loader.stdout.close()
        published = warehouse.published_instances(database, "p1")
        assert len(published) in (1000, 1500)
        ((stated,),) = rows(database, "SELECT instances FROM partition WHERE partition_id = 'p1'")
        ((described,),) = rows(database, "SELECT sum(instances) FROM study WHERE partition_id = 'p1'")
        assert stated == described == len(published)
        assert len(warehouse.published_instances(database, "other")) == 6
