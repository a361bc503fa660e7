"""The access calendar in Dagster: ticks outside of it, the sensor's sessions, runs that a closed site ended."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from pacs_pipeline.defs import build_defs
from pacs_pipeline.defs.failures import fail
from pacs_pipeline.defs.jobs import MAX_RETRIES_TAG
from pacs_pipeline.defs.sensors import Session, _session
from pacs_pipeline.errors import Paused, Permanent, PipelineError, Transient
from pacs_pipeline.pacs import Access
from pacs_pipeline.records import Manifest, Partition, Stage
from pacs_pipeline.settings import AccessSettings, Settings, settings_from_text
from pacs_pipeline.stages.access import access_to
from pacs_pipeline.stages.project import Project

pytestmark = pytest.mark.filterwarnings("default")  # Dagster marks what it offers as beta
ROOT = Path(__file__).parents[2]
NIGHT = """\
      windows:
        - {days: [mon, tue, wed, thu, fri], from: "22:00", to: "06:00"}
        - {days: [sun], from: "08:00", to: "20:00"}
      holidays: [2024-06-13]
      failures_before_pause: 1
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("PACS_PIPELINE_CONFIG", raising=False)
    text = f"""\
project: test
sites:
  - name: north
    timezone: Europe/Berlin
    start_date: 2024-01-01
    pacs: {{host: 127.0.0.1, port: 104, ae_title: PACS}}
    access:
{NIGHT}
bucket: {{name: research}}
contracts: {ROOT / "data_contracts"}
"""
    return settings_from_text(text, tmp_path / "pacs_pipeline.yaml")


@pytest.fixture
def access(settings: Settings) -> Access:
    return access_to(Project(settings), settings.site("north"))


def tick(settings: Settings, when: str) -> dg.RunRequest | str:
    """What the nightly schedule does at a time of the site."""
    schedule = build_defs(settings).resolve_schedule_def("north_nightly")
    time = dt.datetime.fromisoformat(when).replace(tzinfo=settings.site("north").zone)
    found = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=time))
    if found.skip_message:
        return found.skip_message
    (request,) = found.run_requests or ()
    return request


def test_a_tick_in_the_window_asks(settings: Settings) -> None:
    assert isinstance(tick(settings, "2024-06-12T01:00"), dg.RunRequest)


@pytest.mark.parametrize("when", ["2024-06-12T12:00", "2024-06-14T01:00"], ids=["by day", "after a holiday"])
def test_a_tick_outside_of_the_window_is_skipped_with_its_reason(settings: Settings, when: str) -> None:
    assert tick(settings, when) == "north: outside of its access windows"


def test_a_tick_of_a_stopped_site_is_skipped_with_its_reason(settings: Settings, access: Access) -> None:
    access.stop(by="ward", reason="moving")
    skipped = tick(settings, "2024-06-12T01:00")
    assert isinstance(skipped, str)
    assert skipped.startswith("north: stopped by ward")
    access.start(by="ward")
    assert isinstance(tick(settings, "2024-06-12T01:00"), dg.RunRequest)


def session(settings: Settings, when: str, errors: list[PipelineError] | None = None) -> Session:
    now = dt.datetime.fromisoformat(when).replace(tzinfo=settings.site("north").zone)
    found = [] if errors is None else errors
    return _session(Project(settings), settings.site("north"), now, on_error=found.append)


def test_the_sensor_knows_windows(settings: Settings) -> None:
    assert session(settings, "2024-06-12T01:00") == Session("2024-06-11T20:00:00+00:00")
    assert session(settings, "2024-06-12T23:00") == Session("2024-06-12T20:00:00+00:00")
    assert not session(settings, "2024-06-12T12:00").may_ask


def test_the_sensor_knows_stops_and_failures(settings: Settings, access: Access) -> None:
    access.stop(by="ward")
    assert not session(settings, "2024-06-12T01:00").may_ask
    access.start(by="ward")
    assert session(settings, "2024-06-12T01:00").may_ask
    night = dt.datetime(2024, 6, 12, 1, tzinfo=settings.site("north").zone)
    failing = Access.of(settings.site("north"), Project(settings).zones.state.root / "site=north", now=lambda: night)
    failing.failed()
    assert not session(settings, "2024-06-12T01:05").may_ask
    later = session(settings, "2024-06-12T01:10")
    assert later.may_ask
    assert later.probing
    assert later.key == "2024-06-11T23:10:00+00:00"


def test_an_access_that_cannot_be_read_is_no_access(settings: Settings) -> None:
    folder = Project(settings).zones.state.root / "site=north"
    folder.parent.mkdir(parents=True)
    folder.touch()
    errors: list[PipelineError] = []
    assert not session(settings, "2024-06-12T01:00", errors).may_ask
    assert errors


def failed_run(errors: Mapping[str, PipelineError]) -> tuple[str, Mapping[str, dg.MetadataValue], Mapping[str, str]]:
    """Description and metadata of the failure, and the tags of the run."""

    @dg.asset
    def landed(context: dg.AssetExecutionContext) -> None:
        raise fail(context, dict(errors))

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([landed], instance=instance, raise_on_error=False)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        (event,) = result.get_step_failure_events()
        failure = event.step_failure_data.user_failure_data
        assert failure is not None
        return failure.description or "", failure.metadata, run.tags


PAUSED = Paused(
    "north: outside of its access windows",
    until=dt.datetime(2024, 6, 12, 20, tzinfo=dt.UTC),
    fix="the run continues in the next window, which opens 2024-06-12 22:00 CEST",
)


def test_a_run_that_a_closed_site_ended_is_not_retried_and_says_when_it_continues() -> None:
    days = [f"2024-06-{day:02}" for day in range(1, 8)]
    said, metadata, tags = failed_run({"2024-05-31": Transient("the PACS hung up"), **dict.fromkeys(days, PAUSED)})
    assert tags[MAX_RETRIES_TAG] == "0"
    assert said.count("continues in the next window, which opens 2024-06-12 22:00 CEST") == 1
    assert "the PACS hung up" in said
    assert metadata["failed_partitions"].value == ["2024-05-31", *days]
    assert metadata["paused_until"].value == "2024-06-12T20:00:00+00:00"


def test_what_passes_by_itself_is_still_retried_and_what_does_not_is_not() -> None:
    *_, tags = failed_run({"2024-06-01": Transient("the PACS hung up")})
    assert MAX_RETRIES_TAG not in tags
    *_, tags = failed_run({"2024-06-01": Transient("the PACS hung up"), "2024-06-02": Permanent("it refuses")})
    assert tags[MAX_RETRIES_TAG] == "0"


@pytest.fixture
def waiting(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project at whose north, open around the clock, a census announced a series that nobody fetched yet."""
    monkeypatch.setenv("PACS_PIPELINE_SECRET", "0123456789abcdef" * 4)
    north = settings.site("north").model_copy(update={"access": AccessSettings(failures_before_pause=1)})
    project = Project(settings.model_copy(update={"sites": (north,), "secret": SecretStr("0123456789abcdef" * 4)}))
    partition = Partition("north", dt.date(2024, 6, 3))
    project.commit(Manifest(stage=Stage.CENSUS, partition=partition, inputs={}, tables={}, counts={"series": 1}))
    return project


def looked(project: Project, instance: dg.DagsterInstance) -> list[str | None] | str:
    """The run keys that the sensor asks for, or why it asks for nothing."""
    defs = build_defs(project.settings)
    context = dg.build_sensor_context(instance=instance, resources={"project": project}, definitions=defs)
    sensor = next(each for each in defs.sensors or () if each.name == "staleness")
    assert isinstance(sensor, dg.SensorDefinition)
    found = sensor.evaluate_tick(context)
    return found.skip_message or [request.run_key for request in found.run_requests or ()]


def test_the_sensor_leaves_a_stopped_site_alone_and_asks_again_when_it_is_started(waiting: Project) -> None:
    access = access_to(waiting, waiting.settings.site("north"))
    with dg.DagsterInstance.ephemeral() as instance:
        before = looked(waiting, instance)
        assert len(before) == 1
        access.stop(by="ward")
        assert looked(waiting, instance) == "1 stale partitions wait until their archives may be asked"
        access.start(by="ward")
        after = looked(waiting, instance)
        assert len(after) == 1
        assert after != before
        access.failed()
        assert looked(waiting, instance) == "1 stale partitions wait until their archives may be asked"
