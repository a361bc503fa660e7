"""Data contracts (ODCS) compiled to Great Expectations; verdicts and Data Docs. The only room that imports great_expectations."""
