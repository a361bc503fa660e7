"""Reads ``*.odcs.yaml`` (Open Data Contract Standard 3.1) into contracts. What it does not understand it refuses."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from open_data_contract_standard.model import DataQuality, OpenDataContractStandard, SchemaObject, SchemaProperty
from pydantic import ValidationError

from pacs_pipeline.contracts.catalogue import COLUMN_ARGUMENTS, EXPECTATIONS
from pacs_pipeline.contracts.checks import CheckSpec, ColumnSpec, Contract, Kind, Limit
from pacs_pipeline.contracts.patterns import python_pattern
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.records import Severity
from pacs_pipeline.strict_yaml import UniqueKeysLoader

SUFFIX = ".odcs.yaml"
API_VERSIONS = ("v3.1.0", "v3.2.0")

#: Arrow types a contract may name as physicalType, with the logicalType each belongs to.
PHYSICAL_TYPES = {
    "string": "string",
    "int32": "integer",
    "int64": "integer",
    "double": "number",
    "bool": "boolean",
    "date32": "date",
    "timestamp[us]": "timestamp",
}
_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
OPTIONS = {
    "string": ("minLength", "maxLength", "pattern"),
    "integer": _RANGE,
    "number": _RANGE,
    "date": _RANGE,
    "timestamp": (),
    "boolean": (),
}
COLUMN_METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues")
TABLE_METRICS = ("rowCount", "duplicateValues")
OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
SCHEMA_RULE = "exactly the agreed columns and types"


def load_contracts(folder: Path) -> tuple[Contract, ...]:
    """Every contract in ``folder``, by name.

    Raises SettingsError, naming file and key, when one cannot be read, says something this pipeline
    cannot check, or speaks of columns and tables that no contract describes.
    """
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise SettingsError(f"there is no data contract (*{SUFFIX}) in {folder}", fix="set 'contracts' to their folder")
    contracts: dict[str, Contract] = {}
    origin: dict[str, str] = {}
    for file in files:
        contract = contract_from_text(_text(file), file.name)
        if contract.name in contracts:
            raise _refusal(file.name, f"table '{contract.name}' already has a contract in {origin[contract.name]}")
        contracts[contract.name] = contract
        origin[contract.name] = file.name
    for contract in contracts.values():
        _check_references(contract, contracts, origin[contract.name])
    return tuple(contracts[name] for name in sorted(contracts))


def contract_from_text(text: str, file: str) -> Contract:
    """The contract in the YAML ``text``; ``file`` is its name in errors. See :func:`load_contracts`."""
    document = _parse(text, file)
    if document.kind != "DataContract":
        raise _refusal(f"{file}: kind", "is missing or wrong", "write 'kind: DataContract'")
    if document.apiVersion not in API_VERSIONS:
        raise _refusal(f"{file}: apiVersion", "is missing or not supported", f"use one of: {', '.join(API_VERSIONS)}")
    for key in ("id", "version", "status"):
        if not getattr(document, key):
            raise _refusal(f"{file}: {key}", "is missing")
    if document.schema_ is None or len(document.schema_) != 1:
        raise _refusal(f"{file}: schema", "must describe exactly one table", "write one contract file per table")
    table = document.schema_[0]
    if not table.name or not table.properties:
        raise _refusal(f"{file}: schema[0]", "needs a name and properties")
    columns = tuple(_column(file, position, prop) for position, prop in enumerate(table.properties))
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise _refusal(f"{file}: {name}", "is described twice")
    rules = (CheckSpec(SCHEMA_RULE, Kind.SCHEMA), *_rules(file, table, names))
    titles = [rule.rule for rule in rules]
    for title in titles:
        if titles.count(title) > 1:
            raise _refusal(file, f"two rules are called '{title}'", "give one of them another name")
    purpose = document.description.purpose if document.description else None
    owner = getattr(document.team, "name", None)
    return Contract(
        table.name, str(document.version), columns, rules, owner or "", (purpose or table.description or "").strip()
    )


# --- the file -------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refusal(path.name, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _refusal(path.name, "is not UTF-8 text", "save it as UTF-8") from error


def _parse(text: str, file: str) -> OpenDataContractStandard:
    try:
        content = yaml.load(text, Loader=UniqueKeysLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}: line {mark.line + 1}" if mark is not None else file
        raise _refusal(where, f"is not valid YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}") from error
    if not isinstance(content, dict):
        raise _refusal(file, "holds no data contract")
    try:
        document = OpenDataContractStandard(**content)
    except (ValidationError, TypeError) as error:
        raise _refusal(file, _first_problem(error)) from error
    known = document.model_dump(by_alias=True, exclude_unset=True)
    for key in _lost(content, known):
        raise _refusal(f"{file}: {key}", "is no key of the Open Data Contract Standard", "check its spelling")
    return document


def _first_problem(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return "has a key that is not text"
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


def _lost(content: object, known: object, path: str = "") -> Iterator[str]:
    """Keys that the ODCS model dropped; it ignores unknown ones below the top level."""
    if isinstance(content, dict) and isinstance(known, dict):
        for key, value in content.items():
            where = f"{path}.{key}" if path else str(key)
            if key not in known:
                yield where
            else:
                yield from _lost(value, known[key], where)
    elif isinstance(content, list) and isinstance(known, list):
        for position, (ours, theirs) in enumerate(zip(content, known, strict=True)):
            yield from _lost(ours, theirs, f"{path}[{position}]")


def _refusal(where: str, problem: str, fix: str = "mend the contract") -> SettingsError:
    return SettingsError(f"data contract {where} {problem}", fix=fix)


# --- columns --------------------------------------------------------------------------------------------------


def _column(file: str, position: int, prop: SchemaProperty) -> ColumnSpec:
    if not prop.name:
        raise _refusal(f"{file}: schema[0].properties[{position}]", "has no name")
    where = f"{file}: {prop.name}"
    if prop.physicalType not in PHYSICAL_TYPES:
        raise _refusal(f"{where}.physicalType", "is missing or unknown", f"use one of: {', '.join(PHYSICAL_TYPES)}")
    if prop.logicalType != PHYSICAL_TYPES[prop.physicalType]:
        raise _refusal(f"{where}.logicalType", f"must be {PHYSICAL_TYPES[prop.physicalType]} for {prop.physicalType}")
    if prop.physicalName not in (None, prop.name):
        raise _refusal(f"{where}.physicalName", "must equal the name")
    for key in ("properties", "items", "map"):
        if getattr(prop, key) is not None:
            raise _refusal(f"{where}.{key}", "is not supported: columns are flat")
    return ColumnSpec(
        prop.name,
        prop.logicalType,
        prop.physicalType,
        prop.classification or "",
        " ".join((prop.description or "").split()),
    )


# --- rules ----------------------------------------------------------------------------------------------------


def _rules(file: str, table: SchemaObject, names: list[str]) -> Iterator[CheckSpec]:
    properties = table.properties or []
    keys = sorted((p for p in properties if p.primaryKey), key=lambda p: p.primaryKeyPosition or 0)
    for prop in properties:
        where = f"{file}: {prop.name}"
        column = str(prop.name)
        if prop.required or prop.primaryKey:
            yield CheckSpec(f"{column} is present", Kind.NOT_NULL, (column,))
        if prop.unique or keys == [prop]:
            yield CheckSpec(f"{column} is unique", Kind.UNIQUE, (column,))
        yield from _option_rules(f"{where}.logicalTypeOptions", prop)
        if prop.enum:
            values = [entry.value for entry in prop.enum]
            yield CheckSpec(
                f"{column} is one of {_listed(values)}", Kind.ALLOWED, (column,), arguments={"values": values}
            )
        for position, quality in enumerate(prop.quality or []):
            yield _quality_rule(f"{where}.quality[{position}]", quality, column, names)
        for position, relationship in enumerate(prop.relationships or []):
            there = f"{where}.relationships[{position}]"
            if relationship.from_ is not None or not isinstance(relationship.to, str):
                raise _refusal(there, "must have 'to: table.column' and no 'from'")
            yield _reference(there, (column,), (relationship.to,))
    if len(keys) > 1:
        columns = tuple(str(key.name) for key in keys)
        yield CheckSpec(f"{' + '.join(columns)} is unique", Kind.UNIQUE, columns)
    for position, quality in enumerate(table.quality or []):
        yield _quality_rule(f"{file}: quality[{position}]", quality, None, names)
    for position, relationship in enumerate(table.relationships or []):
        there = f"{file}: relationships[{position}]"
        source, target = (_as_tuple(side) for side in (relationship.from_, relationship.to))
        if not source or len(source) != len(target):
            raise _refusal(there, "needs as many columns in 'from' as in 'to'")
        own = tuple(name.removeprefix(f"{table.name}.") for name in source)
        for name in own:
            _known_column(there, name, names)
        yield _reference(there, own, target)


def _as_tuple(value: str | list[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _option_rules(where: str, prop: SchemaProperty) -> Iterator[CheckSpec]:
    column, logical_type = str(prop.name), str(prop.logicalType)
    options = prop.logicalTypeOptions or {}
    for key in options:
        if key not in OPTIONS[logical_type]:
            usable = ", ".join(OPTIONS[logical_type]) or "none"
            raise _refusal(f"{where}.{key}", "cannot be checked", f"options of a {logical_type}: {usable}")
    if "pattern" in options:
        pattern = _pattern(f"{where}.pattern", options["pattern"])
        yield CheckSpec(f"{column} matches {pattern}", Kind.PATTERN, (column,), arguments={"pattern": pattern})
    lengths = {
        bound: _number(f"{where}.{key}", options[key], whole=True)
        for bound, key in (("minimum", "minLength"), ("maximum", "maxLength"))
        if key in options
    }
    if lengths:
        yield CheckSpec(f"{column} has {_bounds(lengths)} characters", Kind.LENGTH, (column,), arguments=lengths)
    bounds = {
        key: _date(f"{where}.{key}", options[key])
        if logical_type == "date"
        else _number(f"{where}.{key}", options[key], whole=False)
        for key in _RANGE
        if key in options
    }
    for key in ("minimum", "maximum"):
        if {key, f"exclusive{key.title()}"} <= set(bounds):
            raise _refusal(f"{where}.{key}", f"and exclusive{key.title()} cannot both apply", "keep one")
    if bounds:
        yield CheckSpec(f"{column} is {_bounds(bounds)}", Kind.RANGE, (column,), arguments=bounds)


def _bounds(bounds: Mapping[str, object]) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    return " and ".join(f"{words[key]} {bounds[key]}" for key in words if key in bounds)


def _listed(values: list[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:6])
    return f"{shown} … ({len(values)} values)" if len(values) > 6 else shown


def _quality_rule(where: str, quality: DataQuality, column: str | None, names: list[str]) -> CheckSpec:
    """One entry of a ``quality`` list, of a column or (``column`` None) of the table."""
    try:
        severity = Severity(quality.severity or "")
    except ValueError:
        raise _refusal(f"{where}.severity", "is missing or unknown", "use error or warning") from None
    for key in ("method", "schedule", "scheduler", "customProperties"):
        if getattr(quality, key):
            raise _refusal(f"{where}.{key}", "would be ignored: rules run with every partition", "remove it")
    kind = quality.type or "library"
    if kind == "library":
        return _library_rule(where, quality, column, names, severity)
    if kind == "custom":
        return _expectation_rule(where, quality, column, names, severity)
    raise _refusal(
        f"{where}.type", f"'{kind}' cannot be run", "use library or custom; put prose into the column's description"
    )


def _library_rule(
    where: str, quality: DataQuality, column: str | None, names: list[str], severity: Severity
) -> CheckSpec:
    known = COLUMN_METRICS if column else TABLE_METRICS
    if quality.metric not in known:
        raise _refusal(f"{where}.metric", f"'{quality.metric}' is unknown here", f"use one of: {', '.join(known)}")
    for key in ("rule", "query", "engine", "implementation"):
        if getattr(quality, key):
            raise _refusal(f"{where}.{key}", "has no place in a library rule", "remove it")
    limit = _limit(where, quality)
    arguments = dict(quality.arguments or {})
    columns: tuple[str, ...] = (column,) if column else ()
    checked: dict[str, object] = {}
    match quality.metric:
        case "nullValues":
            kind = Kind.NOT_NULL
        case "missingValues":
            kind = Kind.NOT_MISSING
            checked["values"] = _values(where, arguments, "missingValues")
        case "invalidValues" if set(arguments) == {"pattern"}:
            kind = Kind.PATTERN
            checked["pattern"] = _pattern(f"{where}.arguments.pattern", arguments.pop("pattern"))
        case "invalidValues":
            kind = Kind.ALLOWED
            checked["values"] = _values(where, arguments, "validValues")
        case "duplicateValues":
            kind = Kind.UNIQUE
            if column is None:
                columns = tuple(str(name) for name in _values(where, arguments, "properties"))
        case _:
            kind = Kind.ROW_COUNT
    for key in arguments:
        raise _refusal(f"{where}.arguments.{key}", f"is no argument of {quality.metric}")
    for name in columns:
        _known_column(f"{where}.arguments.properties", name, names)
    if kind is Kind.ROW_COUNT and limit.percent:
        raise _refusal(f"{where}.unit", "cannot be percent for rowCount", "use rows")
    none_allowed = limit.operator == "mustBe" and limit.operand == 0 and kind is not Kind.ROW_COUNT
    return CheckSpec(
        quality.name or f"{' + '.join((*columns, ''))[:-3] or 'table'}: {quality.metric} {limit}",
        kind,
        columns,
        severity,
        checked,
        None if none_allowed else limit,
        (quality.description or "").strip(),
    )


def _values(where: str, arguments: dict[str, Any], key: str) -> list[Any]:
    values = arguments.pop(key, None)
    if not isinstance(values, list) or not values:
        raise _refusal(f"{where}.arguments", f"must hold {key}, a list")
    if not all(isinstance(value, str | int | float | bool | None) for value in values):
        raise _refusal(f"{where}.arguments.{key}", "must hold plain values", "quote dates and the like")
    return values


def _limit(where: str, quality: DataQuality) -> Limit:
    given = [name for name in OPERATORS if getattr(quality, name) is not None]
    if len(given) != 1:
        raise _refusal(where, "needs exactly one limit", f"use one of: {', '.join(OPERATORS)}")
    if quality.unit not in (None, "rows", "percent"):
        raise _refusal(f"{where}.unit", "is unknown", "use rows or percent")
    operand = getattr(quality, given[0])
    pair = isinstance(operand, list)
    numbers = tuple(_number(f"{where}.{given[0]}", number, whole=False) for number in (operand if pair else [operand]))
    if pair and numbers[0] > numbers[1]:
        raise _refusal(f"{where}.{given[0]}", "must have the smaller number first")
    return Limit(given[0], (numbers[0], numbers[1]) if pair else numbers[0], percent=quality.unit == "percent")


def _expectation_rule(
    where: str, quality: DataQuality, column: str | None, names: list[str], severity: Severity
) -> CheckSpec:
    if (quality.engine or "").replace("-", "").replace("_", "").lower() != "greatexpectations":
        raise _refusal(f"{where}.engine", "is unknown", "use greatExpectations")
    for key in ("metric", "rule", "query", "arguments", "unit", *OPERATORS):
        if getattr(quality, key) is not None:
            raise _refusal(f"{where}.{key}", "has no place in a custom rule", "put limits into kwargs")
    implementation = quality.implementation
    if isinstance(implementation, str):
        try:
            implementation = yaml.load(implementation, Loader=UniqueKeysLoader)  # noqa: S506 - a subclass of SafeLoader
        except yaml.YAMLError:
            implementation = None
    if not isinstance(implementation, dict) or not set(implementation) <= {"type", "kwargs"}:
        raise _refusal(f"{where}.implementation", "must hold type and kwargs, nothing else")
    name, kwargs = implementation.get("type"), dict(implementation.get("kwargs") or {})
    if name not in EXPECTATIONS:
        close = _closest(str(name), EXPECTATIONS)
        raise _refusal(f"{where}.implementation.type", f"'{name}' is no expectation that can run here", close)
    expectation = EXPECTATIONS[name]
    if column is not None and "column" in expectation.required:
        kwargs.setdefault("column", column)
    for key in kwargs:
        if key not in expectation.required | expectation.optional:
            close = _closest(key, expectation.required | expectation.optional)
            raise _refusal(f"{where}.implementation.kwargs.{key}", f"is no argument of {name}", close)
    for key in sorted(expectation.required - set(kwargs)):
        raise _refusal(f"{where}.implementation.kwargs", f"lacks {key}")
    columns = _columns_of(f"{where}.implementation.kwargs", kwargs, names)
    words = ", ".join(f"{key}={value}" for key, value in kwargs.items() if key not in COLUMN_ARGUMENTS)
    title = quality.name or f"{' + '.join(columns) or 'table'}: {name}({words})"
    arguments = {"type": name, "kwargs": kwargs}
    return CheckSpec(
        title, Kind.EXPECTATION, columns, severity, arguments, description=(quality.description or "").strip()
    )


def _columns_of(where: str, kwargs: Mapping[str, Any], names: list[str]) -> tuple[str, ...]:
    """The columns an expectation reads, its row condition's included."""
    columns: list[str] = []
    for key in COLUMN_ARGUMENTS:
        if key in kwargs:
            columns += kwargs[key] if isinstance(kwargs[key], list) else [kwargs[key]]
    condition = kwargs.get("row_condition")
    if condition is not None:
        found = re.findall(r'col\("([^"]+)"\)', str(condition))
        if kwargs.get("condition_parser") != "great_expectations" or len(found) != 1:
            raise _refusal(
                f"{where}.row_condition",
                "must be one condition in Great Expectations' own grammar",
                """write e.g. row_condition: 'col("Rows").notnull()' and condition_parser: great_expectations""",
            )
        columns += found
    for name in columns:
        _known_column(where, str(name), names)
    return tuple(dict.fromkeys(columns))


def _reference(where: str, columns: tuple[str, ...], target: tuple[str, ...]) -> CheckSpec:
    tables = {name.partition(".")[0] for name in target}
    others = tuple(name.partition(".")[2] for name in target)
    if len(tables) != 1 or not all(re.fullmatch(r"\w+", other) for other in others):
        raise _refusal(f"{where}.to", "must name columns of one table as table.column")
    table = tables.pop()
    return CheckSpec(
        f"{' + '.join(columns)} exists in {table}",
        Kind.REFERENCE,
        columns,
        arguments={"table": table, "columns": list(others)},
    )


def _check_references(contract: Contract, contracts: Mapping[str, Contract], file: str) -> None:
    for rule in contract.rules:
        if rule.kind is not Kind.REFERENCE:
            continue
        other = contracts.get(rule.arguments["table"])
        if other is None:
            raise _refusal(file, f"refers to table '{rule.arguments['table']}', which has no contract")
        for mine, theirs in zip(rule.columns, rule.arguments["columns"], strict=True):
            there, here = other.column(theirs), contract.column(mine)
            if there is None:
                raise _refusal(file, f"refers to column '{other.name}.{theirs}', which does not exist")
            if here is not None and here.physical_type != there.physical_type:
                raise _refusal(file, f"refers from {mine} to {other.name}.{theirs}, which is of another type")


# --- values ---------------------------------------------------------------------------------------------------


def _known_column(where: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        raise _refusal(where, f"names the unknown column '{name}'", _closest(name, names))


def _closest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{found[0]}'?" if found else "see docs/contracts.md"


def _pattern(where: str, value: object) -> str:
    try:
        re.compile(python_pattern(str(value)))
    except re.error as error:
        raise _refusal(where, f"is no regular expression ({error.msg})") from error
    return str(value)


def _number(where: str, value: object, *, whole: bool) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise _refusal(where, f"must be a {'whole ' if whole else ''}number")
    return value


def _date(where: str, value: object) -> str:
    """ISO text; YAML turns an unquoted date into a date, which is as good."""
    try:
        return dt.date.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise _refusal(where, "must be a date, YYYY-MM-DD") from error
