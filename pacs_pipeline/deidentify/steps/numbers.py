"""Numbers, binary and as text: kept when they are as many as they may be, and neither spell nor identify."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pacs_pipeline.deidentify import arrays, number_lists
from pacs_pipeline.deidentify.codec import Element, Elements, Span
from pacs_pipeline.deidentify.object_classes import content_of
from pacs_pipeline.deidentify.steps.actions import blank, remove, written
from pacs_pipeline.deidentify.steps.work import Work
from pacs_pipeline.deidentify.values import SIZES, most_values, named, vrs_of
from pacs_pipeline.deidentify.waveforms import check_samples

# Lookup tables by their descriptor: bulk data whose length and meaning are known.
LOOKUP_TABLES = {
    0x00281201: 0x00281101,
    0x00281202: 0x00281102,
    0x00281203: 0x00281103,
    0x00281204: 0x00281104,
    0x00283006: 0x00283002,
}
_SPELLING = 8  # bytes; so many printable ones in a row are text, not numbers
_WRITTEN = re.compile(rb"[A-Za-z0-9 ^=.,@_-]{6,}")


def lookup_table(work: Work, element: Element, dataset: Elements) -> Element | None:
    """A lookup table is kept when it is exactly as long as its descriptor says (PS3.3 C.7.6.3.1.5, C.11.1.1)."""
    descriptor = dataset.get(LOOKUP_TABLES[element.tag])
    if element.items is not None or descriptor is None or not isinstance(descriptor.value, bytes):
        return remove(work, element, dataset)
    order = work.order
    entries, _, bits = (int.from_bytes(descriptor.value[n : n + 2], order) for n in (0, 2, 4))
    entries = entries or 65536
    if len(element.value) not in (2 * entries, *((entries + entries % 2,) if bits == 8 else ())):
        return remove(work, element, dataset)
    value = element.value
    table = b"".join(work.buffer.chunks(value)) if isinstance(value, Span) else value
    return remove(work, element, dataset) if _is_written_in(table, order) else Element(element.tag, element.vr, table)


def _is_written_in(table: bytes, order: Literal["little", "big"]) -> bool:
    """Whether a lookup table spells something: letters and digits in a row that neither rise nor fall.

    The entries of a table for display follow a curve, so a stretch of them that happens to be printable rises or
    falls, byte by byte or as numbers of 16 bits.
    """
    for run in _WRITTEN.finditer(table):
        start, end = run.start() + run.start() % 2, run.end() - run.end() % 2
        words = [int.from_bytes(table[at : at + 2], order) for at in range(start, end, 2)]
        if not _is_monotonic(run[0]) and not _is_monotonic(words):
            return True
    return False


def _is_monotonic(numbers: Sequence[int]) -> bool:
    steps = [second - first for first, second in pairwise(numbers)]
    return all(step >= 0 for step in steps) or all(step <= 0 for step in steps)


def small(work: Work, element: Element, dataset: Elements) -> Element | None:
    """Binary numbers: kept when they are as many as the standard allows and do not spell text."""
    size = SIZES[vrs_of(element.tag)[0]]
    most = most_values(element.tag)
    value = element.value
    if isinstance(value, Span) and (most is not None or content_of(work.sop_class) is None):
        return remove(work, element, dataset)  # only objects made of numbers have long lists of them
    if len(value) % size or (most is not None and len(value) > most * size):
        return remove(work, element, dataset)
    if not isinstance(value, Span) and spells(value):
        return remove(work, element, dataset)
    if most is None and _holds_text(work, value, size):
        return remove(work, element, dataset)
    return Element(element.tag, written(element), value)


def _holds_text(work: Work, value: bytes | Span, size: int) -> bool:
    """Whether a list of binary numbers that may be as long as it likes spells something somewhere."""
    chunks = work.buffer.chunks(value) if isinstance(value, Span) else (value,)
    return any(arrays.spelled(piece, size, work.order) for piece in arrays.units(chunks, size))


def array(work: Work, element: Element, dataset: Elements) -> Element | None:
    """Numbers in bulk of an object that is made of them: what they are declared to be, or the object is withheld."""
    if element.items is not None:
        return remove(work, element, dataset)
    value, kind = element.value, arrays.ARRAYS[element.tag]
    chunks = work.buffer.chunks(value) if isinstance(value, Span) else (value,)
    arrays.check(kind, dataset, len(value), chunks, work.order, named(element.tag))
    return Element(element.tag, written(element), value)


def samples(work: Work, element: Element, dataset: Elements) -> Element | None:
    """The samples of a waveform, proven to be as many as declared (PS3.3 C.10.9)."""
    check_samples(element, dataset, work.buffer, work.order)
    return Element(element.tag, written(element), element.value)


def one_sample(work: Work, element: Element, dataset: Elements) -> Element | None:
    """A value of one sample: the smallest, the largest, or what pads."""
    if element.items is not None or len(element.value) not in (1, 2, 4, 8) or spells(element.data):
        return remove(work, element, dataset)
    return Element(element.tag, written(element), element.value)


def spells(value: bytes) -> bool:
    """Whether binary numbers are printable text."""
    return len(value) >= _SPELLING and value.isascii() and value.decode("ascii").isprintable()


def number(work: Work, element: Element, dataset: Elements) -> Element | None:
    """Numbers in text: emptied when one is none, or one by which the file calls somebody or something."""
    vr = vrs_of(element.tag)[0]
    if element.items is not None:
        return remove(work, element, dataset)
    value = element.value
    lists = number_lists.pieces(work.buffer.chunks(value)) if isinstance(value, Span) else (value,)
    for numbers in lists:
        if not number_lists.are_numbers(vr, numbers):
            return blank(work, element, dataset)
        if any(work.cleaner.is_somebodys_number(digits) for digits in number_lists.whole_numbers(numbers)):
            return blank(work, element, dataset)
    return Element(element.tag, vr, value)
