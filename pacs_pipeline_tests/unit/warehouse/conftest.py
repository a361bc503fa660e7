"""Fixtures of the warehouse: a database that does not exist yet, and partitions to load into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pacs_pipeline_tests.unit.warehouse.staged import Staged


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "lake/warehouse.duckdb"


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    return Staged(tmp_path / "staged")


@pytest.fixture
def another(tmp_path: Path) -> Callable[..., Staged]:
    """Makes further partitions: ``another("p2", site="south")``."""
    return lambda partition_id, site="north": Staged(tmp_path / partition_id, partition_id, site)
