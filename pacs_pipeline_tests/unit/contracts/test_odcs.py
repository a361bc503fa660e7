"""Reading contracts: what stewards may write works without code, what cannot be checked is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pacs_pipeline.contracts import Contract, Kind, check_expectations, fingerprint, load_contracts, validate
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import Severity, VerdictStatus
from pacs_pipeline_tests.unit.contracts.population import CONTRACTS

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: beds
name: Beds
version: 1.2.0
status: active
description: {purpose: Where somebody lies.}
team: {name: stewards}
schema:
  - name: beds
    properties:
      - name: ward
        logicalType: string
        physicalType: string
        required: true
        logicalTypeOptions: {pattern: '^W[0-9]+$', minLength: 2, maxLength: 4}
        quality:
          - {metric: duplicateValues, mustBeLessThan: 50, unit: percent, severity: warning}
      - name: beds
        logicalType: integer
        physicalType: int64
        logicalTypeOptions: {minimum: 0, exclusiveMaximum: 100}
    quality:
      - {metric: rowCount, mustBeGreaterThan: 0, severity: error}
      - type: custom
        engine: greatExpectations
        implementation: {type: expect_column_max_to_be_between, kwargs: {column: beds, max_value: 90}}
        severity: error
"""


def load(folder: Path, *texts: str) -> tuple[Contract, ...]:
    for number, text in enumerate(texts):
        (folder / f"contract{number}.odcs.yaml").write_text(text, encoding="utf-8")
    return load_contracts(folder)


def changed(*path: object, to: Any) -> str:
    """CONTRACT with the value at ``path`` replaced (or appended to a list, for an index at its end)."""
    content = yaml.safe_load(CONTRACT)
    place = content
    for step in path[:-1]:
        place = place[step]
    last: Any = path[-1]
    if isinstance(place, list) and last == len(place):
        place.append(to)
    else:
        place[last] = to
    return yaml.safe_dump(content)


WARD = ("schema", 0, "properties", 0)
BEDS = ("schema", 0, "properties", 1)
RULE = (*WARD, "quality", 0)
TABLE_RULE = ("schema", 0, "quality", 0)
CUSTOM = ("schema", 0, "quality", 1, "implementation")


def test_what_a_contract_says_becomes_rules(tmp_path: Path) -> None:
    (contract,) = load(tmp_path, CONTRACT)
    assert (contract.name, contract.version, contract.owner) == ("beds", "1.2.0", "stewards")
    assert [(r.kind, r.columns, r.severity) for r in contract.rules] == [
        (Kind.SCHEMA, (), Severity.ERROR),
        (Kind.NOT_NULL, ("ward",), Severity.ERROR),
        (Kind.PATTERN, ("ward",), Severity.ERROR),
        (Kind.LENGTH, ("ward",), Severity.ERROR),
        (Kind.UNIQUE, ("ward",), Severity.WARNING),
        (Kind.RANGE, ("beds",), Severity.ERROR),
        (Kind.ROW_COUNT, (), Severity.ERROR),
        (Kind.EXPECTATION, ("beds",), Severity.ERROR),
    ]
    assert [r.rule for r in contract.rules][3:7] == [
        "ward has at least 2 and at most 4 characters",
        "ward: duplicateValues mustBeLessThan 50 percent",
        "beds is at least 0 and less than 100",
        "table: rowCount mustBeGreaterThan 0",
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (changed("schema", 0, "quality", 0, "metric", to="rowcount"), "quality[0].metric 'rowcount'"),
        (changed(*RULE, "metric", to="freshness"), "ward.quality[0].metric 'freshness'"),
        (changed(*RULE, "severity", to="fatal"), "ward.quality[0].severity"),
        (changed(*RULE, "severity", to=None), "ward.quality[0].severity"),
        (changed(*RULE, "severty", to="error"), "quality[0].severty is no key"),
        (changed(*RULE, "unit", to="promille"), "ward.quality[0].unit"),
        (changed(*RULE, "mustBe", to=3), "exactly one limit"),
        (changed(*RULE, "mustBeLessThan", to=None), "exactly one limit"),
        (changed(*RULE, "arguments", to={"valid": [1]}), "arguments.valid"),
        (changed(*RULE, "schedule", to="0 1 * * *"), "schedule"),
        (changed(*RULE, "type", to="sql"), "quality[0].type 'sql'"),
        (changed(*RULE, "type", to="text"), "quality[0].type 'text'"),
        (changed(*RULE, to={"metric": "invalidValues", "mustBe": 0, "severity": "error"}), "must hold validValues"),
        (changed(*TABLE_RULE, "unit", to="percent"), "quality[0].unit"),
        (
            changed(
                *TABLE_RULE,
                to={
                    "metric": "duplicateValues",
                    "arguments": {"properties": ["ward", "bed"]},
                    "mustBe": 0,
                    "severity": "error",
                },
            ),
            "unknown column 'bed'",
        ),
        (changed("schema", 0, "quality", 1, "engine", to="soda"), "quality[1].engine"),
        (changed(*CUSTOM, "type", to="expect_column_max_to_be_beteen"), "expect_column_max_to_be_beteen"),
        (changed(*CUSTOM, "kwargs", "maxValue", to=1), "kwargs.maxValue"),
        (changed(*CUSTOM, "kwargs", "column", to="bed"), "unknown column 'bed'"),
        (changed(*CUSTOM, "kwargs", to={"max_value": 1}), "lacks column"),
        (changed(*CUSTOM, "kwargs", "row_condition", to="ward > 3"), "row_condition"),
        (changed(*CUSTOM, "notes", to="x"), "implementation must hold"),
        (changed(*WARD, "logicalTypeOptions", "format", to="email"), "logicalTypeOptions.format"),
        (changed(*WARD, "logicalTypeOptions", "pattern", to="("), "logicalTypeOptions.pattern"),
        (changed(*WARD, "logicalTypeOptions", "minLength", to="two"), "logicalTypeOptions.minLength"),
        (changed(*BEDS, "logicalTypeOptions", "multipleOf", to=2), "logicalTypeOptions.multipleOf"),
        (changed(*BEDS, "logicalTypeOptions", "maximum", to=5), "logicalTypeOptions.maximum"),
        (changed(*BEDS, "physicalType", to="varchar"), "beds.physicalType"),
        (changed(*BEDS, "logicalType", to="string"), "beds.logicalType"),
        (changed(*BEDS, "requird", to=True), "requird"),
        (changed(*BEDS, "required", to="perhaps"), "required"),
        (changed(*BEDS, "relationships", to=[{"to": "wards.ward"}]), "table 'wards'"),
        (changed(*BEDS, "relationships", to=[{"to": "beds.bed"}]), "'beds.bed'"),
        (changed(*BEDS, "relationships", to=[{"to": "beds.ward"}]), "another type"),
        (changed(*BEDS, "relationships", to=[{"to": "ward"}]), "relationships[0].to"),
        (changed(*WARD, "name", to="beds"), "described twice"),
        (changed("schema", 1, to={"name": "more", "properties": []}), "schema must describe exactly one table"),
        (changed("schema", to=None), "schema"),
        (changed("kind", to="DataProduct"), "kind"),
        (changed("apiVersion", to="v2.2.2"), "apiVersion"),
        (changed("version", to=None), "version"),
        (changed("tems", to="x"), "tems"),
        (
            changed(*WARD, "quality", 1, to={**yaml.safe_load(CONTRACT)["schema"][0]["properties"][0]["quality"][0]}),
            "two rules",
        ),
        (CONTRACT.replace("required: true", "required: true\n        required: false"), "line"),
        ("schema: [", "line 1"),
        ("- a list", "holds no data contract"),
        ("", "holds no data contract"),
    ],
)
def test_what_cannot_be_checked_is_refused(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(named)) as refused:
        load(tmp_path, text)
    assert "contract0.odcs.yaml" in str(refused.value)
    assert refused.value.fix


def test_arguments_that_only_the_engine_can_judge_are_refused(tmp_path: Path) -> None:
    contracts = load(tmp_path, changed(*CUSTOM, "kwargs", "max_value", to=["ninety"]))
    with pytest.raises(SettingsError, match="beds: rule 'beds: expect_column_max_to_be_between"):
        check_expectations(contracts)
    check_expectations(load(tmp_path, CONTRACT))


def test_two_contracts_on_one_table(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"contract1.odcs.yaml table 'beds' already has a contract in contract0"):
        load(tmp_path, CONTRACT, CONTRACT)


def test_no_contract_at_all(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no data contract"):
        load_contracts(tmp_path)
    with pytest.raises(SettingsError, match="no data contract"):
        load_contracts(tmp_path / "nowhere")


def test_a_contract_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.odcs.yaml").write_bytes(CONTRACT.replace("somebody", "jemand für").encode("latin-1"))
    with pytest.raises(SettingsError, match="UTF-8"):
        load_contracts(tmp_path)


def test_the_fingerprint_follows_meaning(tmp_path: Path) -> None:
    same = fingerprint(load(tmp_path, CONTRACT))
    assert fingerprint(load(tmp_path, "# a remark\n" + CONTRACT)) == same
    assert fingerprint(load(tmp_path, changed(*WARD, "description", to="the ward"))) == same
    variants = [
        changed("version", to="1.2.1"),
        changed(*RULE, "severity", to="error"),
        changed(*RULE, "mustBeLessThan", to=51),
        changed(*BEDS, "logicalTypeOptions", "minimum", to=1),
        changed(*CUSTOM, "kwargs", "max_value", to=91),
        changed("schema", 0, "properties", 2, to={"name": "x", "logicalType": "date", "physicalType": "date32"}),
    ]
    assert len({same, *(fingerprint(load(tmp_path, variant)) for variant in variants)}) == len(variants) + 1


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = f"""
from pathlib import Path
from pacs_pipeline.contracts import fingerprint, load_contracts
print(fingerprint(load_contracts(Path({str(CONTRACTS)!r}))))
import sys
assert "great_expectations" not in sys.modules, "reading contracts must not cost the engine's import"
"""
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert printed == fingerprint(load_contracts(CONTRACTS))


def test_a_new_column_and_new_rules_need_no_code(tmp_path: Path) -> None:
    """As a steward would add them, with every kind of rule at least once."""
    text = changed(
        "schema",
        0,
        "properties",
        2,
        to={
            "name": "opened",
            "logicalType": "date",
            "physicalType": "date32",
            "logicalTypeOptions": {"minimum": "1990-01-01", "maximum": "2030-12-31"},
            "quality": [
                {"metric": "nullValues", "mustBeLessOrEqualTo": 1, "severity": "error", "name": "opened is known"},
                {
                    "type": "custom",
                    "engine": "great-expectations",
                    "implementation": "type: expect_column_values_to_not_be_null\nkwargs:\n"
                    '  row_condition: col("beds") > 10\n  condition_parser: great_expectations\n',
                    "severity": "warning",
                    "name": "large wards have a date",
                },
            ],
        },
    )
    (contract,) = load(tmp_path, text)
    import datetime as dt

    table = pa.table(
        {
            "ward": pa.array(["W1", "W2", "W3", "X"]),
            "beds": pa.array([99, None, 3, 100], pa.int64()),
            "opened": pa.array([None, None, dt.date(1989, 12, 31), dt.date(2030, 12, 31)]),
        }
    )
    pq.write_table(table, tmp_path / "beds.parquet")
    (result,) = validate([contract], {"beds": tmp_path / "beds.parquet"}).results
    assert {rule.rule: rule.unexpected for rule in result.failing} == {
        "ward matches ^W[0-9]+$": 1,
        "ward has at least 2 and at most 4 characters": 1,
        "beds is at least 0 and less than 100": 1,
        "opened is at least 1990-01-01 and at most 2030-12-31": 1,
        "opened is known": 2,
        "large wards have a date": 1,
        "beds: expect_column_max_to_be_between(max_value=90)": 1,
    }
    assert result.status is VerdictStatus.FAILED
