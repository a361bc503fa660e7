"""What is recorded for an instance: counts by action, regions, and the residue scan's result."""

from __future__ import annotations

import json
from collections import Counter

from pacs_pipeline.deidentify.row import proof

from . import builder
from .conftest import Bench


def test_a_row_says_what_was_done(bench: Bench) -> None:
    outcome = bench.run(builder.image(PixelData=bytes(16 * 12 * 2) + b"ABERNATHY "))
    row = outcome.row
    letters: Counter[str] = Counter()
    for _, _, letter, count in outcome.actions:
        letters[letter] += count
    assert json.loads(str(row["actions"])) == letters
    assert letters["C"] > 1
    assert letters["X"]
    assert row["regions_redacted"] == 0
    assert row["residue_scan"] == "clean"


def test_more_identifiers_in_the_original_are_more_that_were_sought(bench: Bench) -> None:
    few = bench.run(builder.image()).row["identifiers_sought"]
    more = bench.run(builder.image(OtherPatientNames="Featherstonehaugh^Quentin")).row["identifiers_sought"]
    assert isinstance(few, int)
    assert isinstance(more, int)
    assert 0 < few < more


def test_letters_are_in_order_and_regions_are_counted() -> None:
    counts = Counter({(2, "X"): 2, (1, "U"): 1, (1, "X"): 3, (7, "R"): 4})
    row = proof(counts, regions_redacted=4, identifiers_sought=9)
    assert row == {
        "actions": '{"R":4,"U":1,"X":5}',
        "regions_redacted": 4,
        "residue_scan": "clean",
        "identifiers_sought": 9,
    }
