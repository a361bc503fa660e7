"""Which series the filters of a site exclude, and by which rule. Pure: what the archive said in, decisions out."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pacs_pipeline.records import SeriesRef, StudyRef, fingerprint
from pacs_pipeline.settings.site import FilterSettings


@dataclass(frozen=True, slots=True)
class Decision:
    """What the filters say of one study.

    ``excluded`` has for each series the rule that excludes it (the key in the settings), or nothing. ``undecided``
    is whether something stays in only because the archive does not give what a rule needs.
    """

    excluded: tuple[str, ...]
    undecided: bool


_T = TypeVar("_T")

_Verdict = tuple[str, bool | None]
"""A rule and whether it excludes; None when that cannot be decided."""


def decide(study: StudyRef, filters: FilterSettings) -> Decision:
    """Judge a study and each of its series; the first rule that excludes is the reason."""
    of_study = list(_of_study(study, filters))
    excluded, undecided = [], False
    for series in study.series:
        verdicts = [*of_study, *_of_series(series, filters)]
        rule = next((rule for rule, excludes in verdicts if excludes), "")
        excluded.append(rule)
        undecided = undecided or (not rule and any(excludes is None for _, excludes in verdicts))
    return Decision(tuple(excluded), undecided)


def rules_fingerprint(filters: FilterSettings, rules: Collection[str]) -> str:
    """The fingerprint of the rules that excluded something, with their values.

    A rule that changed nothing is left out, so that filters can be changed without making every day stale.
    """
    values = filters.model_dump(mode="json")
    return fingerprint({rule: values[rule] for rule in sorted(rules)})


def _of_study(study: StudyRef, filters: FilterSettings) -> Iterator[_Verdict]:
    traits = study.traits
    yield from _texts("descriptions", traits.StudyDescription, filters.descriptions, filters.exclude_descriptions)
    yield from _texts("institutions", traits.InstitutionName, filters.institutions, filters.exclude_institutions)
    youngest, oldest, most = filters.minimum_age_years, filters.maximum_age_years, filters.maximum_instances
    if youngest is not None:
        yield "minimum_age_years", _known(traits.age_years, lambda age: age < youngest)
    if oldest is not None:
        yield "maximum_age_years", _known(traits.age_years, lambda age: age > oldest)
    if most is not None:
        yield "maximum_instances", _more_instances(study, most)


def _of_series(series: SeriesRef, filters: FilterSettings) -> Iterator[_Verdict]:
    modality = series.Modality or None
    if filters.modalities:
        yield "modalities", _known(modality, lambda name: name not in filters.modalities)
    if filters.exclude_modalities:
        yield "exclude_modalities", _known(modality, lambda name: name in filters.exclude_modalities)


def _texts(name: str, text: str | None, wanted: Iterable[str], unwanted: Iterable[str]) -> Iterator[_Verdict]:
    wanted, unwanted = tuple(wanted), tuple(unwanted)
    if unwanted:
        yield f"exclude_{name}", _known(text, lambda value: _matches(value, unwanted))
    if wanted:
        yield name, _known(text, lambda value: not _matches(value, wanted))


def _matches(text: str, expressions: Iterable[str]) -> bool:
    return any(re.search(expression, text, re.IGNORECASE) for expression in expressions)


def _known(value: _T | None, excludes: Callable[[_T], bool]) -> bool | None:
    return None if value is None else excludes(value)


def _more_instances(study: StudyRef, most: int) -> bool | None:
    counts = [series.NumberOfSeriesRelatedInstances for series in study.series]
    at_least = max(study.NumberOfStudyRelatedInstances or 0, sum(count or 0 for count in counts))
    if at_least > most:
        return True
    counted = study.NumberOfStudyRelatedInstances is not None or None not in counts
    return False if counted else None
