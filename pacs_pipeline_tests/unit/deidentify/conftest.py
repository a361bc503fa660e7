from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from pacs_pipeline.deidentify import Deidentifier, Keys, Outcome, load_profile

from . import builder


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys.derive(b"a secret of the tests, long enough", "unit")


@pytest.fixture(scope="session")
def engine(keys: Keys) -> Deidentifier:
    return Deidentifier(load_profile("basic-modified-dates"), keys)


@pytest.fixture(scope="session")
def basic(keys: Keys) -> Deidentifier:
    return Deidentifier(load_profile("basic"), keys)


class Bench:
    """Runs the engine on data sets, in a folder of its own."""

    def __init__(self, engine: Deidentifier, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.out = folder / "out"

    def run(self, ds: FileDataset) -> Outcome:
        return self.engine.deidentify(builder.save(ds, self.folder / "in.dcm"), self.out)

    def clean(self, ds: FileDataset) -> FileDataset:
        outcome = self.run(ds)
        assert outcome.released, (outcome.reason, outcome.detail)
        assert outcome.output is not None
        return builder.load(outcome.output)


@pytest.fixture
def bench(engine: Deidentifier, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)
