"""The heat map in the UI: an image that is drawn again when the books change, and only then."""

import base64
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pacs_pipeline import storage
from pacs_pipeline.defs import build_defs
from pacs_pipeline.defs.heat_map import metadata
from pacs_pipeline.records import Books, Manifest, Partition, Stage
from pacs_pipeline.settings import Settings, load_settings
from pacs_pipeline.stages.books import Day, DayStatus
from pacs_pipeline.stages.project import Project

pytestmark = pytest.mark.filterwarnings("default")  # Dagster marks what it offers as beta
ROOT = Path(__file__).parents[2]
DAY = Partition("north", dt.date.today() - dt.timedelta(days=40))


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PACS_PIPELINE_CONFIG", raising=False)
        patch.setenv("PACS_PIPELINE_ZONES__ROOT", str(tmp_path / "zones"))
        yield load_settings(ROOT / "pacs_pipeline.example.yaml")


def test_the_image_is_in_the_metadata_with_the_days_that_need_a_look() -> None:
    days = [
        Day(Books(DAY, 10, 9, 0, 0, 1), DayStatus.CLOSED),
        Day(Books(Partition("south", DAY.study_date), 3, 0, 0, 0, 0, ("something is wrong",)), DayStatus.OPEN),
    ]
    shown = metadata(days)
    _, _, image = str(shown["heat_map"].value).removesuffix(")").partition("base64,")
    assert base64.b64decode(image).startswith(b"<svg ")
    assert str(DAY) not in str(shown["days_that_need_a_look"].value)
    assert "something is wrong" in str(shown["days_that_need_a_look"].value)
    assert (shown["closed"].value, shown["not_closed"].value) == (1, 1)


def test_the_asset_shows_what_is_stored(settings: Settings) -> None:
    definitions = build_defs(settings)
    project = Project(settings)
    census = Manifest(Stage.CENSUS, DAY, {}, counts={"studies": 1, "series": 1, "instances": 7})
    storage.write_manifest(project.zones.state.partition(DAY), census)
    run = definitions.resolve_job_def("draw_books_heat_map").execute_in_process()
    (made,) = run.asset_materializations_for_node("books_heat_map")
    assert made.metadata["not_closed"].value == 1


def test_the_sensor_asks_for_a_new_image_only_when_the_books_have_changed(settings: Settings) -> None:
    project = Project(settings)
    sensor = build_defs(settings).resolve_sensor_def("books_heat_map")

    def look(cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(cursor=cursor, resources={"project": project}) as context:
            return sensor.evaluate_tick(context)  # type: ignore[return-value]

    first = look(None)
    assert len(first.run_requests or ()) == 1
    assert not look(first.cursor).run_requests
    census = Manifest(Stage.CENSUS, DAY, {}, counts={"studies": 0, "series": 0, "instances": 0})
    storage.write_manifest(project.zones.state.partition(DAY), census)
    assert len(look(first.cursor).run_requests or ()) == 1
