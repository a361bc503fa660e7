"""Data Docs: a static site of verdicts, made of contracts and counts only, readable without a network.

Great Expectations renders the page of each contract's result; the pages that lead there are the project's
own, since the engine's index is rebuilt from every result there ever was. Adding a partition writes its own
folder, one month's summary, its site's calendar and the list of sites.
"""

from __future__ import annotations

import calendar
import datetime as dt
import fcntl
import html
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pacs_pipeline.contracts.checks import CheckSpec, Contract
from pacs_pipeline.contracts.gx import Judgement, expectation, is_by_row, quiet_engine
from pacs_pipeline.records import ContractResult, Partition, RuleResult, Severity, Verdict, VerdictStatus

STYLES = "data_docs.css"
_STATUSES = tuple(status.value for status in VerdictStatus)
_ATTENTION = 50  # withheld partitions that a site's page lists by name


def write_data_docs(folder: Path, partition: Partition, judged: Judgement, verdict: Verdict) -> Path:
    """Write the pages of one partition and bring the indexes up to date; returns the partition's page.

    ``verdict`` must be the one made of ``judged``. Safe to repeat and to call from several processes at once.
    ``folder`` is created when missing.
    """
    contracts = {contract.name: contract for contract in judged.contracts}
    place = folder / partition.folder
    place.mkdir(parents=True, exist_ok=True)
    with quiet_engine():
        for result in verdict.results:
            page = _contract_page(partition, contracts[result.contract], result)
            _write(place / f"{result.contract}.html", page)
    status = verdict.status.value
    index = _render(
        "partition.html.j2",
        home="../../",
        title=f"{partition}: {status}",
        crumbs=[("Data Docs", "../../index.html"), (partition.site, "../index.html")],
        heading=partition.key,
        status=status,
        verdict=verdict,
        results=[(result, _worst_first(result), contracts[result.contract]) for result in verdict.results],
    )
    _write(place / "index.html", index)
    _write(place / "summary.json", json.dumps(_summary(partition, verdict)))
    _write(folder / STYLES, _environment().get_template(STYLES).render())
    with _alone(folder):
        _index_site(folder / f"site={partition.site}", partition)
        _index_sites(folder)
    return place / "index.html"


# --- the page of a contract, by Great Expectations ------------------------------------------------------------


def _contract_page(partition: Partition, contract: Contract, result: ContractResult) -> str:
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    checks = {check.rule: check for check in contract.rules}
    passed = sum(rule.status is VerdictStatus.PASSED for rule in result.rules)
    document = ValidationResultsPageRenderer().render(
        ExpectationSuiteValidationResult(
            success=result.status is VerdictStatus.PASSED,
            results=[_engine_result(contract, checks[rule.rule], rule) for rule in result.rules],
            suite_name=result.contract,
            statistics={
                "evaluated_expectations": len(result.rules),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(result.rules) - passed,
                "success_percent": 100.0 * passed / len(result.rules) if result.rules else None,
            },
            meta={},
        )
    )
    overview = document.sections[0]
    overview.content_blocks = overview.content_blocks[1:2]  # its header and run info say what our header says
    document.page_title = f"{partition}: {result.contract} {result.status.value}"
    view: Any = DefaultJinjaPageView()
    view.env.loader = _loader(view.env.loader)
    page: str = view.render(
        document,
        site=partition.site,
        study_date=partition.key,
        contract=f"{result.contract} {result.version}",
        status=result.status.value,
    )
    return re.sub(r"\s*\n\s*", "\n", page)


def _engine_result(contract: Contract, check: CheckSpec, rule: RuleResult) -> Any:
    """The result of a rule in the engine's own terms, made of counts."""
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    name, kwargs = expectation(contract, check)
    if rule.status is VerdictStatus.COULD_NOT_RUN:
        result: dict[str, Any] = {}
    elif is_by_row(check):
        result = {
            "element_count": rule.rows,
            "unexpected_count": rule.unexpected,
            "unexpected_percent": 100.0 * rule.unexpected / rule.rows if rule.rows else 0.0,
            "partial_unexpected_list": [],
        }
    else:
        result = {"observed_value": f"{rule.rows} rows"}
    return ExpectationValidationResult(
        success=rule.status is VerdictStatus.PASSED,
        expectation_config=ExpectationConfiguration(
            type=name, kwargs=kwargs, description=_wording(rule, finding="unexpected_count" not in result)
        ),
        result=result,
        # never "raised": the engine would offer a traceback, and there is none to show
        exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
    )


def _wording(rule: RuleResult, *, finding: bool) -> str:
    """The rule and its finding as HTML, for the engine's templates neither escape it nor leave a ``$`` alone."""
    marks = ["warning"] if rule.severity is Severity.WARNING else []
    marks += ["could-not-run"] if rule.status is VerdictStatus.COULD_NOT_RUN else []
    mark = "".join(f' <span class="mark {mark}">{mark}</span>' for mark in marks)
    found = f'\n<span class="finding">{html.escape(rule.message)}</span>' if finding and rule.message else ""
    return f"{html.escape(rule.rule)}{mark}{found}".replace("$", "&#36;")


# --- indexes --------------------------------------------------------------------------------------------------


def _worst_first(result: ContractResult) -> list[RuleResult]:
    """The rules that did not pass: broken before not run, for the first often explains the second."""
    return sorted(result.failing, key=lambda rule: (rule.severity is not Severity.ERROR, rule.status.value != "failed"))


def _summary(partition: Partition, verdict: Verdict) -> dict[str, Any]:
    failing = [
        f"{result.contract}: {rule.rule}"
        for result in verdict.results
        for rule in _worst_first(result)
        if rule.severity is Severity.ERROR or rule.status is VerdictStatus.COULD_NOT_RUN
    ]
    return {"key": partition.key, "status": verdict.status.value, "failing": failing[:5]}


def _index_site(site: Path, partition: Partition) -> None:
    """The calendar of one site: this month from its partitions, the other months from their summaries."""
    this_month = partition.key[:7]
    days = [_read(path) for path in site.glob(f"study_date={this_month}-*/summary.json")]
    months = site / "months"
    months.mkdir(exist_ok=True)
    by_key = {day["key"]: day for day in days if day}
    _write(months / f"{this_month}.json", json.dumps(by_key, sort_keys=True))
    everything = {path.stem: _read(path) or {} for path in sorted(months.glob("*.json"), reverse=True)}
    all_days = sorted((day for month in everything.values() for day in month.values()), key=lambda d: str(d["key"]))
    withheld = [day for day in reversed(all_days) if day["status"] != VerdictStatus.PASSED]
    counts = Counter(str(day["status"]) for day in all_days)
    _write(
        site / "index.html",
        _render(
            "site.html.j2",
            home="../",
            title=f"{partition.site}: Data Docs",
            crumbs=[("Data Docs", "../index.html")],
            heading=partition.site,
            status="",
            statuses=_STATUSES,
            counts=counts,
            attention=withheld[:_ATTENTION],
            more=max(0, len(withheld) - _ATTENTION),
            months=[_month(name, month) for name, month in everything.items()],
        ),
    )
    last = all_days[-1]["key"] if all_days else partition.key
    summary = {"name": partition.site, "days": len(all_days), "last": last, "counts": counts}
    _write(site / "summary.json", json.dumps(summary))


def _month(name: str, days: Mapping[str, Any]) -> dict[str, Any]:
    first = dt.date.fromisoformat(f"{name}-01")
    length = calendar.monthrange(first.year, first.month)[1]
    return {
        "name": name,
        "offset": first.weekday(),
        "days": [(number, days.get(f"{name}-{number:02d}")) for number in range(1, length + 1)],
    }


def _index_sites(folder: Path) -> None:
    sites = [summary for path in sorted(folder.glob("site=*/summary.json")) if (summary := _read(path))]
    for site in sites:
        site["counts"] = Counter(site["counts"])
    page = _render(
        "sites.html.j2",
        home="",
        title="Data Docs",
        crumbs=[],
        heading="Data Docs",
        status="",
        statuses=_STATUSES,
        sites=sites,
    )
    _write(folder / "index.html", page)


# --- files ----------------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any] | None:
    """A summary; None when it is gone or damaged, for it is written again with its partition."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(path: Path, text: str) -> None:
    """Replace ``path`` in one step: a reader sees the old page or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer of the indexes at a time, so that no partition is lost from them."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _loader(*others: Any) -> Any:
    from jinja2 import ChoiceLoader, PackageLoader

    return ChoiceLoader([PackageLoader("pacs_pipeline.contracts"), *others])


def _environment() -> Any:
    from jinja2 import Environment, StrictUndefined, select_autoescape

    return Environment(
        loader=_loader(),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, **values: Any) -> str:
    text: str = _environment().get_template(template).render(**values)
    return text
