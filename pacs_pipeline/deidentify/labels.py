"""Labels and descriptions outside Table E.1-1 that objects of radiotherapy and derived objects need.

The table has a row for a region's name but none for a segment's or a beam's. What a person may have typed into one
of these is a descriptor like any other: cleaned with Clean Descriptors, otherwise not kept.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from pydicom.datadict import tag_for_keyword

TABLE = "labels.csv"


@cache
def labels() -> frozenset[int]:
    """The tags of the labels. Where nothing is kept, the type in the IOD decides: removed, emptied or a dummy."""
    text = resources.files(__package__).joinpath("tables", TABLE).read_text(encoding="ascii")
    found = (tag_for_keyword(row["keyword"]) for row in csv.DictReader(text.splitlines()))
    return frozenset(tag for tag in found if tag is not None)
