"""What the staleness sensor asks for: exactly the stale partitions, once per state and session, no site starving."""

import datetime as dt

import dagster as dg

from pacs_pipeline.defs.sensors import MOST_PROBES, Requests, Session, decide, in_partitions
from pacs_pipeline.records import Partition, Stage
from pacs_pipeline.settings import PacsSettings, SiteSettings
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


OPEN = Session("2024-03-10T21:00:00+00:00")
CLOSED = Session("2024-03-10T21:00:00+00:00", may_ask=False)


def test_nothing_asks_an_archive_that_is_closed_and_everything_else_goes_on() -> None:
    asking = [stale("north", 1, Stage.CENSUS), stale("north", 2, Stage.HARVEST), stale("south", 2, Stage.HARVEST)]
    others = [
        stale("north", day, stage)
        for day, stage in enumerate((Stage.DEIDENTIFY, Stage.VALIDATE, Stage.PUBLISH, Stage.RECONCILE), start=3)
    ]
    requests = ask(asking + others, sessions={"north": CLOSED, "south": OPEN})
    asked = [(request.job_name, request.partition_key) for request in requests.runs]
    assert asked == [("north_chain", f"2024-03-{day:02}") for day in range(3, 7)] + [("south_chain", "2024-03-02")]
    assert (requests.left, requests.waiting) == (2, 2)


def test_a_partition_that_was_paused_is_asked_for_again_in_the_next_window_of_the_same_day() -> None:
    def key(session: Session, stage: Stage = Stage.HARVEST) -> str | None:
        return ask([stale("north", 4, stage)], sessions={"north": session}).runs[0].run_key

    morning, evening = Session("2024-03-10T05:00:00+00:00"), Session("2024-03-10T21:00:00+00:00")
    assert key(morning) == key(morning)
    assert key(morning) != key(evening)
    assert key(morning, Stage.DEIDENTIFY) == key(evening, Stage.DEIDENTIFY)


def test_closed_partitions_take_nobody_elses_turn() -> None:
    stales = [stale("north", day) for day in range(1, 10)] + [stale("south", 1)]
    requests = ask(stales, sessions={"north": CLOSED, "south": OPEN}, limit=3)
    assert [request.job_name for request in requests.runs] == ["south_chain"]
    assert requests.cursor == ""


def test_an_archive_that_failed_is_tried_by_few_runs() -> None:
    trying = Session("2024-03-10T21:00:00+00:00", probing=True)
    stales = [stale("north", day) for day in range(1, 10)] + [stale("north", 20, Stage.VALIDATE), stale("south", 1)]
    sessions = {"north": trying, "south": OPEN}
    keys = [(request.job_name, request.partition_key) for request in ask(stales, sessions=sessions).runs]
    assert keys == [
        *(("north_chain", f"2024-03-{day:02}") for day in range(1, MOST_PROBES + 1)),
        ("north_chain", "2024-03-20"),
        ("south_chain", "2024-03-01"),
    ]
    running = {("north", f"2024-03-{day:02}") for day in range(1, MOST_PROBES + 1)}
    again = [request.job_name for request in ask(stales, sessions=sessions, running=running).runs]
    assert again == ["north_chain", "south_chain"]


def test_what_is_of_no_partition_is_never_requested() -> None:
    """What is pushed may be of any date; a request for a date that is no partition would end the whole tick."""
    north = SiteSettings(
        name="north",
        timezone="Pacific/Auckland",
        start_date=dt.date(2024, 3, 3),
        pacs=PacsSettings(host="127.0.0.1", port=104, ae_title="PACS"),
    )
    now = dt.datetime(2024, 3, 9, 18, tzinfo=dt.UTC)  # the 10th in Auckland
    found = in_partitions([stale("north", day, Stage.CENSUS) for day in range(1, 13)], [north], now)
    assert [each.partition.study_date.day for each in found] == [3, 4, 5, 6, 7, 8, 9]


def test_what_was_received_is_asked_for_from_the_census_on() -> None:
    (request,) = ask([stale("north", 4, Stage.CENSUS)]).runs
    assert request.asset_selection is not None
    assert request.asset_selection[0] == dg.AssetKey(["north", "census"])
    assert len(request.asset_selection) == 6
