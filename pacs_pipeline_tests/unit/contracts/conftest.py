from __future__ import annotations

import pytest

from pacs_pipeline.contracts import Contract, load_contracts
from pacs_pipeline_tests.unit.contracts.population import CONTRACTS, Tables, good_tables


@pytest.fixture(scope="session")
def contracts() -> tuple[Contract, ...]:
    return load_contracts(CONTRACTS)


@pytest.fixture
def tables() -> Tables:
    return good_tables()
