"""Data Docs: complete, linked, offline, and without a value of the data."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pacs_pipeline.contracts import CheckSpec, ColumnSpec, Contract, Judgement, Kind, fingerprint, validate
from pacs_pipeline.contracts.data_docs import write_data_docs
from pacs_pipeline.records import ContractResult, Partition, RuleResult, Severity, Verdict, VerdictStatus
from pacs_pipeline_tests.unit.contracts.population import CONTRACTS, Tables, write

SENTINEL = "SENTINEL^JANE^19610203"
DAY = Partition("hamburg", dt.date(2026, 3, 1))


def verdict(judged: Judgement) -> Verdict:
    return Verdict("d" * 64, fingerprint(judged.contracts), judged.results)


def small(status: VerdictStatus = VerdictStatus.PASSED, rule: str = "ward is unique") -> Judgement:
    """A judgement on one rule, made without the engine."""
    check = CheckSpec(rule, Kind.UNIQUE, ("ward",))
    contract = Contract("beds", "1.0.0", (ColumnSpec("ward", "string", "string"),), (check,), "stewards", "Beds.")
    broken = 0 if status is VerdictStatus.PASSED else 2
    message = f"{broken} of 9 rows" if broken else ""
    result = RuleResult(rule, "ward", Severity.ERROR, status, 9, broken, message)
    return Judgement((contract,), (ContractResult("beds", "1.0.0", status, (result,)),))


def publish(folder: Path, judged: Judgement, partition: Partition = DAY) -> Path:
    return write_data_docs(folder, partition, judged, verdict(judged))


def pages(folder: Path) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}


@pytest.fixture
def withheld(contracts: tuple[Contract, ...], tables: Tables, tmp_path: Path) -> Judgement:
    """Every string of every table is the sentinel, and one table is missing."""
    for rows in tables.values():
        for row in rows:
            row.update({column: SENTINEL for column, value in row.items() if isinstance(value, str)})
    paths = write(contracts, tables, tmp_path / "zone")
    paths["studies"].unlink()
    return validate(contracts, paths)


def test_no_value_of_the_data_is_in_the_pages(withheld: Judgement, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    publish(folder, withheld)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len([path for path in written if path.suffix == ".html"]) == len(withheld.results) + 3
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "SENTINEL" not in text
        assert "JANE" not in html.unescape(text)


def test_every_rule_is_on_its_contracts_page(withheld: Judgement, tmp_path: Path) -> None:
    index = publish(tmp_path, withheld)
    overview = html.unescape(index.read_text(encoding="utf-8"))
    for result in withheld.results:
        page = html.unescape((index.parent / f"{result.contract}.html").read_text(encoding="utf-8"))
        for rule in result.rules:
            assert rule.rule in page
        for rule in result.failing:
            assert rule.rule in overview
            assert rule.message in overview
    assert "Nothing of this partition is published" in overview
    assert "the table is missing" in html.unescape((index.parent / "studies.html").read_text(encoding="utf-8"))


def test_pages_need_no_network_and_no_link_is_dead(withheld: Judgement, tmp_path: Path) -> None:
    publish(tmp_path, withheld)
    for path, text in pages(tmp_path).items():
        assert not re.search(r"(https?:)?//[a-z]", text), path
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            target, _, anchor = link.partition("#")
            there = path if not target else path.parent / target
            assert there.is_file(), f"{path}: {link}"
            if anchor:
                assert f'id="{anchor}"' in text


def test_words_of_a_contract_are_text_not_markup(tmp_path: Path) -> None:
    rule = "<script>alert('x')</script> matches ^a|b$ & ${rule} $$ {{ 7*7 }}"
    index = publish(tmp_path, small(VerdictStatus.FAILED, rule))
    for path in (index, index.parent / "beds.html", index.parent.parent / "index.html"):
        text = path.read_text(encoding="utf-8")
        assert "<script>alert" not in text
        assert rule in html.unescape(text), path


def test_the_indexes_list_every_partition_with_its_verdict(tmp_path: Path) -> None:
    days = [dt.date(2025, 12, 31), dt.date(2026, 1, 1), dt.date(2026, 1, 2)]
    states = [VerdictStatus.PASSED, VerdictStatus.FAILED, VerdictStatus.COULD_NOT_RUN]
    for site in ("berlin", "hamburg"):
        for day, status in zip(days, states, strict=True):
            publish(tmp_path, small(status), Partition(site, day))
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"site=berlin", "site=hamburg"}
    home = (tmp_path / "index.html").read_text(encoding="utf-8")
    site = (tmp_path / "site=berlin" / "index.html").read_text(encoding="utf-8")
    for name in ("berlin", "hamburg"):
        assert f'href="site={name}/index.html"' in home
    assert home.count("1 could-not-run") == 2
    for day, status in zip(days, states, strict=True):
        link = f'<a class="{status.value}" href="study_date={day}/index.html"'
        assert link in site
        assert (tmp_path / "site=berlin" / f"study_date={day}" / "index.html").is_file()
    withheld = site[site.index("Withheld") : site.index("All study dates")]
    assert "beds: ward is unique" in withheld
    assert "2026-01-02" in withheld
    assert "2025-12-31" not in withheld


def test_a_new_verdict_replaces_the_old_one(tmp_path: Path) -> None:
    publish(tmp_path, small(VerdictStatus.FAILED))
    index = publish(tmp_path, small(VerdictStatus.PASSED))
    site = (tmp_path / "site=hamburg" / "index.html").read_text(encoding="utf-8")
    assert "Withheld" not in site
    assert '<a class="passed" href="study_date=2026-03-01' in site
    assert "Nothing of this partition" not in index.read_text(encoding="utf-8")


def test_adding_a_partition_leaves_the_others_alone(tmp_path: Path) -> None:
    publish(tmp_path, small())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("site=*/study_date=*/*")}
    publish(tmp_path, small(), Partition("hamburg", dt.date(2026, 3, 2)))
    publish(tmp_path, small(), Partition("berlin", dt.date(2026, 3, 1)))
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_damaged_summary_is_mended_with_its_partition(tmp_path: Path) -> None:
    index = publish(tmp_path, small())
    for path in (index.parent / "summary.json", tmp_path / "site=hamburg" / "months" / "2026-03.json"):
        path.write_text("{", encoding="utf-8")
    publish(tmp_path, small(), Partition("hamburg", dt.date(2026, 4, 1)))
    publish(tmp_path, small())
    site = (tmp_path / "site=hamburg" / "index.html").read_text(encoding="utf-8")
    assert "2 passed" in site


def test_writers_in_several_processes_lose_no_partition(tmp_path: Path) -> None:
    code = """
import datetime as dt, sys
from pathlib import Path
from pacs_pipeline_tests.unit.contracts.test_data_docs import publish, small
from pacs_pipeline.records import Partition
for day in range(int(sys.argv[2]), 21, 2):
    publish(Path(sys.argv[1]), small(), Partition("hamburg", dt.date(2026, 3, day)))
"""
    root = CONTRACTS.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(first)], cwd=root, env=environment)
        for first in (1, 2)
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    site = (tmp_path / "site=hamburg" / "index.html").read_text(encoding="utf-8")
    assert "20 passed" in site
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_same_verdict_gives_the_same_pages(withheld: Judgement, tmp_path: Path) -> None:
    publish(tmp_path, withheld)
    first = pages(tmp_path)
    publish(tmp_path, withheld)
    assert pages(tmp_path) == first


def test_a_warning_is_shown_on_a_partition_that_passed(tmp_path: Path) -> None:
    judged = small(VerdictStatus.FAILED)
    (result,) = judged.results
    warning = dataclasses.replace(result.rules[0], severity=Severity.WARNING)
    passed = dataclasses.replace(result, status=VerdictStatus.PASSED, rules=(warning,))
    index = publish(tmp_path, Judgement(judged.contracts, (passed,)))
    text = index.read_text(encoding="utf-8")
    assert "2 of 9 rows" in text
    assert "Nothing of this partition" not in text
    assert 'mark warning">warning' in (index.parent / "beds.html").read_text(encoding="utf-8")
