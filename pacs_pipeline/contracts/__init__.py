"""Data contracts (ODCS) compiled to Great Expectations; verdicts and Data Docs.

The only room that imports great_expectations.
"""

from pacs_pipeline.contracts.checks import CheckSpec, ColumnSpec, Contract, Kind, Limit, fingerprint
from pacs_pipeline.contracts.data_docs import write_data_docs
from pacs_pipeline.contracts.gx import Judgement, check_expectations, validate
from pacs_pipeline.contracts.odcs import load_contracts

__all__ = [
    "CheckSpec",
    "ColumnSpec",
    "Contract",
    "Judgement",
    "Kind",
    "Limit",
    "check_expectations",
    "fingerprint",
    "load_contracts",
    "validate",
    "write_data_docs",
]
