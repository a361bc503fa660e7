"""Judging: three-valued, without values, in one process many times."""

from __future__ import annotations

import dataclasses
import logging
import threading
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.contracts import CheckSpec, ColumnSpec, Contract, Kind, Limit, validate
from pacs_pipeline.contracts import gx as engine
from pacs_pipeline.records import ContractResult, Severity, Verdict, VerdictStatus
from pacs_pipeline_tests.unit.contracts.population import Tables, write

SENTINEL = "SENTINEL^JANE^19610203"


def beds(*rules: CheckSpec) -> Contract:
    columns = (ColumnSpec("ward", "string", "string"), ColumnSpec("beds", "integer", "int64"))
    return Contract("beds", "1.0.0", columns, (CheckSpec("schema", Kind.SCHEMA), *rules))


def judge(contract: Contract, path: Path | None) -> ContractResult:
    (result,) = validate([contract], {} if path is None else {"beds": path}).results
    return result


@pytest.fixture
def table(tmp_path: Path) -> Path:
    content = pa.table({"ward": ["a", "b", SENTINEL, None], "beds": pa.array([1, 2, None, 1], pa.int64())})
    path = tmp_path / "beds.parquet"
    pq.write_table(content, path)
    return path


UNIQUE = CheckSpec("ward is unique", Kind.UNIQUE, ("ward",))
PRESENT = CheckSpec("ward is present", Kind.NOT_NULL, ("ward",))
RAISES = CheckSpec(
    "ward is a number",
    Kind.EXPECTATION,
    ("ward",),
    arguments={"type": "expect_column_values_to_be_between", "kwargs": {"column": "ward", "min_value": 3}},
)


def test_a_missing_table_could_not_run(tmp_path: Path) -> None:
    for path in (None, tmp_path / "nowhere.parquet", tmp_path):
        result = judge(beds(UNIQUE), path)
        assert result.status is VerdictStatus.COULD_NOT_RUN
        assert {rule.status for rule in result.rules} == {VerdictStatus.COULD_NOT_RUN}
        assert {rule.message for rule in result.rules} == {"the table is missing"}


@pytest.mark.parametrize("content", [b"", b"not parquet at all " + SENTINEL.encode()])
def test_a_damaged_table_could_not_run(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "beds.parquet"
    path.write_bytes(content)
    result = judge(beds(UNIQUE), path)
    assert result.status is VerdictStatus.COULD_NOT_RUN
    assert SENTINEL not in repr(result)


def test_a_table_cut_short_in_its_pages_could_not_run(table: Path) -> None:
    content = bytearray(table.read_bytes())
    content[4:60] = bytes(56)
    table.write_bytes(content)
    result = judge(beds(UNIQUE), table)
    assert result.status is VerdictStatus.COULD_NOT_RUN
    assert result.rules[1].message.startswith("the table cannot be read")


def test_a_missing_column_breaks_the_schema_and_its_rules_could_not_run(table: Path) -> None:
    pq.write_table(pq.read_table(table).drop_columns(["ward"]), table)
    result = judge(beds(UNIQUE, CheckSpec("beds is present", Kind.NOT_NULL, ("beds",))), table)
    schema, unique, present = result.rules
    assert (schema.status, schema.unexpected, schema.message) == (VerdictStatus.FAILED, 1, "ward is missing")
    assert (unique.status, unique.message) == (VerdictStatus.COULD_NOT_RUN, "ward is missing")
    assert (present.status, present.unexpected) == (VerdictStatus.FAILED, 1)
    assert result.status is VerdictStatus.FAILED


@pytest.mark.parametrize("kind", [pa.int32(), pa.float64(), pa.string()])
def test_a_column_of_another_type(table: Path, kind: pa.DataType) -> None:
    content = pq.read_table(table)
    pq.write_table(content.set_column(1, "beds", content.column("beds").cast(kind)), table)
    result = judge(beds(CheckSpec("beds is present", Kind.NOT_NULL, ("beds",))), table)
    assert result.status is VerdictStatus.FAILED
    assert result.rules[0].message == f"beds is {kind} instead of int64"
    assert result.rules[1].status is VerdictStatus.COULD_NOT_RUN


def test_an_unexpected_column_is_named_only_if_it_looks_like_a_name(table: Path) -> None:
    content = pq.read_table(table)
    pq.write_table(content.append_column("PatientName", content.column("ward")), table)
    assert judge(beds(), table).rules[0].message == "PatientName is not in the contract"
    pq.write_table(content.append_column(SENTINEL, content.column("ward")), table)
    result = judge(beds(), table)
    assert (result.status, result.rules[0].message) == (VerdictStatus.FAILED, "a column is not in the contract")


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "beds.parquet"
    content = pa.table([["a"], ["b"], pa.array([1], pa.int64())], names=["ward", "ward", "beds"])
    pq.write_table(content, path)
    result = judge(beds(UNIQUE), path)
    assert result.status is VerdictStatus.FAILED
    assert [rule.status.value for rule in result.rules] == ["failed", "could-not-run"]


def test_dictionary_encoded_strings_are_strings(tmp_path: Path) -> None:
    path = tmp_path / "beds.parquet"
    content = pa.table({"ward": pa.array(["a", "a"]).dictionary_encode(), "beds": pa.array([1, 2], pa.int64())})
    pq.write_table(content, path)
    result = judge(beds(UNIQUE), path)
    assert [(r.status.value, r.unexpected) for r in result.rules] == [("passed", 0), ("failed", 2)]


def test_a_rule_that_raises_could_not_run_and_the_others_do(
    table: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    result = judge(beds(UNIQUE, RAISES, PRESENT), table)
    schema, unique, raises, present = result.rules
    assert (schema.status, unique.status) == (VerdictStatus.PASSED, VerdictStatus.PASSED)
    assert (raises.status, raises.unexpected) == (VerdictStatus.COULD_NOT_RUN, 0)
    assert raises.message == "the rule raised TypeError"
    assert (present.status, present.unexpected) == (VerdictStatus.FAILED, 1)
    assert result.status is VerdictStatus.FAILED  # something is certainly wrong
    assert judge(beds(UNIQUE, RAISES), table).status is VerdictStatus.COULD_NOT_RUN
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert SENTINEL not in caplog.text + repr(result)


def test_a_warning_that_could_not_run_is_not_a_pass(table: Path) -> None:
    result = judge(beds(dataclasses.replace(RAISES, severity=Severity.WARNING)), table)
    assert result.status is VerdictStatus.COULD_NOT_RUN


def test_a_warning_does_not_withhold(table: Path) -> None:
    result = judge(beds(dataclasses.replace(PRESENT, severity=Severity.WARNING)), table)
    assert result.status is VerdictStatus.PASSED
    assert [rule.rule for rule in result.failing] == ["ward is present"]
    assert Verdict("d", "f", (result,)).status is VerdictStatus.PASSED


def test_an_engine_that_fails_altogether_could_not_run(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from great_expectations.exceptions import GreatExpectationsError

    def fail(*args: object) -> None:
        raise GreatExpectationsError(SENTINEL)

    monkeypatch.setattr(engine._Session, "run", fail)
    result = judge(beds(UNIQUE), table)
    assert (result.status, result.rules[1].message) == (VerdictStatus.COULD_NOT_RUN, "the engine gave no result")


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"success": None, "result": {"unexpected_count": 0}},
        {"success": True, "result": {}},
        {"success": True, "result": {"unexpected_count": 0}, "exception_info": {"id": {"raised_exception": True}}},
    ],
)
def test_nothing_but_a_clean_answer_is_an_answer(raw: dict[str, object] | None) -> None:
    assert engine._read(UNIQUE, raw, 4).status is VerdictStatus.COULD_NOT_RUN


def test_a_reference_to_a_table_that_is_not_there(
    contracts: tuple[Contract, ...], tables: Tables, tmp_path: Path
) -> None:
    paths = write(contracts, tables, tmp_path)
    paths["series"].unlink()
    results = {r.contract: r for r in validate(contracts, paths).results}
    assert results["series"].status is VerdictStatus.COULD_NOT_RUN
    (rule,) = results["instances"].failing
    assert (rule.status, rule.message) == (
        VerdictStatus.COULD_NOT_RUN,
        "the columns it refers to in series are missing",
    )


def test_a_reference_to_a_column_that_is_not_there(
    contracts: tuple[Contract, ...], tables: Tables, tmp_path: Path
) -> None:
    paths = write(contracts, tables, tmp_path)
    table = pq.read_table(paths["series"], partitioning=None)
    pq.write_table(table.drop_columns(["PatientID"]), paths["series"])
    results = {r.contract: r for r in validate(contracts, paths).results}
    assert results["instances"].status is VerdictStatus.COULD_NOT_RUN
    assert results["series"].status is VerdictStatus.FAILED


def test_missing_integers_do_not_become_floats(tmp_path: Path) -> None:
    path = tmp_path / "beds.parquet"
    large = 2**62 + 1  # a float would round it
    pq.write_table(pa.table({"ward": ["a", "b"], "beds": pa.array([large, None], pa.int64())}), path)
    exact = CheckSpec("beds is known", Kind.ALLOWED, ("beds",), arguments={"values": [large]})
    digits = CheckSpec(
        "beds is written in digits",
        Kind.EXPECTATION,
        ("beds",),
        arguments={"type": "expect_column_values_to_match_regex", "kwargs": {"column": "beds", "regex": "^[0-9]+$"}},
    )
    assert judge(beds(exact, digits), path).failing == ()


def test_a_wide_column_that_must_only_be_present_is_not_loaded(
    contracts: tuple[Contract, ...], tables: Tables, tmp_path: Path
) -> None:
    from pacs_pipeline.contracts.tables import Table

    instances = next(c for c in contracts if c.name == "instances")
    frame = Table(write(contracts, tables, tmp_path)["instances"]).frame(instances.rules)
    assert set(frame["header"]) == {1}


def test_no_value_leaves_in_results_logs_or_files(
    contracts: tuple[Contract, ...],
    tables: Tables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    for rows in tables.values():
        for row in rows:
            row.update({column: SENTINEL for column, value in row.items() if isinstance(value, str)})
    paths = write(contracts, tables, tmp_path / "zone")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    judged = validate(contracts, paths)
    assert {r.status for r in judged.results if r.contract != "census"} == {VerdictStatus.FAILED}
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert "SENTINEL" not in repr(judged) + caplog.text
    assert list(here.rglob("*")) == []


def test_threads_and_repetition(contracts: tuple[Contract, ...], tables: Tables, tmp_path: Path) -> None:
    """Names of suites and assets are the same in every partition; verdicts must not mix."""
    good = write(contracts, tables, tmp_path / "good")
    tables["instances"][0]["size"] = 0
    bad = write(contracts, tables, tmp_path / "bad")
    found: dict[int, list[str]] = {}

    def run(number: int) -> None:
        judged = validate(contracts, bad if number % 2 else good)
        found[number] = [rule.rule for r in judged.results for rule in r.failing]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: [], 2: [], 1: ["size is at least 1"], 3: ["size is at least 1"]}


def test_warnings_of_the_engine_stay_inside(table: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge(beds(UNIQUE), table)


def _table(path: Path, wards: list[str | None]) -> Path:
    pq.write_table(
        pa.table({"ward": pa.array(wards, pa.string()), "beds": pa.array([1] * len(wards), pa.int64())}), path
    )
    return path


@pytest.mark.parametrize(
    ("limit", "broken", "passes"),
    [
        (Limit("mustBeLessOrEqualTo", 25, percent=True), 1, True),
        (Limit("mustBeLessOrEqualTo", 25, percent=True), 2, False),
        (Limit("mustBeLessThan", 25, percent=True), 1, False),
        (Limit("mustBeLessThan", 2), 1, True),
        (Limit("mustBeLessThan", 2), 2, False),
        (Limit("mustBeBetween", (1, 2)), 0, False),
        (Limit("mustBeBetween", (1, 2)), 2, True),
        (Limit("mustNotBe", 3), 3, False),
    ],
)
def test_limits(tmp_path: Path, limit: Limit, broken: int, passes: bool) -> None:
    path = _table(tmp_path / "beds.parquet", [None] * broken + ["a"] * (4 - broken))
    rule = judge(beds(dataclasses.replace(PRESENT, limit=limit)), path).rules[1]
    assert rule.unexpected == broken
    assert rule.status is (VerdictStatus.PASSED if passes else VerdictStatus.FAILED)


@pytest.mark.parametrize(("rows", "passes"), [(0, False), (1, True), (3, True), (4, False)])
def test_row_count(tmp_path: Path, rows: int, passes: bool) -> None:
    check = CheckSpec("some rows", Kind.ROW_COUNT, limit=Limit("mustBeBetween", (1, 3)))
    result = judge(beds(check), _table(tmp_path / "beds.parquet", ["a"] * rows))
    assert result.status is (VerdictStatus.PASSED if passes else VerdictStatus.FAILED)
    assert result.rules[1].rows == rows


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0, 1000), st.booleans())
def test_every_operator_has_its_opposite(count: int, rows: int, operand: float, percent: bool) -> None:
    for one, other in (
        ("mustBe", "mustNotBe"),
        ("mustBeGreaterThan", "mustBeLessOrEqualTo"),
        ("mustBeLessThan", "mustBeGreaterOrEqualTo"),
    ):
        assert Limit(one, operand, percent).allows(count, rows) != Limit(other, operand, percent).allows(count, rows)
    pair = (operand, operand + 5)
    inside = Limit("mustBeBetween", pair, percent).allows(count, rows)
    assert inside != Limit("mustNotBeBetween", pair, percent).allows(count, rows)
