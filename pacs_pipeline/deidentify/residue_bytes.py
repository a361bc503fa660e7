"""Looks for identifiers in bytes that are no text: numbers, tables, pixels. Any offset, ASCII and other encodings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

SHORTEST = 6  # bytes; a pattern that may be looked for anywhere, without boundaries
SHORTEST_IN_UTF_16 = 8
LONGEST_PATTERN = 128
LONGEST_WIDE = LONGEST_PATTERN // 2  # characters of two bytes
SHORTEST_NUMBER_IN_PIXELS = 10  # digits are ordinary grey values, so short numbers appear by chance
_MOST_PLACES = 256  # that are looked at one by one
_ALPHANUMERIC = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyz")
_NUMERIC = frozenset(bytes((code,)) for code in b"0123456789.")


@dataclass(frozen=True, slots=True)
class Needles:
    """Byte patterns: ASCII words, ASCII numbers (which need boundaries), ASCII in UTF-16, and other encodings."""

    words: tuple[bytes, ...] = ()
    numbers: tuple[bytes, ...] = ()
    wide: tuple[bytes, ...] = ()
    encoded: tuple[bytes, ...] = ()


def needles_of(texts: Iterable[str], dates: Iterable[str], raw: Iterable[bytes]) -> Needles:
    """The patterns for texts and dates (folded to lower case) and for values in their original encoding."""
    words: set[bytes] = set()
    numbers: set[bytes] = set()
    wide: set[bytes] = set()
    encoded = {form for form in raw if len(form) >= SHORTEST}
    dates = frozenset(dates)
    for text in dates.union(texts):
        text = text[:LONGEST_PATTERN]
        if text.isascii():
            if len(text) >= SHORTEST and len(set(text)) >= 3:
                (numbers if re.fullmatch(r"[\d.,/ -]+", text) else words).add(text.encode("ascii"))
            if len(text) >= SHORTEST_IN_UTF_16 and text not in dates:
                wide.add(text[:LONGEST_WIDE].encode("ascii"))
        else:
            forms = {text.encode("utf-8"), text.encode("utf-16-le"), text.encode("latin-1", "ignore")}
            encoded |= {form for form in forms if len(form) >= SHORTEST + 2}
    # a start of a pattern is enough, and one that is longer than the overlap of two pieces could be cut by both
    encoded = {form[:LONGEST_PATTERN] for form in encoded}
    return Needles(_least(words), tuple(sorted(numbers)), _least(wide), _least(encoded))


def holds(data: bytes | memoryview, needles: Needles, numbers: Iterable[bytes], *, in_pixels: bool) -> bool:
    """Whether one of the patterns, or of further ``numbers``, stands anywhere in ``data``."""
    values = np.frombuffer(data, np.uint8)
    dark = _dark_half(values)  # such as that of pixels of 12 bits in words of 16: no two letters stand in a row
    text = b"" if dark else readable(values)
    if text:
        for needle in (*needles.numbers, *numbers):
            if in_pixels and len(needle) < SHORTEST_NUMBER_IN_PIXELS:
                continue
            if _stands_alone(needle, text):
                return True
        if any(needle in text for needle in needles.words):
            return True
    texts = wide(values) if needles.wide and _may_be_wide(values, needles.wide, dark) else ()
    if any(needle in text for text in texts for needle in needles.wide):
        return True
    if needles.encoded:
        lower = bytes(data).lower()
        return any(needle in lower for needle in needles.encoded)
    return False


Half = Literal["", "first", "second"]
"""The bytes at even positions, those at odd ones, or neither."""


def _dark_half(values: np.ndarray) -> Half:
    """The half of which every byte is a control character."""
    if len(values) % 2 or not len(values):
        return ""
    bits = int(np.bitwise_or.reduce(values.view("<u2")))
    return "second" if bits >> 8 < 0x20 else "first" if bits & 0xFF < 0x20 else ""


def _may_be_wide(values: np.ndarray, needles: tuple[bytes, ...], dark: Half) -> bool:
    """Whether it is worth the time to look for ``needles`` in UTF-16: never wrong about a no.

    That takes as many characters of theirs in a row as the shortest of them has, each beside a zero.
    """
    if not dark or len(values) < 2 * SHORTEST_IN_UTF_16:
        return True
    words = values.view("<u2")
    letters = (words if dark == "second" else words >> 8).astype(np.uint8)
    run = (letters - np.uint8(0x30)) < np.uint8(10)
    run |= ((letters | np.uint8(0x20)) - np.uint8(0x61)) < np.uint8(26)
    for other in frozenset(b"".join(needles)) - _ALPHANUMERIC:
        run |= letters == other
    zero = words < 0x100 if dark == "second" else (words & 0xFF) == 0
    beside = zero.copy()
    # the zero of a letter stands in its own word, or in the word before (behind, where the letters come second)
    if dark == "second":
        beside[1:] |= zero[:-1]
    else:
        beside[:-1] |= zero[1:]
    run &= beside
    for step in (1, 2, 4):  # eight in a row
        run = run[:-step] & run[step:]
    if not run.any():
        return False
    places = np.flatnonzero(run)
    if len(places) > _MOST_PLACES:
        return True
    written = letters.tobytes().lower()
    return any(
        needle in written[max(place - LONGEST_WIDE, 0) : place + LONGEST_WIDE]
        for place in places.tolist()
        for needle in needles
    )


def _least(patterns: set[bytes]) -> tuple[bytes, ...]:
    """The patterns that hold none of the others: data with any pattern have one of these, too."""
    least: list[bytes] = []
    for pattern in sorted(patterns, key=lambda p: (len(p), p)):
        if not any(shorter in pattern for shorter in least):
            least.append(pattern)
    return tuple(least)


def readable(values: np.ndarray) -> bytes:
    """The stretches of printable ASCII in ``values``, at least as long as the shortest pattern, in lower case.

    Pixels of 16 bits have next to none, which makes looking through them cheap.
    """
    run = (values - np.uint8(0x20)) < np.uint8(0x5F)  # wraps below the space: printable is 0x20 to 0x7E
    if len(run) < SHORTEST:
        return b""
    return _stretches(values, run)


def wide(values: np.ndarray) -> tuple[bytes, bytes]:
    """The stretches of printable ASCII in UTF-16, in either byte order and at even and odd positions."""
    even, odd = values[0::2], values[1::2]
    return _zero_beside(even, odd, before=1), _zero_beside(odd, even, before=0)


def _zero_beside(letters: np.ndarray, others: np.ndarray, *, before: int) -> bytes:
    """The stretches of ``letters`` that have a zero before them or behind them among ``others``.

    ``before`` is how far the other byte before a letter lies back: a text's last letter may have a zero on one
    side only.
    """
    zeros = np.zeros(len(letters) + 2, bool)
    zeros[1 : 1 + len(others)] = others == 0
    beside = zeros[1 - before : 1 - before + len(letters)] | zeros[2 - before : 2 - before + len(letters)]
    return _stretches(letters, ((letters - np.uint8(0x20)) < np.uint8(0x5F)) & beside)


def _stretches(values: np.ndarray, run: np.ndarray) -> bytes:
    """What stands in the runs of at least six, in lower case, with a zero behind each."""
    if len(run) < SHORTEST:
        return b""
    start = run[:-1] & run[1:]
    start = start[:-2] & start[2:]  # four in a row
    start = start[:-2] & run[4:-1] & run[5:]  # six in a row
    if not start.any():
        return b""
    inside = np.zeros(len(run), bool)
    for offset in range(SHORTEST):
        inside[offset : offset + len(start)] |= start
    kept = np.where(inside, values, 0)
    wanted = inside.copy()
    wanted[1:] |= inside[:-1]  # one separator behind each stretch
    return bytes(kept[wanted].tobytes().lower())


def _stands_alone(number: bytes, text: bytes) -> bool:
    """Whether ``number`` occurs in ``text`` and is no part of a longer number or UID."""
    position = text.find(number)
    while position >= 0:
        before, after = text[max(position - 1, 0) : position], text[position + len(number) : position + len(number) + 1]
        if before not in _NUMERIC and after not in _NUMERIC:
            return True
        position = text.find(number, position + 1)
    return False
