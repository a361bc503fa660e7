"""The definitions load, the schedule asks for the right window, and every check can fail."""

import datetime as dt
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pacs_pipeline.defs import build_defs
from pacs_pipeline.defs.checks import books_result, contract_results
from pacs_pipeline.defs.partitions import lookback
from pacs_pipeline.defs.sensors import keys_of_run
from pacs_pipeline.records import Books, ContractResult, Partition, RuleResult, Severity, Verdict, VerdictStatus
from pacs_pipeline.settings import Settings, load_settings

pytestmark = pytest.mark.filterwarnings("default")  # Dagster marks what it offers as beta
ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings() -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PACS_PIPELINE_CONFIG", raising=False)
        yield load_settings(ROOT / "pacs_pipeline.example.yaml")


def test_every_asset_says_what_it_is(settings: Settings) -> None:
    graph = build_defs(settings).resolve_asset_graph()
    names = ("census", "landed", "staged", "verdict", "published", "books")
    of_sites = {dg.AssetKey([s, n]) for s in ("north", "south") for n in names}
    assert graph.get_all_asset_keys() == of_sites | {dg.AssetKey("books_heat_map")}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        assert node.owners
        assert node.kinds
        assert (node.partitions_def is not None) is (key in of_sites)


def test_all_names_fit_together(settings: Settings) -> None:
    jobs = {job.name for job in build_defs(settings).get_repository_def().get_all_jobs()}
    assert {"north_chain", "south_census", "draw_books_heat_map"} <= jobs


def test_each_contract_is_a_blocking_check(settings: Settings) -> None:
    graph = build_defs(settings).resolve_asset_graph()
    checks = {key.name for key in graph.asset_check_keys if key.asset_key == dg.AssetKey(["north", "verdict"])}
    assert checks == {f"contract_{name}" for name in ("census", "instances", "series", "studies")}


def test_the_schedule_asks_for_the_look_back_window_in_the_sites_zone(settings: Settings) -> None:
    schedule = build_defs(settings).resolve_schedule_def("south_nightly")
    tick = dt.datetime(2024, 6, 15, 1, 0, tzinfo=zoneinfo.ZoneInfo("America/New_York"))
    (request,) = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=tick)).run_requests or ()
    assert list(keys_of_run(request.tags)) == [f"2024-06-{day:02d}" for day in range(8, 15)]


def test_the_window_is_the_same_length_when_the_clocks_change(settings: Settings) -> None:
    site = settings.site("north")
    for day in (dt.datetime(2024, 3, 31, 0, 30), dt.datetime(2024, 4, 1, 0, 30), dt.datetime(2024, 10, 28, 0, 30)):
        first, last = lookback(site, day.replace(tzinfo=site.zone)) or pytest.fail("no window")
        assert last == day.date() - dt.timedelta(days=1)
        assert (last - first).days == site.lookback_days - 1


def test_before_the_first_day_is_over_nothing_is_asked(settings: Settings) -> None:
    site = settings.site("north")
    assert lookback(site, dt.datetime(2024, 1, 1, 12, tzinfo=site.zone)) is None


def verdict(status: VerdictStatus) -> Verdict:
    rule = RuleResult("size is positive", "size", Severity.ERROR, status, rows=10, unexpected=3)
    return Verdict("digest", "contracts", (ContractResult("instances", "1.0.0", status, (rule,)),))


@pytest.mark.parametrize("status", [VerdictStatus.FAILED, VerdictStatus.COULD_NOT_RUN])
def test_a_contract_check_fails_and_names_partition_and_rule(status: VerdictStatus) -> None:
    verdicts = {"2024-03-04": verdict(VerdictStatus.PASSED), "2024-03-05": verdict(status)}
    (result,) = contract_results(verdicts, ["instances"])
    assert not result.passed
    assert result.description is not None
    assert "2024-03-05" in result.description
    assert "size is positive" in result.description
    assert "2024-03-04" not in result.description


def test_a_contract_that_was_not_judged_is_not_passed() -> None:
    (result,) = contract_results({"2024-03-04": verdict(VerdictStatus.PASSED)}, ["studies"])
    assert not result.passed


def test_a_contract_check_passes() -> None:
    (result,) = contract_results({"2024-03-04": verdict(VerdictStatus.PASSED)}, ["instances"])
    assert result.passed


def test_the_books_check_fails_when_an_instance_is_missing() -> None:
    partition = Partition("north", dt.date(2024, 3, 4))
    closed = Books(partition, expected=10, published=6, excluded=1, quarantined=2, unavailable=1)
    open_ = Books(partition, expected=11, published=6, excluded=1, quarantined=2, unavailable=1)
    assert books_result({"2024-03-04": closed}).passed
    failed = books_result({"2024-03-04": closed, "2024-03-05": open_})
    assert not failed.passed
    assert failed.description is not None
    assert "2024-03-05: 11 expected, 10 accounted for" in failed.description
    table = str(failed.metadata["partitions"].value).splitlines()
    assert table[2].startswith("| 2024-03-05 | 11 | 6 | 1 | 2 | 1 | not closed")  # what needs a look comes first
    assert table[3] == "| 2024-03-04 | 10 | 6 | 1 | 2 | 1 | closed |"


def test_the_books_check_fails_on_a_problem_even_when_the_sums_agree() -> None:
    partition = Partition("north", dt.date(2024, 3, 4))
    strays = Books(partition, 10, 10, 0, 0, 0, ("2 rows of the warehouse belong to no expected instance",))
    failed = books_result({"2024-03-04": strays})
    assert not failed.passed
    assert "belong to no expected instance" in str(failed.metadata["partitions"].value)
