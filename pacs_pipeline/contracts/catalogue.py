"""The expectations of Great Expectations that a contract may name, so that reading one needs no import of the engine.

A test holds this list against the installed engine. Left out are expectations that need SQL or a second
table, and those on columns and types, which the schema rule judges from the Parquet footer.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Arguments that name columns.
COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")

_BETWEEN = frozenset({"min_value", "max_value", "strict_min", "strict_max"})
_CONDITION = frozenset({"row_condition", "condition_parser"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """The arguments an expectation takes; ``by_row`` when it judges rows and so has nothing to say of none."""

    required: frozenset[str]
    optional: frozenset[str]
    by_row: bool


def _rows(required: str, *optional: str) -> Expectation:
    return Expectation(frozenset(required.split()), _CONDITION | {"mostly"} | frozenset(optional), by_row=True)


def _whole(required: str, *optional: str) -> Expectation:
    return Expectation(frozenset(required.split()), _CONDITION | frozenset(optional), by_row=False)


EXPECTATIONS = {
    "expect_column_distinct_values_to_be_in_set": _whole("column value_set"),
    "expect_column_distinct_values_to_contain_set": _whole("column value_set"),
    "expect_column_distinct_values_to_equal_set": _whole("column value_set"),
    "expect_column_max_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_mean_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_median_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_min_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_most_common_value_to_be_in_set": _whole("column value_set", "ties_okay"),
    "expect_column_pair_values_a_to_be_greater_than_b": _rows("column_A column_B", "or_equal", "ignore_row_if"),
    "expect_column_pair_values_to_be_equal": _rows("column_A column_B", "ignore_row_if"),
    "expect_column_pair_values_to_be_in_set": _rows("column_A column_B value_pairs_set", "ignore_row_if"),
    "expect_column_proportion_of_non_null_values_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_proportion_of_unique_values_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_quantile_values_to_be_between": _whole("column quantile_ranges", "allow_relative_error"),
    "expect_column_stdev_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_sum_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_unique_value_count_to_be_between": _whole("column", *_BETWEEN),
    "expect_column_value_lengths_to_be_between": _rows("column", *_BETWEEN),
    "expect_column_value_lengths_to_equal": _rows("column value"),
    "expect_column_value_z_scores_to_be_less_than": _rows("column threshold double_sided"),
    "expect_column_values_to_be_between": _rows("column", *_BETWEEN),
    "expect_column_values_to_be_dateutil_parseable": _rows("column"),
    "expect_column_values_to_be_decreasing": _rows("column", "strictly"),
    "expect_column_values_to_be_in_set": _rows("column value_set"),
    "expect_column_values_to_be_increasing": _rows("column", "strictly"),
    "expect_column_values_to_be_json_parseable": _rows("column"),
    "expect_column_values_to_be_null": _rows("column"),
    "expect_column_values_to_be_unique": _rows("column"),
    "expect_column_values_to_match_json_schema": _rows("column json_schema"),
    "expect_column_values_to_match_regex": _rows("column", "regex"),
    "expect_column_values_to_match_regex_list": _rows("column regex_list", "match_on"),
    "expect_column_values_to_match_strftime_format": _rows("column strftime_format"),
    "expect_column_values_to_not_be_in_set": _rows("column value_set"),
    "expect_column_values_to_not_be_null": _rows("column"),
    "expect_column_values_to_not_match_regex": _rows("column regex"),
    "expect_column_values_to_not_match_regex_list": _rows("column regex_list"),
    "expect_compound_columns_to_be_unique": _rows("column_list", "ignore_row_if"),
    "expect_multicolumn_sum_to_equal": _rows("column_list sum_total", "ignore_row_if"),
    "expect_multicolumn_values_to_be_equal": _rows("column_list", "ignore_row_if"),
    "expect_select_column_values_to_be_unique_within_record": _rows("column_list", "ignore_row_if"),
    "expect_table_row_count_to_be_between": _whole("", *_BETWEEN),
    "expect_table_row_count_to_equal": _whole("value"),
}
