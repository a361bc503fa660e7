"""From a push to a partition that is stale, and from its census to one that is not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pacs_pipeline import storage
from pacs_pipeline.errors import SettingsError
from pacs_pipeline.pacs.landing import Delivery
from pacs_pipeline.records import Partition, Stage
from pacs_pipeline.settings import settings_from_text
from pacs_pipeline.stages.census import take_census
from pacs_pipeline.stages.check import checks
from pacs_pipeline.stages.harvest import harvest
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.receive import _open_inbox, push_sites
from pacs_pipeline.stages.sources import Source
from pacs_pipeline.stages.staleness import Fingerprints, stale_from
from pacs_pipeline.stages.states import partition_states
from pacs_pipeline_tests.unit.pacs.files.dicom_files import DAY, Made
from pacs_pipeline_tests.unit.pacs.samples import CT, EXPLICIT

NOW = Fingerprints(profile="p", contracts="k", code="c", keys="s")
HERE = Partition("scanners", DAY)
AT = dt.datetime(2024, 3, 12, 8, tzinfo=dt.UTC)

_SETTINGS = """
project: example
secret_file: secret
bucket: {name: research}
zones: {root: zones}
sites:
  - name: scanners
    timezone: Europe/Berlin
    start_date: 2024-01-01
    protocol: push
    receiver: {ae_title: PIPELINE, port: 11113, bind: 127.0.0.1}
  - name: imports
    timezone: Europe/Berlin
    start_date: 2024-01-01
    protocol: folder
    folder: {path: export}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "secret").write_text("s" * 64)
    (tmp_path / "export").mkdir()
    return Project(settings_from_text(_SETTINGS, tmp_path / "pacs_pipeline.yaml"))


def push(project: Project, tmp_path: Path, made: Made) -> None:
    content = made.write(tmp_path / "scratch").read_bytes()
    with _open_inbox(project, project.settings.site("scanners"), lambda: AT) as inbox:
        arrival = inbox.begin(Delivery(CT, made.SOPInstanceUID, EXPLICIT, False), "SCANNER")
        arrival.write(content[144 + int.from_bytes(content[140:144], "little") :])
        assert arrival.finish() == 0


def census(project: Project, partition: Partition = HERE) -> str:
    site = project.settings.site(partition.site)
    with Source.of(project, site).archive() as archive:
        return take_census(project, partition, archive).digest


def stale(project: Project) -> dict[Partition, tuple[Stage, str] | None]:
    return {state.partition: stale_from(state, NOW) for state in partition_states(project)}


def test_a_push_makes_a_partition_stale_that_nobody_has_worked_on(project: Project, tmp_path: Path) -> None:
    assert stale(project) == {}
    push(project, tmp_path, Made(1))
    assert stale(project) == {HERE: (Stage.CENSUS, "instances were received")}
    census(project)
    assert stale(project) == {HERE: (Stage.HARVEST, "new studies")}


def test_a_new_version_makes_another_census_and_a_duplicate_does_not(project: Project, tmp_path: Path) -> None:
    push(project, tmp_path, Made(1))
    first = census(project)
    push(project, tmp_path, Made(1))
    assert stale(project)[HERE] == (Stage.HARVEST, "new studies")
    assert census(project) == first
    push(project, tmp_path, Made(1, pixels=b"\2" * 8))
    assert stale(project)[HERE] == (Stage.CENSUS, "instances were received")
    assert census(project) != first


def test_what_is_pushed_while_a_census_runs_is_not_lost(project: Project, tmp_path: Path) -> None:
    push(project, tmp_path, Made(1))
    with Source.of(project, project.settings.site("scanners")).archive() as archive:
        archive.find_studies(DAY)  # lists, and then something comes that this opening does not see
        push(project, tmp_path, Made(2))
        mark = storage.read_mark(project.zones.state.partition(HERE))
    assert mark
    push(project, tmp_path, Made(3))
    census(project)
    push(project, tmp_path, Made(4))
    assert stale(project)[HERE] == (Stage.CENSUS, "instances were received")


def test_a_damaged_partition_needs_a_person_and_not_a_run(project: Project, tmp_path: Path) -> None:
    push(project, tmp_path, Made(1))
    census(project)
    (project.zones.state.partition(HERE) / "census.json").write_text("{")
    damaged: list[object] = []
    assert list(partition_states(project, on_damaged=damaged.append)) == []
    assert len(damaged) == 1


def test_a_folder_is_harvested_and_its_changes_are_another_census(project: Project, tmp_path: Path) -> None:
    there = Partition("imports", DAY)
    site = project.settings.site("imports")
    path = Made(1).write(tmp_path / "export" / "IM1")
    first = census(project, there)
    assert census(project, there) == first
    assert harvest(project, there, Source.of(project, site)).counts["landed"] == 1
    folder = project.zones.landing.partition(there)
    (row,) = storage.read_rows(folder / "harvest.parquet")
    assert (folder / row["path"]).read_bytes().endswith(bytes(range(256)))
    Made(1, pixels=b"\2" * 1024).write(path)
    assert census(project, there) != first
    assert harvest(project, there, Source.of(project, site)).counts["landed"] == 1
    (row,) = storage.read_rows(folder / "harvest.parquet")
    assert (folder / row["path"]).read_bytes().endswith(b"\2" * 1024)


def test_the_check_says_what_is_there_and_that_nobody_receives(project: Project, tmp_path: Path) -> None:
    push(project, tmp_path, Made(1))
    (tmp_path / "export" / "notes.txt").write_text("notes")
    Made(1).write(tmp_path / "export" / "IM1")
    said = {result.what: result for result in checks(project)}
    assert said["archive of scanners"].error is None
    assert "1 instances in 1 studies" in said["archive of scanners"].said
    assert "pacs-pipeline receive" in said["archive of scanners"].said
    assert "1 files are no DICOM" in said["archive of imports"].said


def test_only_sites_that_push_can_be_received_for(project: Project) -> None:
    assert [site.name for site in push_sites(project)] == ["scanners"]
    for site in ("imports", "unknown"):
        with pytest.raises(SettingsError):
            push_sites(project, site)
