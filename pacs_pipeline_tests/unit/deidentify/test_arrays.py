"""Binary numbers in bulk: as many as declared, possible ones, and spelling nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.deidentify.arrays import ARRAYS, Order, check, spelled
from pacs_pipeline.deidentify.codec import Element
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

POINTS, COUNT, TRIANGLES = 0x00660016, 0x00660015, 0x00660041
SENTENCE = b"Seen by Dr. Quillfeather on Monday, again on Friday"


def judge(tag: int, value: bytes, item: dict[int, Element] | None = None, order: Order = "little") -> None:
    check(ARRAYS[tag], item or {}, len(value), [value], order, "it")


def counted(points: int) -> dict[int, Element]:
    return {COUNT: Element(COUNT, "UL", points.to_bytes(4, "little"))}


def test_coordinates_as_declared_pass() -> None:
    judge(POINTS, np.linspace(-200, 200, 30, dtype="<f4").tobytes(), counted(10))


@pytest.mark.parametrize(
    ("floats", "reason"), [(27, Reason.TRUNCATED), (33, Reason.HIDDEN_CONTENT), (31, Reason.HIDDEN_CONTENT)]
)
def test_another_length_does_not(floats: int, reason: Reason) -> None:
    with pytest.raises(Quarantine) as found:
        judge(POINTS, np.zeros(floats, "<f4").tobytes(), counted(10))
    assert found.value.reason is reason


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9, -1e30])
def test_impossible_coordinates_do_not(value: float) -> None:
    with pytest.raises(Quarantine):
        judge(POINTS, np.array([0, value, 1], "<f4").tobytes())


def test_letters_as_indices_do_not() -> None:
    with pytest.raises(Quarantine):
        judge(TRIANGLES, b"ABERNATHY JO")
    judge(TRIANGLES, np.arange(1, 10, dtype="<u4").tobytes())


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_sentence_among_samples_is_found(size: int, order: Order) -> None:
    samples = np.random.default_rng(1).normal(0, 300, 4000).astype("<i2").tobytes()
    at = 160
    assert not spelled(samples, size, order)
    assert spelled(samples[:at] + SENTENCE + samples[at + len(SENTENCE) :], size, order)


@given(st.integers(0, 2**32), st.sampled_from(["i2", "f4", "f8"]), st.sampled_from([50, 1000, 20_000]), st.booleans())
def test_numbers_are_hardly_ever_taken_for_words(seed: int, kind: str, scale: int, big: bool) -> None:
    values = np.random.default_rng(seed).normal(0, scale, 3000).clip(-32000, 32000)
    dtype = np.dtype((">" if big else "<") + kind)
    assert not spelled(values.astype(dtype).tobytes(), dtype.itemsize, "big" if big else "little")


def test_a_signal_that_stands_still_is_no_word() -> None:
    assert not spelled(np.full(5000, 0x4D4D, "<i2").tobytes(), 2, "little")
    assert not spelled(np.full(5000, 12.0784313, "<f4").tobytes(), 4, "little")
