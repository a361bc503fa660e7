"""The DuckDB warehouse: schema, partition replace, read-only queries."""
