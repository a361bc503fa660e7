"""What the staleness sensor asks for: exactly the stale partitions, once per state and day, no site starving."""

import datetime as dt

import dagster as dg

from pacs_pipeline.defs.sensors import Requests, decide
from pacs_pipeline.records import Partition, Stage
from pacs_pipeline.stages.staleness import Stale

TODAY = {"north": dt.date(2024, 3, 10), "south": dt.date(2024, 3, 9)}
JOBS = {"north": "north_chain", "south": "south_chain"}


def stale(site: str, day: int, stage: Stage = Stage.HARVEST, key: str = "k1") -> Stale:
    return Stale(Partition(site, dt.date(2024, 3, day)), stage, "because", key)


def ask(stales: list[Stale], **more: object) -> Requests:
    return decide(stales, **{"jobs": JOBS, "running": set(), "today": TODAY, **more})  # type: ignore[arg-type]


def test_a_request_names_job_partition_and_only_the_stages_that_are_stale() -> None:
    (request,) = ask([stale("north", 4, Stage.VALIDATE)]).runs
    assert request.job_name == "north_chain"
    assert request.partition_key == "2024-03-04"
    assert request.asset_selection == [dg.AssetKey(["north", name]) for name in ("verdict", "published", "books")]
    assert request.tags["pacs_pipeline/why"] == "because"


def test_one_state_is_asked_for_once_a_day() -> None:
    first = ask([stale("north", 4)]).runs[0].run_key
    assert ask([stale("north", 4)]).runs[0].run_key == first
    assert ask([stale("north", 4, key="k2")]).runs[0].run_key != first
    tomorrow = {**TODAY, "north": dt.date(2024, 3, 11)}
    assert ask([stale("north", 4)], today=tomorrow).runs[0].run_key != first


def test_a_partition_with_an_unfinished_run_is_left_alone() -> None:
    requests = ask([stale("north", 4), stale("north", 5)], running={("north", "2024-03-04")})
    assert [r.partition_key for r in requests.runs] == ["2024-03-05"]


def test_the_limit_holds_and_the_next_tick_goes_on_where_it_stopped() -> None:
    stales = [stale("north", day) for day in range(1, 8)] + [stale("south", 1)]
    seen, cursor = [], ""
    for _ in range(3):
        requests = ask(stales, limit=3, cursor=cursor)
        cursor = requests.cursor
        seen += [(r.job_name, r.partition_key) for r in requests.runs]
    assert ("south_chain", "2024-03-01") in seen
    assert len(set(seen)) == 8


def test_the_turn_goes_round_without_asking_for_one_twice() -> None:
    stales = [stale("north", day) for day in range(1, 6)]
    requests = ask(stales, limit=4, cursor="north/2024-03-04")
    assert [r.partition_key for r in requests.runs] == [f"2024-03-{day:02d}" for day in (5, 1, 2, 3)]
    assert len(ask(stales, limit=9, cursor="north/2024-03-03").runs) == 5
    assert ask(stales, limit=0) == Requests((), "", 5)


def test_nothing_stale_nothing_asked() -> None:
    assert ask([]) == Requests((), "", 0)
