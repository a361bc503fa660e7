"""Every rule in data_contracts/ has an example that breaks it; a rule without one fails here."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pacs_pipeline.contracts import CheckSpec, Contract, Kind, load_contracts, validate
from pacs_pipeline.records import Severity, VerdictStatus
from pacs_pipeline_tests.unit.contracts.population import CONTRACTS, Row, Tables, good_tables, write

ALL = load_contracts(CONTRACTS)
RULES = [pytest.param(c, r, id=f"{c.name}: {r.rule}") for c in ALL for r in c.rules]


def _set(column: str, value: Any) -> Callable[[Row], None]:
    return lambda row: row.update({column: value})


#: How to break a rule that is written as an expectation: what to do to each of two rows.
EXPECTATIONS: dict[tuple[str, str], Callable[[Row], None]] = {
    ("instances", "StudyDate lies in the age of radiology"): _set("StudyDate", dt.date(1066, 10, 14)),
    ("instances", "an image has Rows"): _set("Rows", None),
    ("instances", "an image has Columns"): _set("Columns", None),
    ("instances", "an image has at least one row of pixels"): _set("Rows", 0),
    ("instances", "an image has at least one column of pixels"): _set("Columns", 0),
    ("instances", "NumberOfFrames is positive"): _set("NumberOfFrames", 0),
    ("instances", "one profile made the whole partition"): _set("profile_fingerprint", "b" * 64),
    ("series", "a series has more bytes than instances"): _set("size", 4),
    ("studies", "a study has at least as many instances as series"): _set("instances", 2),
}


def _break(contract: Contract, check: CheckSpec, rows: list[Row]) -> int:
    """Break ``check`` in the first two rows; returns how many rows the result should count."""
    column = check.columns[0] if check.columns else ""
    first, second = rows[0], rows[1]
    match check.kind:
        case Kind.UNIQUE:
            second.update({name: first[name] for name in check.columns})
            return 2
        case Kind.NOT_NULL:
            bad: Any = None
        case Kind.NOT_MISSING:
            bad = check.arguments["values"][-1]
        case Kind.PATTERN:
            bad = "Jane Doe; née Smith"
        case Kind.LENGTH:
            bad = "" if "minimum" in check.arguments else "x" * (check.arguments["maximum"] + 1)
        case Kind.RANGE:
            bad = check.arguments["minimum"] - 1
        case Kind.ALLOWED:
            bad = 7 if isinstance(first[column], int) else "nothing of the sort"
        case Kind.REFERENCE:
            bad = "2.25.404"
        case Kind.EXPECTATION:
            example = EXPECTATIONS.get((contract.name, check.rule))
            assert example, f"write an example that breaks '{check.rule}' of {contract.name} into EXPECTATIONS"
            example(first)
            if check.column == "profile_fingerprint":
                return 1  # of the whole column
            example(second)
            return 2
        case _:
            pytest.fail(f"no example for {check.kind}")
    first[column] = second[column] = bad
    return 2


def _only(name: str, *rules: CheckSpec) -> tuple[Contract, ...]:
    """The contract called ``name`` with those rules only, among the others without any."""
    return tuple(dataclasses.replace(other, rules=rules if other.name == name else ()) for other in ALL)


@pytest.mark.parametrize(("contract", "check"), RULES)
def test_each_rule_can_fail(contract: Contract, check: CheckSpec, tmp_path: Path) -> None:
    tables = good_tables()
    if check.kind is Kind.SCHEMA:
        paths = write(ALL, tables, tmp_path)
        table = pq.read_table(paths[contract.name], partitioning=None)
        extra = pa.array(["Jane Doe"] * table.num_rows)
        pq.write_table(table.append_column("PatientName", extra), paths[contract.name])
        expected = 1
    else:
        expected = _break(contract, check, tables[contract.name])
        paths = write(ALL, tables, tmp_path)
    judged = validate(_only(contract.name, check), paths)
    result = next(r for r in judged.results if r.contract == contract.name)
    (rule,) = result.rules
    assert (rule.rule, rule.status, rule.unexpected) == (check.rule, VerdictStatus.FAILED, expected)
    assert rule.column == check.column
    assert rule.rows == len(tables[contract.name])
    assert rule.message
    assert "Jane" not in repr(judged.results)
    withheld = check.severity is Severity.ERROR
    assert result.status is (VerdictStatus.FAILED if withheld else VerdictStatus.PASSED)
    assert result.failing == (rule,)


def test_examples_belong_to_rules() -> None:
    known = {(c.name, r.rule) for c in ALL for r in c.rules}
    assert set(EXPECTATIONS) <= known


def test_good_tables_pass_every_rule(contracts: tuple[Contract, ...], tables: Tables, tmp_path: Path) -> None:
    judged = validate(contracts, write(contracts, tables, tmp_path))
    assert [r.contract for r in judged.results] == ["census", "instances", "series", "studies"]
    assert [rule for r in judged.results for rule in r.failing] == []
    assert {r.status for r in judged.results} == {VerdictStatus.PASSED}
    assert [len(r.rules) for r in judged.results] == [len(c.rules) for c in contracts]


def test_empty_tables_pass(contracts: tuple[Contract, ...], tmp_path: Path) -> None:
    judged = validate(contracts, write(contracts, {c.name: [] for c in contracts}, tmp_path))
    assert [rule for r in judged.results for rule in r.failing] == []
    assert {r.status for r in judged.results} == {VerdictStatus.PASSED}
    assert {rule.rows for r in judged.results for rule in r.rules} == {0}


def test_one_row_and_all_optional_values_missing(
    contracts: tuple[Contract, ...], tables: Tables, tmp_path: Path
) -> None:
    """What the PACS did not give may be missing throughout; that is no reason to withhold anything."""
    needed = {(c.name, name) for c in contracts for r in c.rules if r.kind is Kind.NOT_NULL for name in r.columns}
    needed -= {("studies", "StudyDate"), ("census", "NumberOfSeriesRelatedInstances")}
    for name, rows in tables.items():
        for row in rows:
            row.update({column: None for column in row if (name, column) not in needed})
    judged = validate(contracts, write(contracts, tables, tmp_path))
    assert {r.status for r in judged.results} == {VerdictStatus.PASSED}
    failing = [rule for r in judged.results for rule in r.failing]
    assert {rule.severity for rule in failing} == {Severity.WARNING}
    assert {rule.status for rule in failing} == {VerdictStatus.FAILED}


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("instances", "SOPInstanceUID", "2.25.123\n"),  # Python's $ would let it pass
        ("instances", "SOPInstanceUID", "2.25.١٢٣"),  # and its \d these digits
        ("instances", "SOPInstanceUID", "1.2.840.113619.2.55.3"),  # the original UID
        ("instances", "PatientID", "MRN0012345"),
        ("instances", "PatientID", "PDOEJOHNJACOBMILLERXX"),
        ("instances", "path", "../../landing/secret.dcm"),
        ("instances", "path", "/etc/passwd"),
        ("instances", "path", "instances/Doe John.dcm"),
        ("instances", "SOPClassUID", "DOE^JOHN"),
        ("series", "PatientID", ""),
    ],
)
def test_what_must_never_pass(tables: Tables, tmp_path: Path, table: str, column: str, value: str) -> None:
    tables[table][0][column] = value
    rules = [rule for c in ALL if c.name == table for rule in c.rules if rule.column == column]
    judged = validate(_only(table, *rules), write(ALL, tables, tmp_path))
    result = next(r for r in judged.results if r.contract == table)
    assert result.status is VerdictStatus.FAILED
    assert any(rule.column == column and rule.unexpected == 1 for rule in result.failing)


def test_a_series_belongs_to_one_patient(contracts: tuple[Contract, ...], tables: Tables, tmp_path: Path) -> None:
    other = tables["instances"][-1]["PatientID"]
    tables["instances"][0]["PatientID"] = other
    judged = validate(contracts, write(contracts, tables, tmp_path))
    (rule,) = next(r for r in judged.results if r.contract == "instances").failing
    assert (rule.rule, rule.unexpected) == ("SeriesInstanceUID + StudyInstanceUID + PatientID exists in series", 1)


def test_the_contracts_describe_the_tables_that_the_stages_write(contracts: tuple[Contract, ...]) -> None:
    from pacs_pipeline import storage

    arrow = {"string": "string", "int64": "int64", "date32": "date32[day]"}
    for contract in contracts:
        schema = getattr(storage, contract.name.upper())
        described = {column.name: arrow[column.physical_type] for column in contract.columns}
        assert described == {field.name: str(field.type) for field in schema}


def test_every_column_is_described_and_classified(contracts: tuple[Contract, ...]) -> None:
    for contract in contracts:
        assert contract.owner
        assert contract.description
        for column in contract.columns:
            assert column.description, f"{contract.name}.{column.name}"
            assert column.classification in {"public", "pseudonymous", "restricted"}
    census = next(c for c in contracts if c.name == "census")
    assert {column.classification for column in census.columns} == {"restricted"}
