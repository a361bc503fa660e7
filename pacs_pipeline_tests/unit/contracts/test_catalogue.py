"""The list of expectations must say of each what the installed engine says."""

from __future__ import annotations

import warnings

from pacs_pipeline.contracts.catalogue import EXPECTATIONS
from pacs_pipeline.contracts.gx import quiet_engine


def test_catalogue_is_the_engines() -> None:
    with quiet_engine(), warnings.catch_warnings():
        from great_expectations.expectations import expectation as base
        from great_expectations.expectations.registry import get_expectation_impl

        common = set(base.Expectation.__fields__) | {"batch_id", "library_metadata"}
        by_row = (base.ColumnMapExpectation, base.ColumnPairMapExpectation, base.MulticolumnMapExpectation)
        for name, entry in EXPECTATIONS.items():
            engine = get_expectation_impl(name)
            fields = {key: field for key, field in engine.__fields__.items() if key not in common}
            assert entry.required | entry.optional == set(fields), name
            assert entry.required >= {key for key, field in fields.items() if field.required}, name
            assert entry.by_row == issubclass(engine, by_row), name
