"""The reader of multipart messages, however they are cut into chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs_pipeline.pacs.dicomweb.multipart import Malformed, Multipart

BOUNDARY = b"b-1"
# what a reader that is careless about delimiters stumbles over
PIECES = st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", b"\r\n--b", b"\r\n--b-", b"b-1", b"\r\n--b-2", b"x" * 9])
# a part may not hold its own delimiter, also not at its begin, where the line before ends (RFC 2046 5.1.1)
CONTENT = (
    st.lists(PIECES | st.binary(max_size=6), max_size=12)
    .map(b"".join)
    .filter(lambda c: b"\r\n--b-1" not in b"\r\n" + c)
)


def message(parts: list[bytes], *, header: bytes = b"Content-Type: application/dicom\r\n", end: bytes = b"--") -> bytes:
    return b"".join(b"\r\n--b-1\r\n" + header + b"\r\n" + part for part in parts)[2:] + b"\r\n--b-1" + end


def read(wire: bytes, size: int = 1 << 18) -> list[bytes]:
    position = 0

    def more(limit: int) -> bytes:
        nonlocal position
        chunk = wire[position : position + min(size, limit)]
        position += len(chunk)
        return chunk

    return [b"".join(bytes(chunk) for chunk in part) for part in Multipart(more, BOUNDARY).parts()]


@given(st.lists(CONTENT, min_size=1, max_size=4), st.integers(1, 40))
def test_parts_come_as_they_were_sent_whatever_the_chunks(parts: list[bytes], size: int) -> None:
    assert read(message(parts), size) == parts


@given(CONTENT, st.integers(1, 40), st.data())
def test_what_breaks_off_is_never_taken_for_the_end(content: bytes, size: int, data: st.DataObject) -> None:
    whole = message([content, content])
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Malformed):
        read(whole[:cut], size)


@pytest.mark.parametrize(
    "wire",
    [
        b"preamble\r\n--b-1\r\n\r\ndata\r\n--b-1--",
        b"\r\n--b-1\r\n\r\ndata\r\n--b-1--epilogue",
        b"--b-1 \t\r\nX: y\r\n\r\ndata\r\n--b-1--\r\n",
        b"--b-1\r\nContent-Length: 999\r\n\r\ndata\r\n--b-1--",
    ],
)
def test_what_may_stand_around_parts(wire: bytes) -> None:
    assert read(wire) == [b"data"]


def test_a_line_that_begins_like_the_delimiter_is_content() -> None:
    content = b"one\r\n--b-12\r\ntwo\r\n--b-1 x"
    assert read(b"--b-1\r\n\r\n" + content + b"\r\n--b-1--") == [content]


def test_a_message_of_no_parts() -> None:
    assert read(b"--b-1--") == []


def test_the_wrong_boundary_is_noticed_early() -> None:
    asked = 0

    def endless(limit: int) -> bytes:
        nonlocal asked
        asked += limit
        return b"\r\n--other\r\n\r\n" * 5000

    with pytest.raises(Malformed, match="boundary"):
        list(Multipart(endless, BOUNDARY).parts())
    assert asked < 1 << 20


def test_a_header_that_does_not_end() -> None:
    with pytest.raises(Malformed, match="header"):
        read(b"--b-1\r\n" + b"X: y\r\n" * 20_000)


def test_a_part_that_nobody_reads_is_passed_over() -> None:
    chunks = iter([message([b"one" * 100, b"two"])])
    parts = Multipart(lambda _: next(chunks, b""), BOUNDARY).parts()
    next(parts)
    assert [bytes(chunk) for chunk in next(parts)] == [b"two"]
