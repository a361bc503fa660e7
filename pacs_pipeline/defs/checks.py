"""Asset checks: one per data contract on the verdict, and whether the books close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from pacs_pipeline.records import Books, ContractResult, Severity, Verdict, VerdictStatus


def contract_specs(site: str, contracts: Sequence[str]) -> list[dg.AssetCheckSpec]:
    """One blocking check per contract on the verdict of ``site``."""
    return [
        dg.AssetCheckSpec(
            _contract_check(name),
            asset=dg.AssetKey([site, "verdict"]),
            blocking=True,
            description=f"data_contracts/{name}.odcs.yaml on the partition's {name} table",
        )
        for name in contracts
    ]


def contract_results(verdicts: Mapping[str, Verdict], contracts: Sequence[str]) -> list[dg.AssetCheckResult]:
    """The results of all partitions of a run (keys of ``verdicts``), one check per contract."""
    return [_contract_result(name, verdicts) for name in contracts]


def books_spec(site: str) -> dg.AssetCheckSpec:
    """The check that fails when the books of a partition do not close."""
    return dg.AssetCheckSpec(
        "books_close",
        asset=dg.AssetKey([site, "books"]),
        description="expected = published + excluded + quarantined + unavailable, and nothing else is wrong",
    )


def books_result(books: Mapping[str, Books]) -> dg.AssetCheckResult:
    """Passed when the books of every partition of the run close."""
    open_books = {key: b for key, b in books.items() if not b.closed}
    problems = [f"{key}: {_why_open(b)}" for key, b in sorted(open_books.items())]
    return dg.AssetCheckResult(
        check_name="books_close",
        passed=not open_books,
        description="; ".join(problems) or "every instance is accounted for",
        metadata={
            "expected": sum(b.expected for b in books.values()),
            "published": sum(b.published for b in books.values()),
            "excluded": sum(b.excluded for b in books.values()),
            "quarantined": sum(b.quarantined for b in books.values()),
            "unavailable": sum(b.unavailable for b in books.values()),
            "partitions_open": sorted(open_books),
            "partitions": dg.MetadataValue.md(_books_table(books)),
        },
    )


def _books_table(books: Mapping[str, Books]) -> str:
    """A line for each partition, those that need a look first."""
    head = "| partition | expected | published | excluded | quarantined | unavailable | books |"
    rows = [
        f"| {key} | {b.expected} | {b.published} | {b.excluded} | {b.quarantined} | {b.unavailable} "
        f"| {'closed' if b.closed else f'not closed: {_why_open(b)}'} |"
        for key, b in sorted(books.items(), key=lambda item: (item[1].closed, item[0]))
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def _why_open(books: Books) -> str:
    if books.problems:
        return ", ".join(books.problems)
    accounted = books.published + books.excluded + books.quarantined + books.unavailable
    return f"{books.expected} expected, {accounted} accounted for"


def _contract_check(name: str) -> str:
    return f"contract_{name}"


def _contract_result(name: str, verdicts: Mapping[str, Verdict]) -> dg.AssetCheckResult:
    judged = {key: next((r for r in verdict.results if r.contract == name), None) for key, verdict in verdicts.items()}
    bad = {key: r for key, r in judged.items() if r is None or r.status is not VerdictStatus.PASSED}
    lines = [f"{key}: {_failing(r)}" for key, r in sorted(bad.items())]
    could_not_run = any(r is None or r.status is VerdictStatus.COULD_NOT_RUN for r in bad.values())
    warnings = sum(rule.severity is Severity.WARNING for r in judged.values() if r is not None for rule in r.failing)
    return dg.AssetCheckResult(
        check_name=_contract_check(name),
        passed=not bad,
        description="; ".join(lines) or f"all rules passed{f', {warnings} warnings' if warnings else ''}",
        metadata={
            "verdict": "could-not-run" if could_not_run else "failed" if bad else "passed",
            "rules": sum(len(r.rules) for r in judged.values() if r is not None),
            "failing": dg.MetadataValue.md(_table(judged)),
        },
    )


def _failing(result: ContractResult | None) -> str:
    if result is None:
        return "could not run: there is no such contract"
    decisive = [r for r in result.failing if r.severity is Severity.ERROR or r.status is VerdictStatus.COULD_NOT_RUN]
    names = [rule.rule for rule in decisive]
    return f"{result.status.value} ({', '.join(names)})"


def _table(judged: Mapping[str, ContractResult | None]) -> str:
    rows: Sequence[str] = [
        f"| {key} | {rule.rule} | {rule.severity.value} | {rule.status.value} | {rule.unexpected} of {rule.rows} |"
        for key, result in sorted(judged.items())
        if result is not None
        for rule in result.failing
    ]
    return "\n".join(["| partition | rule | severity | verdict | rows |", "|---|---|---|---|---|", *rows])
