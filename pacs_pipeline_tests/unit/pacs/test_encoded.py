import contextlib
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacs_pipeline.errors import Quarantine
from pacs_pipeline.pacs.encoded import read_identity
from pacs_pipeline.records import Reason
from pacs_pipeline_tests.unit.pacs.samples import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, SYNTAXES, Sample, deflate


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_finds_the_uids_in_every_encoding(syntax: str) -> None:
    sample = Sample(1, syntax=syntax)
    assert read_identity(sample.data, syntax) == sample.ref
    assert read_identity(memoryview(sample.data), syntax) == sample.ref


@settings(deadline=None)
@pytest.mark.parametrize("syntax", SYNTAXES)
@given(cut=st.integers(1, 500))
def test_a_data_set_cut_inside_its_last_element_is_truncated(syntax: str, cut: int) -> None:
    sample = Sample(1, syntax=syntax)
    if syntax == DEFLATED:
        cut = cut % 100 + 2  # within the stream, past its padding
    with pytest.raises(Quarantine) as caught:
        read_identity(sample.cut(cut).data, syntax)
    assert caught.value.reason is Reason.TRUNCATED


@settings(deadline=None)
@given(data=st.binary(max_size=400), syntax=st.sampled_from(SYNTAXES))
def test_garbage_is_set_aside_or_read_and_never_raises_anything_else(data: bytes, syntax: str) -> None:
    with contextlib.suppress(Quarantine):
        read_identity(data, syntax)


@settings(deadline=None)
@given(
    position=st.integers(0, 10_000), value=st.integers(0, 255), syntax=st.sampled_from((EXPLICIT, IMPLICIT, BIG_ENDIAN))
)
def test_a_changed_byte_never_raises_anything_else(position: int, value: int, syntax: str) -> None:
    data = bytearray(Sample(1, syntax=syntax).data)
    data[position % len(data)] = value
    with contextlib.suppress(Quarantine):
        read_identity(bytes(data), syntax)


@pytest.mark.parametrize("data", [b"", b"\0" * 200, b"%PDF-1.7 a letter" * 20])
def test_what_is_no_data_set_is_unreadable(data: bytes) -> None:
    with pytest.raises(Quarantine) as caught:
        read_identity(data, EXPLICIT)
    assert caught.value.reason in (Reason.UNREADABLE, Reason.TRUNCATED)


def test_a_four_gibibyte_length_is_truncation_not_an_end() -> None:
    lie = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFE) + bytes(64)
    with pytest.raises(Quarantine) as caught:
        read_identity(Sample(1).data[:200] + lie, EXPLICIT)
    assert caught.value.reason is Reason.TRUNCATED


def test_deep_nesting_does_not_exhaust_the_stack() -> None:
    levels = 5_000
    opening = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    closing = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    nested = opening * levels + closing * levels
    assert read_identity(Sample(1).data + nested, EXPLICIT) == Sample(1).ref
    with pytest.raises(Quarantine):
        read_identity(Sample(1).data + nested[:-8], EXPLICIT)


def test_a_deflated_bomb_costs_no_memory() -> None:
    compress = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(
        [compress.compress(Sample(1).data), *(compress.compress(bytes(1 << 20)) for _ in range(64)), compress.flush()]
    )
    tracemalloc.start()
    try:
        read_identity(bomb, DEFLATED)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_deflated_stream_that_is_none_is_unreadable() -> None:
    with pytest.raises(Quarantine) as caught:
        read_identity(b"\xff" * 64, DEFLATED)
    assert caught.value.reason is Reason.UNREADABLE
    assert read_identity(deflate(Sample(1).data), DEFLATED) == Sample(1).ref
