"""A small population on the embedded services, and the command line as its user runs it."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pacs_pipeline.demo.plan import Population
from pacs_pipeline.demo.services import DemoServices
from pacs_pipeline.records import Books, Partition
from pacs_pipeline.settings import load_settings
from pacs_pipeline.stages.project import Project
from pacs_pipeline.stages.reconcile import stored_books

POPULATION = Population(patients=4, seed=5, instances=60, days=2)


@dataclass(frozen=True)
class Demo:
    """Running services with the project on them; zones and warehouse are this test's own."""

    services: DemoServices
    folder: Path

    @property
    def configuration(self) -> Path:
        return self.services.configuration

    @property
    def project(self) -> Project:
        return Project(load_settings(self.configuration))

    @property
    def partitions(self) -> list[Partition]:
        days = sorted({day for site in ("north", "south") for day in POPULATION.study_dates(site)})
        return [Partition(site, day) for site in ("north", "south") for day in days]

    def books(self, site: str) -> list[Books]:
        return list(stored_books(self.project, site, [p.study_date for p in self.partitions if p.site == site]))

    def command(self, site: str) -> list[str]:
        days = [p.key for p in self.partitions]
        run = [str(Path(sys.executable).with_name("pacs-pipeline")), "run", "--config", str(self.configuration)]
        return [*run, "--site", site, "--from", min(days), "--to", max(days)]

    def run(self, site: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.command(site), capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with DemoServices(tmp_path / "demo", POPULATION) as services:
        yield Demo(services, tmp_path)
