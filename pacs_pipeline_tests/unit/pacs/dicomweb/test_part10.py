"""The head of a file while it comes."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.errors import Quarantine
from pacs_pipeline.pacs.dicomweb.part10 import FileMeta, read_file_meta
from pacs_pipeline_tests.unit.pacs.dicomweb.services import part10
from pacs_pipeline_tests.unit.pacs.samples import SYNTAXES, Sample

ONE = Sample(1)
META = FileMeta(ONE.sop_class, ONE.uid, ONE.syntax)


def read(file: bytes, size: int = 1 << 18) -> tuple[FileMeta, bytes]:
    chunks = (memoryview(file)[at : at + size] for at in range(0, len(file), size))
    meta, begin = read_file_meta(chunks)
    return meta, begin + b"".join(bytes(chunk) for chunk in chunks)


@given(st.sampled_from(SYNTAXES), st.integers(1, 400))
def test_head_and_data_set_are_told_apart(syntax: str, size: int) -> None:
    sample = Sample(1, syntax=syntax)
    assert read(part10(sample), size) == (FileMeta(sample.sop_class, sample.uid, syntax), sample.data)


@pytest.mark.parametrize("length", [0, 1, 7, 1 << 31])
def test_a_wrong_group_length_does_not_matter(length: int) -> None:
    file = bytearray(part10(ONE))
    struct.pack_into("<L", file, 140, length)
    assert read(bytes(file)) == (META, ONE.data)


def test_more_elements_than_the_usual_ones() -> None:
    file = part10(ONE)
    private = struct.pack("<HH2sH", 2, 0x100, b"UI", 4) + b"1.2\0"
    private += struct.pack("<HH2sHL", 2, 0x102, b"OB", 0, 300_000) + b"\2\0" * 150_000
    end = len(file) - len(ONE.data)
    assert read(file[:end] + private + file[end:], 1000) == (META, ONE.data)


@given(st.integers(0, len(part10(ONE)) - len(ONE.data) - 1), st.integers(1, 400))
def test_what_ends_too_soon_is_no_file(cut: int, size: int) -> None:
    try:
        meta, data = read(part10(ONE)[:cut], size)
    except Quarantine:
        return
    assert data == b""  # cut between two elements: there is no data set, which the landing refuses
    assert meta != META or cut >= 132


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[128:], "no DICOM file"),
        (lambda f: b"<html>" + f, "no DICOM file"),
        (lambda f: b"", "no DICOM file"),
        (lambda f: f[:132] + struct.pack("<HHL", 2, 0x10, 18) + b"1.2.840.10008.1.2\0" + b"x" * 50, "Explicit VR"),
        (lambda f: f[:132] + struct.pack("<HH2sHL", 2, 0x102, b"OB", 0, 0xFFFFFFFF) + b"x" * 50, "does not end"),
        (lambda f: f[:132] + (struct.pack("<HH2sH", 2, 0x100, b"UI", 60_000) + b"1" * 60_000) * 20, "does not end"),
    ],
)
def test_what_is_no_file(change: object, message: str) -> None:
    with pytest.raises(Quarantine, match=message):
        read(change(part10(ONE)), 50_000)  # type: ignore[operator]


@given(st.binary(max_size=400), st.integers(1, 400))
def test_garbage_raises_nothing_else(garbage: bytes, size: int) -> None:
    for file in (garbage, part10(ONE)[:132] + garbage):
        with contextlib.suppress(Quarantine):
            read(file, size)
