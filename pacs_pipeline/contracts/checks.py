"""What a contract asks of a table, in words that no engine owns. Values only: reading and running happen elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pacs_pipeline.records import Severity
from pacs_pipeline.records import fingerprint as digest


class Kind(StrEnum):
    """The kinds of checks there are. All but SCHEMA, ROW_COUNT and EXPECTATION judge row by row."""

    SCHEMA = "schema"  # exactly the columns and physical types of the contract
    ROW_COUNT = "row-count"  # the number of rows, against the limit
    NOT_NULL = "not-null"
    NOT_MISSING = "not-missing"  # arguments: values (what counts as missing; may hold None)
    UNIQUE = "unique"  # of one column or of several together
    PATTERN = "pattern"  # arguments: pattern (ECMA-262, found anywhere in the value)
    LENGTH = "length"  # arguments: minimum, maximum (characters)
    RANGE = "range"  # arguments: minimum, maximum, exclusiveMinimum, exclusiveMaximum
    ALLOWED = "allowed"  # arguments: values
    REFERENCE = "reference"  # arguments: table, columns (where the values must exist)
    EXPECTATION = "expectation"  # arguments: type, kwargs (of Great Expectations)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many rows may break a rule, in ODCS's own operators; without a Limit none may."""

    operator: str
    operand: float | tuple[float, float]
    percent: bool = False

    def allows(self, count: int, rows: int) -> bool:
        """Whether ``count`` of ``rows`` is within the limit (percentages are of all rows)."""
        value = 100.0 * count / rows if self.percent and rows else float(count)
        if isinstance(self.operand, tuple):
            inside = self.operand[0] <= value <= self.operand[1]
            return inside if self.operator == "mustBeBetween" else not inside
        return {
            "mustBe": value == self.operand,
            "mustNotBe": value != self.operand,
            "mustBeGreaterThan": value > self.operand,
            "mustBeGreaterOrEqualTo": value >= self.operand,
            "mustBeLessThan": value < self.operand,
            "mustBeLessOrEqualTo": value <= self.operand,
        }[self.operator]

    def __str__(self) -> str:
        operand = (
            " and ".join(f"{o:g}" for o in self.operand) if isinstance(self.operand, tuple) else f"{self.operand:g}"
        )
        return f"{self.operator} {operand}{' percent' if self.percent else ''}"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column as the contract describes it; ``physical_type`` is Arrow's name of the type."""

    name: str
    logical_type: str
    physical_type: str
    classification: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One rule: its name in the contract, what it checks, on which columns, and how grave a breach is."""

    rule: str
    kind: Kind
    columns: tuple[str, ...] = ()
    severity: Severity = Severity.ERROR
    arguments: Mapping[str, Any] = field(default_factory=dict)
    limit: Limit | None = None
    description: str = ""

    @property
    def column(self) -> str:
        """The column the rule belongs to; empty for a rule on the table or on several columns."""
        if self.kind is Kind.EXPECTATION:  # its other columns are those of a condition
            return str(self.arguments["kwargs"].get("column", ""))
        return self.columns[0] if len(self.columns) == 1 else ""


@dataclass(frozen=True, slots=True)
class Contract:
    """The agreement on one table. ``name`` is the table's."""

    name: str
    version: str
    columns: tuple[ColumnSpec, ...]
    rules: tuple[CheckSpec, ...]
    owner: str = ""
    description: str = ""

    def column(self, name: str) -> ColumnSpec | None:
        """The column called ``name``, if the contract has it."""
        return next((column for column in self.columns if column.name == name), None)


def fingerprint(contracts: Iterable[Contract]) -> str:
    """SHA-256 in hex over everything that can change a verdict; wording for people does not count."""
    return digest(
        [
            {
                "name": contract.name,
                "version": contract.version,
                "columns": [[c.name, c.logical_type, c.physical_type] for c in contract.columns],
                "rules": [
                    [r.rule, r.kind, list(r.columns), r.severity, repr(r.arguments), str(r.limit or "")]
                    for r in contract.rules
                ],
            }
            for contract in sorted(contracts, key=lambda contract: contract.name)
        ]
    )
