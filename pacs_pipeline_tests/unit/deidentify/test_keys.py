from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from pacs_pipeline.deidentify import Keys

SECRET = b"0123456789abcdef0123456789abcdef"
KEYS = Keys.derive(SECRET, "alpha")
OTHER = Keys.derive(SECRET, "beta")


@given(st.text(min_size=1), st.text(min_size=1))
def test_uids_are_valid_stable_and_distinct(one: str, two: str) -> None:
    new = KEYS.uid(one)
    assert UID(new).is_valid
    assert new.startswith("2.25.")
    assert len(new) <= 64
    assert new == KEYS.uid(one)
    if one.strip(" \0") != two.strip(" \0"):
        assert new != KEYS.uid(two)


@given(st.text())
def test_shifts_are_never_zero_and_never_out_of_range(patient: str) -> None:
    assert 1 <= Keys.derive(SECRET, "gamma", max_shift_days=40).date_shift(patient) <= 40


@given(st.text(min_size=1))
def test_projects_cannot_be_linked(value: str) -> None:
    assert KEYS.pseudonym(value) != OTHER.pseudonym(value)
    assert KEYS.uid(value) != OTHER.uid(value)
    assert KEYS.hash(value) != OTHER.hash(value)


def test_padding_and_width_do_not_make_another_patient() -> None:
    assert KEYS.pseudonym("MRN 17") == KEYS.pseudonym(" MRN  17 \0") == KEYS.pseudonym("ＭＲＮ 17")


def test_issuer_and_id_are_not_confused() -> None:
    assert KEYS.pseudonym("12", "3") != KEYS.pseudonym("1", "23")
    assert KEYS.pseudonym("12", "A") != KEYS.pseudonym("12", "B")


def test_every_purpose_has_its_own_key() -> None:
    assert len({KEYS.patient, KEYS.uids, KEYS.dates, KEYS.vault, KEYS.hashes}) == 5


def test_keys_do_not_print_themselves() -> None:
    assert repr(KEYS) == "Keys(…)"


@pytest.mark.parametrize(("secret", "project"), [(b"", "p"), (SECRET, "")])
def test_no_keys_from_nothing(secret: bytes, project: str) -> None:
    with pytest.raises(ValueError, match="needed"):
        Keys.derive(secret, project)
