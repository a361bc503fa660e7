"""Keys say nothing but de-identified UIDs and a digest, and another content is another key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.errors import Permanent
from pacs_pipeline.storage import object_key

ROW = {"StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2", "SOPInstanceUID": "2.25.3", "sha256": "ab" * 32}
uids = st.integers(0, 2**128 - 1).map(lambda n: f"2.25.{n}")
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


def test_the_key_is_the_documented_one() -> None:
    assert object_key("lake/", ROW) == "lake/studies/2.25.1/series/2.25.2/2.25.3-abababababababab.dcm"


@given(uids, uids, uids, digests, digests)
def test_another_content_never_has_the_same_key(study: str, series: str, uid: str, one: str, two: str) -> None:
    row = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": uid}
    first, second = (object_key("", {**row, "sha256": digest}) for digest in (one, two))
    assert (first == second) == (one[:16] == two[:16])
    assert first.rpartition("/")[0] == f"studies/{study}/series/{series}"


@pytest.mark.parametrize("column", ROW)
@pytest.mark.parametrize("value", ["", "../x", "1.2/3", "Mueller", "1..2", ".1", "1." * 40 + "1", None, 7, "1.2\n"])
def test_malformed_parts_are_refused_without_being_quoted(column: str, value: object) -> None:
    with pytest.raises(Permanent, match=column) as caught:
        object_key("", {**ROW, column: value})
    assert "Mueller" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["/", "a//", "a b/", "../", "ä/"])
def test_a_prefix_must_be_literal(prefix: str) -> None:
    with pytest.raises(Permanent, match="object key"):
        object_key(prefix, ROW)
