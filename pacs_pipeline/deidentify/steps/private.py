"""Private elements: those on the list of safe ones stay when their value is what the list says (PS3.15 E.3.10)."""

from __future__ import annotations

from pacs_pipeline.deidentify import number_lists
from pacs_pipeline.deidentify.codec import Element, Elements, Span, components
from pacs_pipeline.deidentify.safe_private import CREATORS, SafePrivate, block_of, creator_tag
from pacs_pipeline.deidentify.steps.actions import remove
from pacs_pipeline.deidentify.steps.numbers import spells
from pacs_pipeline.deidentify.steps.texts import is_code_string
from pacs_pipeline.deidentify.steps.work import Step, Work, first
from pacs_pipeline.deidentify.values import SIZES

_NUMBERS = frozenset(("DS", "IS"))
_MOST_PRIVATE = 64  # values of a safe private element


def private(safe: SafePrivate) -> Step:
    """Private elements on the list of safe ones stay when their value is what the list says (PS3.15 E.3.10)."""

    def step(work: Work, element: Element, dataset: Elements) -> Element | None:
        if element.tag & 0xFFFF in CREATORS:  # comes back with the first element that needs it
            return None if _is_creator(element) else remove(work, element, dataset)
        creator = dataset.get(creator_tag(element.tag))
        vr = safe.vr(first(creator), element.tag) if block_of(element.tag) in CREATORS else None
        if vr is None or element.items is not None or isinstance(element.value, Span):
            return remove(work, element, dataset)
        value = _value(work, vr, element)
        if value is None:
            return remove(work, element, dataset)
        return Element(element.tag, vr, value)

    return step


def _is_creator(element: Element) -> bool:
    return element.items is None and not isinstance(element.value, Span)


def _value(work: Work, vr: str, element: Element) -> bytes | None:
    """The value of a safe private element, checked like any other of its VR."""
    value = element.data
    if element.vr not in (vr, "UN"):
        return None
    if vr in _NUMBERS:
        return value if len(value) <= number_lists.LONGEST * 8 and number_lists.are_numbers(vr, value) else None
    if vr in SIZES:
        return None if len(value) % SIZES[vr] or len(value) > 8 * _MOST_PRIVATE or spells(value) else value
    texts = components(value)
    if vr == "CS":
        return value.strip(b" \0") if all(is_code_string(work, text) for text in texts) else None
    cleaned = [work.cleaner.clean(text) for text in texts]
    return "\\".join(cleaned).encode("ascii") if cleaned == texts else None
