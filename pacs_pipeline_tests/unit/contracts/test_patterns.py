from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.contracts.patterns import python_pattern


@given(st.text(alphabet="ab$^.[]\\dw\n 1٣", max_size=8), st.text(alphabet="ab$^.[]\\dw\n 1٣", max_size=8))
def test_an_anchored_literal_matches_itself_only(literal: str, text: str) -> None:
    pattern = python_pattern(f"^{re.escape(literal)}$")
    assert re.search(pattern, literal)
    assert bool(re.search(pattern, text)) is (text == literal)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"^\d+$", "12", True),
        (r"^\d+$", "12\n", False),
        (r"^\d+$", "١٢", False),
        (r"^[\w.]+$", "a.b_9", True),
        (r"^[\w.]+$", "é", False),
        (r"^[$]$", "$", True),
        (r"^\$$", "$", True),
        (r"^\$$", "$\n", False),
        (r"^a$|^b$", "b\n", False),
        (r"^[\]]$", "]", True),
    ],
)
def test_ecma_meaning(pattern: str, text: str, found: bool) -> None:
    assert bool(re.search(python_pattern(pattern), text)) is found
