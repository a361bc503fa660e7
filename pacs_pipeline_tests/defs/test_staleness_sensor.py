"""The sensor as the daemon evaluates it: reads what is stored, asks for what is stale, floods no queue."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pacs_pipeline import storage
from pacs_pipeline.defs import build_defs
from pacs_pipeline.defs.jobs import PARTITION_TAG
from pacs_pipeline.defs.sensors import UNFINISHED_REQUESTS, WHY_TAG
from pacs_pipeline.records import Manifest, Partition, Stage
from pacs_pipeline.settings import Settings, load_settings
from pacs_pipeline.stages.project import Project

pytestmark = pytest.mark.filterwarnings("default")  # Dagster marks what it offers as beta
ROOT = Path(__file__).parents[2]
DAYS = [Partition("north", dt.date(2024, 3, day)) for day in (4, 5)]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PACS_PIPELINE_CONFIG", raising=False)
        patch.setenv("PACS_PIPELINE_SECRET", "s" * 32)
        patch.setenv("PACS_PIPELINE_ZONES__ROOT", str(tmp_path / "zones"))
        settings = load_settings(ROOT / "pacs_pipeline.example.yaml")
        state = Project(settings).zones.state
        for day in DAYS:
            storage.write_manifest(state.partition(day), Manifest(Stage.CENSUS, day, {}, counts={"series": 1}))
        yield settings


def look(settings: Settings, instance: dg.DagsterInstance) -> dg.SensorResult:
    definitions = build_defs(settings)
    with dg.build_sensor_context(
        instance=instance, resources={"project": Project(settings)}, definitions=definitions
    ) as context:
        return definitions.resolve_sensor_def("staleness").evaluate_tick(context)  # type: ignore[return-value]


def queued(instance: dg.DagsterInstance, number: int, tags: dict[str, str]) -> None:
    for _ in range(number):
        run = dg.DagsterRun(job_name="north_chain", status=dg.DagsterRunStatus.NOT_STARTED, tags=tags)
        instance.add_run(run)


def test_the_sensor_asks_for_what_is_stale_and_leaves_what_is_being_worked_on(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        asked = look(settings, instance).run_requests or ()
        assert [request.partition_key for request in asked] == [day.key for day in DAYS]
        queued(instance, 1, {PARTITION_TAG: DAYS[0].key})
        asked = look(settings, instance).run_requests or ()
        assert [request.partition_key for request in asked] == [DAYS[1].key]


def test_a_full_queue_gets_no_more_from_the_sensor_and_a_backfill_does_not_count(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        queued(instance, UNFINISHED_REQUESTS, {PARTITION_TAG: "2024-04-01"})  # somebody's backfill
        assert len(look(settings, instance).run_requests or ()) == 2
        queued(instance, UNFINISHED_REQUESTS - 1, {PARTITION_TAG: "2024-04-01", WHY_TAG: "asked for before"})
        assert len(look(settings, instance).run_requests or ()) == 1
        queued(instance, 1, {PARTITION_TAG: "2024-04-01", WHY_TAG: "asked for before"})
        full = look(settings, instance)
        assert not full.run_requests
        assert "2 partitions are stale and wait" in str(full.skip_message)


def test_a_damaged_record_keeps_the_sensor_from_nothing_else(settings: Settings) -> None:
    folder = Project(settings).zones.state.partition(DAYS[0])
    (folder / "census.json").write_text("{")
    with dg.DagsterInstance.ephemeral() as instance:
        assert [request.partition_key for request in look(settings, instance).run_requests or ()] == [DAYS[1].key]
