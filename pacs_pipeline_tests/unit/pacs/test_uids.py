from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.pacs.uids import is_uid


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2", "2.25.0", "1.02.3", "9" * 64])
def test_uids(uid: str) -> None:
    assert is_uid(uid)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "../1.2", "1.2/3", "1.2\n", "1.2\0", "1.2 ", "1" * 65, "१.२", "a b", "1.2.a", "A.1", "1.2-3"],
)
def test_what_is_no_uid(text: str) -> None:
    assert not is_uid(text)


@given(st.text(alphabet="0123456789aZ./\\\0\n ٣", max_size=70))
def test_a_uid_never_leaves_its_folder(text: str) -> None:
    if is_uid(text):
        folder = Path("/zone/landing")
        assert (folder / text).parent == folder
        assert (folder / text).resolve().parent == folder
