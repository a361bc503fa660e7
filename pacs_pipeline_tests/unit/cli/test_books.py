"""``pacs-pipeline books``: the exit code is 0 only when every day of the range is accounted for."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from pacs_pipeline.cli.commands import app
from pacs_pipeline.records import Partition
from pacs_pipeline.settings import load_settings
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.reconcile import reconcile
from pacs_pipeline_tests.unit.stages import stored
from pacs_pipeline_tests.unit.stages.test_account import listed


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACS_PIPELINE_SECRET", "s" * 32)
    site = {
        "timezone": "Europe/Berlin",
        "start_date": "2024-03-01",
        "pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": 104},
    }
    content = {
        "project": "test",
        "sites": [{"name": name, **site} for name in ("north", "south")],
        "bucket": {"name": "research"},
        "zones": {"root": str(tmp_path / "zones")},
        "warehouse": {"path": str(tmp_path / "warehouse.duckdb")},
    }
    path = tmp_path / "pacs_pipeline.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def project(configuration: Path) -> Project:
    return Project(load_settings(configuration))


def finish(project: Project, site: str, day: int) -> None:
    partition = Partition(site, dt.date(2024, 3, day))
    census = stored.take_census(project, partition, instances=1)
    landed = stored.harvest(project, census, [listed("1.2.0", "unavailable")])
    stored.judge(project, stored.deidentify(project, landed, []))
    assert reconcile(project, partition).closed


def books(configuration: Path, *more: str) -> Result:
    span = ["--from", "2024-03-01", "--to", "2024-03-02"]
    return CliRunner().invoke(app, ["books", "--config", str(configuration), *span, *more])


def test_every_day_closed_is_0_and_a_gap_is_1(configuration: Path, project: Project) -> None:
    finish(project, "north", 1)
    gap = books(configuration, "--site", "north")
    assert gap.exit_code == 1
    assert "not asked north 2024-03-02" in gap.output
    finish(project, "north", 2)
    assert books(configuration, "--site", "north").exit_code == 0
    assert books(configuration).exit_code == 1  # the other site
    for day in (1, 2):
        stored.take_census(project, Partition("south", dt.date(2024, 3, day)))
    everything = books(configuration)
    assert everything.exit_code == 0
    assert "2 closed, 2 empty" in everything.output


def test_days_before_the_first_are_no_gaps(configuration: Path, project: Project) -> None:
    finish(project, "north", 1)
    span = ["--site", "north", "--from", "2023-01-01", "--to", "2024-03-01"]
    assert CliRunner().invoke(app, ["books", "--config", str(configuration), *span]).exit_code == 0


def test_the_heat_map_and_the_list_are_written_for_their_owner(
    configuration: Path, project: Project, tmp_path: Path
) -> None:
    finish(project, "north", 1)
    image, table = tmp_path / "map.svg", tmp_path / "list.csv"
    said = books(configuration, "--heatmap", "--heatmap-file", str(image), "--instances", str(table))
    assert said.exit_code == 1
    assert "2024-03 █?" in said.output
    assert image.read_text().startswith("<svg ")
    with table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["SOPInstanceUID"], row["state"], row["reason"]) == ("1.2.0", "unavailable", "why unavailable")
    assert {path.stat().st_mode & 0o777 for path in (image, table)} == {0o600}


def test_a_range_that_ends_before_it_begins_is_refused(configuration: Path) -> None:
    span = ["--from", "2024-03-02", "--to", "2024-03-01"]
    assert CliRunner().invoke(app, ["books", "--config", str(configuration), *span]).exit_code != 0
