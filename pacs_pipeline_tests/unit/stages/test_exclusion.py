"""The filters of a site: what they exclude, by which rule, and what they cannot decide."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.records import SeriesRef, StudyRef, StudyTraits
from pacs_pipeline.settings.site import FilterSettings
from pacs_pipeline.stages.exclusion import Decision, decide, rules_fingerprint

TRAITS = StudyTraits("CT Thorax mit KM", "Klinik Süd", 42)


def study(*modalities: str, traits: StudyTraits = TRAITS, count: int | None = 20, each: int | None = 10) -> StudyRef:
    series = tuple(SeriesRef("1.2", f"1.2.{n}", modality, each) for n, modality in enumerate(modalities))
    return StudyRef("1.2", dt.date(2024, 3, 9), "", modalities, count, series, traits)


@pytest.mark.parametrize(
    ("filters", "excluded"),
    [
        ({}, ("", "")),
        ({"modalities": ("CT",)}, ("", "modalities")),
        ({"modalities": ("CT", "SR")}, ("", "")),
        ({"exclude_modalities": ("SR",)}, ("", "exclude_modalities")),
        ({"modalities": ("SR",), "exclude_modalities": ("SR",)}, ("modalities", "exclude_modalities")),
        ({"descriptions": ("thorax",)}, ("", "")),
        ({"descriptions": ("^thorax", "abdomen")}, ("descriptions",) * 2),
        ({"exclude_descriptions": ("km$",)}, ("exclude_descriptions",) * 2),
        ({"exclude_descriptions": (r"\bphantom\b",)}, ("", "")),
        ({"institutions": ("SÜD",)}, ("", "")),
        ({"institutions": ("Nord",)}, ("institutions",) * 2),
        ({"exclude_institutions": ("klinik",)}, ("exclude_institutions",) * 2),
        ({"minimum_age_years": 42, "maximum_age_years": 42}, ("", "")),
        ({"minimum_age_years": 43}, ("minimum_age_years",) * 2),
        ({"maximum_age_years": 41}, ("maximum_age_years",) * 2),
        ({"maximum_instances": 20}, ("", "")),
        ({"maximum_instances": 19}, ("maximum_instances",) * 2),
    ],
)
def test_rules(filters: dict[str, Any], excluded: tuple[str, ...]) -> None:
    assert decide(study("CT", "SR"), FilterSettings(**filters)) == Decision(excluded, undecided=False)


@pytest.mark.parametrize(
    "filters",
    [
        {"descriptions": ("a",)},
        {"exclude_descriptions": ("a",)},
        {"institutions": ("a",)},
        {"exclude_institutions": ("a",)},
        {"minimum_age_years": 18},
        {"maximum_age_years": 18},
        {"maximum_instances": 20},
        {"modalities": ("CT",)},
        {"exclude_modalities": ("CT",)},
    ],
)
def test_what_is_not_known_excludes_nothing_and_is_counted(filters: dict[str, Any]) -> None:
    unknown = study("", traits=StudyTraits(), count=None, each=None)
    assert decide(unknown, FilterSettings(**filters)) == Decision(("",), undecided=True)


def test_a_rule_that_decides_is_enough() -> None:
    filters = FilterSettings(exclude_modalities=("SR",), descriptions=("a",))
    assert decide(study("SR", traits=StudyTraits()), filters) == Decision(("exclude_modalities",), undecided=False)
    assert decide(study("SR", "CT", traits=StudyTraits()), filters) == Decision(("exclude_modalities", ""), True)


def test_counts_of_series_are_enough_to_be_too_many() -> None:
    filters = FilterSettings(maximum_instances=15)
    assert decide(study("CT", "CT", count=None), filters).excluded == ("maximum_instances",) * 2
    assert decide(study("CT", "CT", count=9), filters).excluded == ("maximum_instances",) * 2
    assert decide(study("CT", count=None), filters) == Decision(("",), undecided=False)


@given(st.text(max_size=20))
def test_a_value_is_never_a_pattern(text: str) -> None:
    filters = FilterSettings(exclude_descriptions=("^fixed$",))
    assert decide(study("CT", traits=StudyTraits(text)), filters).excluded == ("",) or text.strip().lower() == "fixed"


def test_only_rules_that_excluded_something_count_for_the_fingerprint() -> None:
    one = FilterSettings(exclude_modalities=("SR",), minimum_age_years=18)
    other = FilterSettings(exclude_modalities=("SR",), minimum_age_years=21)
    assert rules_fingerprint(one, {"exclude_modalities"}) == rules_fingerprint(other, {"exclude_modalities"})
    both = {"exclude_modalities", "minimum_age_years"}
    assert rules_fingerprint(one, both) != rules_fingerprint(other, both)


def test_the_contract_of_the_census_knows_every_filter() -> None:
    contract = (Path(__file__).parents[3] / "data_contracts" / "census.odcs.yaml").read_text()
    listed = contract.partition("validValues:")[2]
    assert all(f"- {rule}\n" in listed for rule in FilterSettings.model_fields)


def test_what_a_filter_knows_is_not_shown() -> None:
    shown = repr(study("CT"))
    assert "Thorax" not in shown
    assert "Süd" not in shown
    assert "42" not in shown
