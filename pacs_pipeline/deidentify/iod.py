"""The type of an attribute in the IOD of an instance (PS3.3, PS3.5 7.4), where the profile's action depends on it."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from pacs_pipeline.deidentify.values import keyword_of

TABLE = "attribute_types.csv"


def attribute_type(sop_class: str, parent: int, tag: int) -> str:
    """``1``, ``2`` or ``3`` (conditional types as the unconditional ones), or nothing when it is not known.

    ``parent`` is the tag of the sequence the attribute stands in, 0 at the top level. An attribute that the
    IOD of a known class does not have at its top level is of type 3: a Standard Extended SOP Class may add it.
    """
    types = _types()
    scope = keyword_of(parent) if parent else sop_class
    known = types.get((scope, tag))
    if known is None and not parent and sop_class in _classes():
        return "3"
    return known or ""


@cache
def _types() -> dict[tuple[str, int], str]:
    text = resources.files(__package__).joinpath("tables", TABLE).read_text(encoding="ascii")
    return {(row["scope"], int(row["tag"], 16)): row["type"] for row in csv.DictReader(text.splitlines())}


@cache
def _classes() -> frozenset[str]:
    return frozenset(scope for scope, _ in _types())
