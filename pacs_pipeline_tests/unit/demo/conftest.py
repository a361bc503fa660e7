from __future__ import annotations

from pathlib import Path

import pytest

from pacs_pipeline.demo.plan import Population
from pacs_pipeline.demo.population import WrittenInstance, write_population

POPULATION = Population(patients=8, seed=5)


@pytest.fixture(scope="session")
def population(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[WrittenInstance]]:
    """A population that has every kind of series and every script; not to be changed."""
    out = tmp_path_factory.mktemp("population") / "out"
    return out, list(write_population(out, POPULATION))
