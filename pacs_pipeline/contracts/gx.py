"""Compiles contracts to Great Expectations and runs them. The only module that executes the engine.

Results leave this module as counts. The engine's own results, messages and logs may hold values of the
data and never do.
"""

from __future__ import annotations

import builtins
import datetime as dt
import logging
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacs_pipeline.contracts.catalogue import EXPECTATIONS
from pacs_pipeline.contracts.checks import CheckSpec, Contract, Kind
from pacs_pipeline.contracts.patterns import python_pattern
from pacs_pipeline.contracts.tables import Table, Unreadable, usable
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import ContractResult, RuleResult, Severity, VerdictStatus

if TYPE_CHECKING:
    import pandas as pd

#: Great Expectations keeps its current context in a global: one validation at a time in a process.
_ENGINE = threading.RLock()
_SEVERITY = {Severity.ERROR: "critical", Severity.WARNING: "warning"}
#: Names of exceptions that may be shown; a traceback's other words could be values.
_EXCEPTIONS = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
}
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w+)(?::|$)", re.MULTILINE)
_RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the contracts say of the tables of one partition, with the contracts they were judged by."""

    contracts: tuple[Contract, ...]
    results: tuple[ContractResult, ...]


def validate(contracts: Sequence[Contract], tables: Mapping[str, Path]) -> Judgement:
    """Judge each contract's table; ``tables`` maps table names to Parquet files, others in it are not looked at.

    Never raises because of the data: a table that is missing or unreadable, a rule that raises, are results
    (could-not-run). A column that is missing, unexpected or of another type breaks the schema rule.
    Raises SettingsError when a contract holds arguments the engine refuses.
    """
    opened: dict[str, Table | Unreadable] = {}
    for contract in contracts:
        try:
            opened[contract.name] = Table(tables.get(contract.name))
        except Unreadable as problem:
            opened[contract.name] = problem
    session = _Session()
    results = tuple(_judge(contract, opened, session) for contract in contracts)
    return Judgement(tuple(contracts), results)


def check_expectations(contracts: Sequence[Contract]) -> None:
    """Let the engine look at every rule without data; raises SettingsError naming contract and rule."""
    with quiet_engine():
        for contract in contracts:
            for check in contract.rules:
                if check.kind not in (Kind.SCHEMA, Kind.ROW_COUNT):
                    _compile(contract, check, "derived")


# --- judging --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Count:
    """What running a rule gave: rows that break it, and the engine's word on it where there is no limit."""

    unexpected: int
    success: bool


def _judge(contract: Contract, opened: Mapping[str, Table | Unreadable], session: _Session) -> ContractResult:
    table = opened[contract.name]
    if isinstance(table, Unreadable):
        return _contract_result(contract, [_could_not_run(check, 0, str(table)) for check in contract.rules])
    departures = table.departures(contract)
    results: dict[str, RuleResult] = {}
    to_run: list[CheckSpec] = []
    for check in contract.rules:
        problem = usable(check, departures)
        if check.kind is Kind.SCHEMA:
            message = "; ".join(f"{name} {what}" for name, what in departures.items())
            results[check.rule] = _result(check, table.rows, _Count(len(departures), not departures), message)
        elif check.kind is Kind.ROW_COUNT:
            results[check.rule] = _row_count(check, table.rows)
        elif problem:
            results[check.rule] = _could_not_run(check, table.rows, problem)
        elif table.rows == 0 and is_by_row(check):
            results[check.rule] = _result(check, 0, _Count(0, success=True))
        else:
            to_run.append(check)
    results.update(_run(contract, to_run, table, opened, session))
    return _contract_result(contract, [results[check.rule] for check in contract.rules])


def _contract_result(contract: Contract, rules: list[RuleResult]) -> ContractResult:
    """A broken error rule is a certain failure; a rule of any severity that did not run leaves the rest open."""
    if any(r.status is VerdictStatus.FAILED and r.severity is Severity.ERROR for r in rules):
        status = VerdictStatus.FAILED
    elif any(r.status is VerdictStatus.COULD_NOT_RUN for r in rules):
        status = VerdictStatus.COULD_NOT_RUN
    else:
        status = VerdictStatus.PASSED
    return ContractResult(contract.name, contract.version, status, tuple(rules))


def _result(check: CheckSpec, rows: int, count: _Count, message: str = "") -> RuleResult:
    passed = check.limit.allows(count.unexpected, rows) if check.limit else count.success
    status = VerdictStatus.PASSED if passed else VerdictStatus.FAILED
    if not passed and not message:
        message = f"{count.unexpected} of {rows} rows"
    return RuleResult(check.rule, check.column, check.severity, status, rows, count.unexpected, message)


def _row_count(check: CheckSpec, rows: int) -> RuleResult:
    passed = check.limit is not None and check.limit.allows(rows, rows)
    status = VerdictStatus.PASSED if passed else VerdictStatus.FAILED
    message = "" if passed else f"the table has {rows} rows"
    return RuleResult(check.rule, check.column, check.severity, status, rows, 0 if passed else 1, message)


def _could_not_run(check: CheckSpec, rows: int, message: str) -> RuleResult:
    return RuleResult(check.rule, check.column, check.severity, VerdictStatus.COULD_NOT_RUN, rows, 0, message)


def is_by_row(check: CheckSpec) -> bool:
    """Whether the rule judges rows one by one, and so has nothing to say of a table without any."""
    if check.kind in (Kind.SCHEMA, Kind.ROW_COUNT):
        return False
    return check.kind is not Kind.EXPECTATION or EXPECTATIONS[check.arguments["type"]].by_row


# --- running --------------------------------------------------------------------------------------------------


def _run(
    contract: Contract,
    checks: list[CheckSpec],
    table: Table,
    opened: Mapping[str, Table | Unreadable],
    session: _Session,
) -> dict[str, RuleResult]:
    """Run ``checks`` in the engine; each gets a result, whatever happens."""
    if not checks:
        return {}
    results: dict[str, RuleResult] = {}
    derived: dict[str, Any] = {}
    try:
        frame = table.frame(checks)
        for check in checks:
            if check.kind is Kind.NOT_MISSING:
                derived[check.rule] = _not_missing(frame[check.columns[0]], check.arguments["values"])
            elif check.kind is Kind.REFERENCE:
                target, columns = opened.get(check.arguments["table"]), check.arguments["columns"]
                if isinstance(target, Table) and target.has(columns):
                    derived[check.rule] = _exists(frame[list(check.columns)], target, columns)
                else:
                    message = f"the columns it refers to in {check.arguments['table']} are missing"
                    results[check.rule] = _could_not_run(check, table.rows, message)
    except Unreadable as problem:
        return {check.rule: _could_not_run(check, table.rows, str(problem)) for check in checks}
    names = {rule: f"derived {position}" for position, rule in enumerate(derived)}
    frame = frame.assign(**{names[rule]: series for rule, series in derived.items()})
    runnable = [check for check in checks if check.rule not in results]
    with quiet_engine():
        from great_expectations.exceptions.exceptions import GreatExpectationsError

        expectations = [_compile(contract, c, names.get(c.rule, ""), position) for position, c in enumerate(runnable)]
        try:
            found = session.run(contract.name, frame, expectations)
        except GreatExpectationsError:
            found = {}
    for position, check in enumerate(runnable):
        results[check.rule] = _read(check, found.get(position), table.rows)
    return results


class _Session:
    """One ephemeral context for the tables of one partition; it keeps frames, so it must not outlive them."""

    @cached_property
    def _source(self) -> Any:
        import great_expectations as gx

        context: Any = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = {"globally": False}
        return context.data_sources.add_pandas("partition")

    def run(self, name: str, frame: pd.DataFrame, expectations: list[Any]) -> dict[int, dict[str, Any]]:
        """The engine's raw results by position. They may hold values: for use inside this module only."""
        import great_expectations as gx

        definition = self._source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
        suite = gx.ExpectationSuite(name=name, expectations=expectations)
        outcome = definition.get_batch({"dataframe": frame}).validate(suite, result_format=_RESULT_FORMAT)
        return {r.expectation_config.meta["position"]: r.to_json_dict() for r in outcome.results}


def _read(check: CheckSpec, found: dict[str, Any] | None, rows: int) -> RuleResult:
    """Counts out of a raw result. Anything but a clean answer is could-not-run."""
    if found is None:
        return _could_not_run(check, rows, "the engine gave no result")
    raised = _raised(found.get("exception_info") or {})
    if raised:
        return _could_not_run(check, rows, f"the rule raised {raised}")
    success, unexpected = found.get("success"), (found.get("result") or {}).get("unexpected_count")
    if not isinstance(success, bool) or (unexpected is None and is_by_row(check)):
        return _could_not_run(check, rows, "the engine gave no answer")
    if unexpected is None:
        return _result(check, rows, _Count(0 if success else 1, success), "" if success else "the table as a whole")
    return _result(check, rows, _Count(int(unexpected), success))


def _raised(info: Mapping[str, Any]) -> str:
    """The class of the exception in a result's exception_info, without its message."""
    for part in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if part.get("raised_exception"):
            named = _RAISED.findall(str(part.get("exception_traceback") or ""))
            return next((name for name in named if name in _EXCEPTIONS), "an exception")
    return ""


def _not_missing(column: pd.Series[Any], missing: Sequence[object]) -> pd.Series[Any]:
    absent = column.isin([value for value in missing if value is not None]).astype(bool)
    return ~(absent | column.isna()) if None in missing else ~absent


def _exists(columns: pd.DataFrame, target: Table, names: Sequence[str]) -> Any:
    """Whether each row's values exist together in the target; a row without any value refers to nothing."""
    import pandas as pd

    return pd.MultiIndex.from_frame(columns).isin(target.keys(names)) | columns.isna().all(axis=1).to_numpy()


# --- compiling ------------------------------------------------------------------------------------------------


def _compile(contract: Contract, check: CheckSpec, derived: str, position: int = 0) -> Any:
    """The expectation of a rule, with its severity."""
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.registry import get_expectation_impl
    from pydantic.v1 import ValidationError

    name, kwargs = expectation(contract, check, derived)
    try:
        return get_expectation_impl(name)(
            **kwargs,
            severity=FailureSeverity(_SEVERITY[check.severity]),
            description=check.rule,
            meta={"position": position},
        )
    except (ValidationError, TypeError, ValueError) as error:
        raise SettingsError(
            f"data contract {contract.name}: rule '{check.rule}' has arguments that {name} refuses",
            fix="correct the rule's kwargs",
        ) from error


def expectation(contract: Contract, check: CheckSpec, derived: str = "") -> tuple[str, dict[str, Any]]:
    """The name and arguments of the expectation for a rule.

    ``derived`` names a true/false column made for a rule that the engine has no expectation for.
    """
    arguments = check.arguments
    column = {"column": derived or "".join(check.columns[:1])}
    match check.kind:
        case Kind.SCHEMA:
            return "expect_table_columns_to_match_set", {"column_set": [c.name for c in contract.columns]}
        case Kind.ROW_COUNT:
            return "expect_table_row_count_to_be_between", {}
        case Kind.NOT_NULL:
            return "expect_column_values_to_not_be_null", column
        case Kind.UNIQUE if len(check.columns) == 1:
            return "expect_column_values_to_be_unique", column
        case Kind.UNIQUE:
            return "expect_compound_columns_to_be_unique", {"column_list": list(check.columns)}
        case Kind.PATTERN:
            return "expect_column_values_to_match_regex", {**column, "regex": python_pattern(arguments["pattern"])}
        case Kind.LENGTH:
            bounds = {"min_value": arguments.get("minimum"), "max_value": arguments.get("maximum")}
            return "expect_column_value_lengths_to_be_between", {**column, **bounds}
        case Kind.RANGE:
            return "expect_column_values_to_be_between", {**column, **_interval(contract, check)}
        case Kind.ALLOWED:
            return "expect_column_values_to_be_in_set", {**column, "value_set": list(arguments["values"])}
        case Kind.REFERENCE | Kind.NOT_MISSING:
            return "expect_column_values_to_be_in_set", {**column, "value_set": [True]}
        case Kind.EXPECTATION:
            return arguments["type"], dict(arguments["kwargs"])


def _interval(contract: Contract, check: CheckSpec) -> dict[str, Any]:
    spec = contract.column(check.columns[0])

    def bound(*keys: str) -> Any:
        value = next((check.arguments[key] for key in keys if key in check.arguments), None)
        is_date = spec is not None and spec.logical_type == "date"
        return dt.date.fromisoformat(value) if is_date and value is not None else value

    return {
        "min_value": bound("minimum", "exclusiveMinimum"),
        "max_value": bound("maximum", "exclusiveMaximum"),
        "strict_min": "exclusiveMinimum" in check.arguments,
        "strict_max": "exclusiveMaximum" in check.arguments,
    }


@contextmanager
def quiet_engine() -> Iterator[None]:
    """Great Expectations, alone and quiet. It is imported late, inside: that takes three seconds."""
    with _ENGINE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # its logger prints values along with the exceptions of a rule
        logging.getLogger("great_expectations").setLevel(logging.CRITICAL + 1)
        import great_expectations  # noqa: F401

        yield
