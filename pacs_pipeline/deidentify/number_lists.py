"""Numbers written as text (VR DS and IS): proven to be numbers and nothing else, in lists of any length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

LONGEST = 24  # characters of one number; the standard's 16 and some grace
LONG_DIGITS = 5  # a shorter number is nobody's
CONTOUR_DATA, DVH_DATA = 0x30060050, 0x30040058
BULK_LISTS = frozenset((CONTOUR_DATA, DVH_DATA))  # as large as pixels, and as little to be read in a table

_GRAMMARS = {
    vr: re.compile(rb"(?: *+(?:%b)?+ *+)(?:\\ *+(?:%b)?+ *+)*+\0?" % (number, number))
    for vr, number in (
        ("DS", rb"[+-]?+(?:\d++\.?+\d*+|\.\d++)(?:[eE][+-]?+\d{1,3}+)?+"),
        ("IS", rb"[+-]?+\d{1,10}+"),
    )
}
# a whole number, or any number with an exponent; possessive, so that no part of a longer one is found
_WHOLE = re.compile(rb"(?<![\d.eE+])[+-]?(?:(\d{5,}+)(?:\.0*+)?+(?![\d.eE])|([\d.]++[eE][+-]?\d{1,3}+))")


def are_numbers(vr: str, value: bytes) -> bool:
    """Whether ``value`` consists of values of ``vr`` (``DS`` or ``IS``, PS3.5 6.2), some of which may be empty."""
    if not _GRAMMARS[vr].fullmatch(value):
        return False
    parts = value.split(b"\\")
    return max(map(len, parts)) <= LONGEST or all(len(part.strip(b" \0")) <= LONGEST for part in parts)


def whole_numbers(value: bytes) -> Iterator[str]:
    """The whole numbers of five digits and more in ``value``, in plain digits, however they are written."""
    for found in _WHOLE.finditer(value):
        if found[1] is not None:
            yield found[1].decode("ascii")
        else:
            yield from _with_exponent(found[2].decode("ascii"))


def _with_exponent(text: str) -> Iterator[str]:
    mantissa, _, exponent = text.lower().partition("e")
    if not -LONGEST <= int(exponent) <= LONGEST or mantissa.count(".") > 1 or mantissa == ".":
        return
    number = Decimal(mantissa).scaleb(int(exponent))
    if number == number.to_integral_value():
        digits = str(int(number))
        if len(digits) >= LONG_DIGITS:
            yield digits


def pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A list that comes in ``chunks``, cut between its numbers.

    Raises Quarantine (HIDDEN_CONTENT) where something longer than any number stands between two separators.
    """
    rest = b""
    for chunk in chunks:
        head, separator, tail = chunk.rpartition(b"\\")
        if separator:
            yield rest + head
            rest = tail
        else:
            rest += chunk
        if len(rest) > 16 * LONGEST:
            raise Quarantine(Reason.HIDDEN_CONTENT, "a list of numbers holds something that is no number")
    yield rest
