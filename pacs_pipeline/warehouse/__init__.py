"""The DuckDB warehouse: schema, partition replace, read-only queries."""

from pacs_pipeline.warehouse.loader import LoadCounts, prepare, replace_partition, withdraw_partition
from pacs_pipeline.warehouse.query import Answer, Example, example_queries, published_instances, query, totals

__all__ = [
    "Answer",
    "Example",
    "LoadCounts",
    "example_queries",
    "prepare",
    "published_instances",
    "query",
    "replace_partition",
    "totals",
    "withdraw_partition",
]
