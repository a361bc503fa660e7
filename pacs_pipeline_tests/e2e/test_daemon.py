"""A real dagster-daemon: a backfill somebody launched, runs the staleness sensor asked for, a tick of a schedule."""

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pacs_pipeline.defs.jobs import RANGE_END_TAG, RANGE_START_TAG
from pacs_pipeline.defs.launch import launcher, prepare_home
from pacs_pipeline.records import Partition, Stage
from pacs_pipeline.settings import CONFIG_VARIABLE
from pacs_pipeline_tests.e2e.conftest import Demo

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]
WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"
PATIENCE_SECONDS = 240.0


@pytest.fixture
def every_minute(demo: Demo) -> None:
    """Make north's nightly schedule tick every minute, over the last two days."""
    content = yaml.safe_load(demo.configuration.read_text())
    (north,) = (site for site in content["sites"] if site["name"] == "north")
    north |= {"schedule": "* * * * *", "lookback_days": 2}
    demo.configuration.write_text(yaml.safe_dump(content))


@pytest.fixture
def environment(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    for name, value in {
        "DAGSTER_HOME": str(prepare_home(tmp_path / "dagster")),
        CONFIG_VARIABLE: str(demo.configuration),
        "PACS_PIPELINE_AUTOMATIC": "true",
        "PACS_PIPELINE_SENSOR_INTERVAL_SECONDS": "5",
    }.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get():
        pass  # two processes that make a new instance's tables at once get in each other's way
    return dict(os.environ)


@pytest.fixture
def daemon(environment: Mapping[str, str], tmp_path: Path) -> Iterator[Path]:
    log = tmp_path / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_program("dagster-daemon"), "run", "-w", str(WORKSPACE)], env=environment, stdout=output, stderr=output
        )
        yield log
        process.terminate()
        process.wait(60)


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _wait_for_closed_books(demo: Demo, site: str, log: Path) -> None:
    days = [p for p in demo.partitions if p.site == site]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        books = demo.books(site)
        if len(books) == len(days) and all(b.closed for b in books):
            return
        time.sleep(1)
    pytest.fail(f"the books of {site} did not close: {demo.books(site)}\n{log.read_text()[-3000:]}")


def test_a_backfill_and_the_sensor_bring_every_partition_to_closed_books(
    demo: Demo, environment: Mapping[str, str], daemon: Path
) -> None:
    days = [p.key for p in demo.partitions if p.site == "north"]
    backfill = [_program("dagster"), "job", "backfill", "-w", str(WORKSPACE), "-j", "north_chain"]
    launched = subprocess.run(
        [*backfill, "--from", min(days), "--to", max(days), "--noprompt"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert launched.returncode == 0, launched.stdout + launched.stderr
    _wait_for_closed_books(demo, "north", daemon)

    south = [p for p in demo.partitions if p.site == "south"]
    with launcher(demo.project.settings, Path(environment["DAGSTER_HOME"])) as jobs:
        assert jobs.census(south[0], south[-1]) == ()
    _wait_for_closed_books(demo, "south", daemon)
    with dg.DagsterInstance.get() as instance:
        asked = [run for run in instance.get_runs() if "pacs_pipeline/why" in run.tags]
    assert {run.job_name for run in asked} == {"south_chain"}
    assert sorted(run.tags["dagster/partition"] for run in asked) == sorted(p.key for p in south)


@pytest.mark.usefixtures("every_minute", "environment")
def test_a_tick_of_the_schedule_asks_about_the_look_back_window(demo: Demo, daemon: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    done: list[dg.DagsterRun] = []
    with dg.DagsterInstance.get() as instance:
        while not done and time.monotonic() < deadline:
            time.sleep(1)
            done = [
                run
                for run in instance.get_runs(dg.RunsFilter(tags={"dagster/schedule_name": "north_nightly"}))
                if run.is_finished
            ]
    assert done, daemon.read_text()[-3000:]
    run = done[-1]
    assert run.is_success, daemon.read_text()[-3000:]
    first, last = (dt.date.fromisoformat(run.tags[tag]) for tag in (RANGE_START_TAG, RANGE_END_TAG))
    assert (last - first).days == 1
    for day in (first, last):
        assert demo.project.manifest(Partition("north", day), Stage.CENSUS) is not None
