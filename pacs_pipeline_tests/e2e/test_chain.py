"""The whole chain as Dagster runs, on the embedded PACS and a real S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacs_pipeline import warehouse
from pacs_pipeline.defs.launch import launcher
from pacs_pipeline.demo.plan import Population
from pacs_pipeline.demo.services import DemoServices
from pacs_pipeline.records import Partition, Stage
from pacs_pipeline.settings import load_settings
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.reconcile import stored_books
from pacs_pipeline.stages.staleness import stale_partitions
from pacs_pipeline.stages.states import partition_states

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("default")]
POPULATION = Population(patients=4, seed=5, instances=60, days=2)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[DemoServices]:
    with DemoServices(tmp_path / "demo", POPULATION) as running:
        yield running


def test_every_instance_is_accounted_for_and_a_second_run_changes_nothing(
    services: DemoServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))  # set back afterwards; the launcher changes it
    settings = load_settings(services.configuration)
    project = Project(settings)
    days = sorted({day for site in ("north", "south") for day in POPULATION.study_dates(site)})
    partitions = [Partition(site, day) for site in ("north", "south") for day in days]

    digests = []
    for _ in range(2):
        with launcher(settings, tmp_path / "dagster") as jobs:
            for partition in partitions:
                assert jobs.chain(partition), partition
        digests.append({(p, stage): _digest(project, p, stage) for p in partitions for stage in Stage})
    assert digests[0] == digests[1]

    books = [b for site in ("north", "south") for b in stored_books(project, site, days)]
    assert sum(b.expected for b in books) == 60
    assert all(b.closed for b in books), books
    published = sum(b.published for b in books)
    assert published > 0
    assert warehouse.totals(settings.warehouse.path)["instance"] == published
    assert project.bucket.totals()[0] == published
    assert list(stale_partitions(partition_states(project), project.fingerprints)) == []


def _digest(project: Project, partition: Partition, stage: Stage) -> str:
    manifest = project.manifest(partition, stage)
    return manifest.digest if manifest else ""
