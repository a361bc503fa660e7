"""Numbers written as text are numbers and nothing else, in lists of any length."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.deidentify.number_lists import are_numbers, pieces, whole_numbers
from pacs_pipeline.errors import Quarantine

_NUMBER = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: f"{value:.10g}"),
    st.sampled_from(["", " 1 ", "+.5", "2.", "-3E+10", "1e-5"]),
)


@given(st.lists(_NUMBER, max_size=30))
def test_numbers_pass(numbers: list[str]) -> None:
    assert are_numbers("DS", "\\".join(numbers).encode())


@given(
    st.lists(_NUMBER, min_size=1, max_size=30), st.integers(0, 29), st.sampled_from("ANnx^,:;\0é{"), st.integers(0, 9)
)
def test_anything_between_them_does_not(numbers: list[str], at: int, letter: str, where: int) -> None:
    at %= len(numbers)
    numbers[at] = (text := numbers[at] or "1")[: where % (len(text) + 1)] + letter + text[where % (len(text) + 1) :]
    value = "\\".join(numbers).encode("latin-1")
    assert not are_numbers("DS", value) or value.endswith(b"\0")  # one zero pads


@pytest.mark.parametrize(
    "value", [b"1\\ABERNATHY\\2", b"1 2", b"1\\" + b"9" * 25, b"--1", b"1e", b".", b"0x10", b"inf", b"nan"]
)
def test_what_is_no_number(value: bytes) -> None:
    assert not are_numbers("DS", value)


@pytest.mark.parametrize("value", [b"1.5", b"12345678901", b"1e3"])
def test_integers_are_integers(value: bytes) -> None:
    assert not are_numbers("IS", value)
    assert are_numbers("IS", b"1\\ -12 \\+3")


@given(st.lists(_NUMBER, min_size=1, max_size=40), st.integers(1, 17))
def test_pieces_are_the_list(numbers: list[str], size: int) -> None:
    value = "\\".join(numbers).encode()
    chunks = [value[at : at + size] for at in range(0, len(value), size)]
    assert b"\\".join(pieces(chunks)) == value


def test_a_text_longer_than_a_number_ends_the_search() -> None:
    with pytest.raises(Quarantine):
        list(pieces([b"1\\", b"A" * 1024, b"\\2"]))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"5550123", ["5550123"]),
        (b"1.5\\05550123\\2", ["05550123"]),
        (b"-5550123.000", ["5550123"]),
        (b"+5550123.", ["5550123"]),
        (b"5550123E0", ["5550123"]),
        (b"5.550123e6", ["5550123"]),
        (b"55501230E-1", ["5550123"]),
        (b"5550123.5\\1234\\-12.55501", []),
        (b"1e308\\1e-5", []),
    ],
)
def test_a_whole_number_is_found_however_it_is_written(value: bytes, found: list[str]) -> None:
    assert list(whole_numbers(value)) == found


@given(st.lists(st.integers(10_000, 10**9), min_size=1, max_size=20))
def test_every_whole_number_is_found(numbers: list[int]) -> None:
    assert list(whole_numbers("\\".join(map(str, numbers)).encode())) == list(map(str, numbers))


def test_a_list_of_a_megabyte_is_judged_in_linear_time() -> None:
    value = b"\\".join(b"%d.25" % (n % 9000) for n in range(200_000))
    assert are_numbers("DS", value)
    assert not are_numbers("DS", value + b"\\A")
    assert not re.search(rb"[A-Z]", value)
    assert not list(whole_numbers(value))
