"""The whole chain as Dagster runs, on the embedded PACS and a real S3 server."""

from pathlib import Path

import pytest

from pacs_pipeline import warehouse
from pacs_pipeline.defs.launch import launcher
from pacs_pipeline.records import Partition, Stage
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.staleness import stale_partitions
from pacs_pipeline.stages.states import partition_states
from pacs_pipeline_tests.e2e.conftest import Demo

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("default")]


def test_every_instance_is_accounted_for_and_a_second_run_changes_nothing(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))  # set back afterwards; the launcher changes it
    project = demo.project
    digests = []
    for _ in range(2):
        with launcher(project.settings, tmp_path / "dagster") as jobs:
            for partition in demo.partitions:
                assert jobs.chain(partition) == ()
        digests.append({(p, stage): _digest(project, p, stage) for p in demo.partitions for stage in Stage})
    assert digests[0] == digests[1]
    assert "RUN_START" not in capfd.readouterr().err  # the terminal is for the bars

    books = demo.books("north") + demo.books("south")
    assert sum(b.expected for b in books) == 60
    assert all(b.closed for b in books), books
    published = sum(b.published for b in books)
    assert published > 0
    assert warehouse.totals(project.settings.warehouse.path)["instance"] == published
    assert project.bucket.totals()[0] == published
    assert list(stale_partitions(partition_states(project), project.fingerprints)) == []


def _digest(project: Project, partition: Partition, stage: Stage) -> str:
    manifest = project.manifest(partition, stage)
    return manifest.digest if manifest else ""
