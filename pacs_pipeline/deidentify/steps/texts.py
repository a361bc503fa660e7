"""Text of which something is kept: descriptions word by word, codes and technical terms by published lists."""

from __future__ import annotations

from collections.abc import Callable

from pacs_pipeline.deidentify import vocabulary
from pacs_pipeline.deidentify.codec import Element, Elements, Span
from pacs_pipeline.deidentify.steps.actions import dummy, remove, walk, written
from pacs_pipeline.deidentify.steps.work import Step, Work, agrees, texts_of
from pacs_pipeline.deidentify.tags import CONTENT_LABEL, FRAME_TYPE, IMAGE_TYPE
from pacs_pipeline.deidentify.values import LENGTHS, SINGLE, valid, vrs_of

FREE_TEXT = frozenset(("AE", "LO", "LT", "SH", "ST", "UC", "UR", "UT"))


def clean(vr: str, standard: tuple[str, ...], fallback: Step) -> Step:
    """Descriptions keep their known words; of what is no text nothing is known."""
    if standard[0] == "SQ":
        return walk if vr in ("SQ", "UN") else fallback
    if standard[0] not in FREE_TEXT or not agrees(vr, standard):
        return fallback
    return _worded(lambda work, text: work.cleaner.clean(text), fallback)


def content(fallback: Step) -> Step:
    """Content items outside a tree, each by its concept (PS3.15 Table E.3.4-1)."""

    def step(work: Work, element: Element, dataset: Elements) -> Element | None:
        items = work.content(element.items) if element.items else []
        return Element(element.tag, "SQ", items=items) if items else fallback(work, element, dataset)

    return step


def verbatim(fallback: Step) -> Step:
    """Text that an option retains, without the identifiers of the instance."""
    return _worded(lambda work, text: work.cleaner.without_identifiers(text), fallback)


def _worded(kept: Callable[[Work, str], str], fallback: Step) -> Step:
    """Text of which something is kept, value by value; the fallback when nothing is."""

    def step(work: Work, element: Element, dataset: Elements) -> Element | None:
        if element.items is not None or isinstance(element.value, Span):
            return fallback(work, element, dataset)
        vr = vrs_of(element.tag)[0]
        text = work.decoded(element, dataset)
        originals = [text] if vr in SINGLE else [part.strip(" ") for part in text.split("\\")]
        values = [kept(work, original)[: LENGTHS.get(vr)].strip() if original else "" for original in originals]
        values = [value if value.isascii() else "" for value in values]
        if any(originals) and not any(values):
            return fallback(work, element, dataset)
        if values != originals:
            work.counts[element.tag, "C"] += 1
        return Element(element.tag, vr, "\\".join(values).encode("ascii"))

    return step


def checked(keep: Callable[[Work, str], bool], substitutes: dict[int, str]) -> Step:
    """Text kept component by component; an unknown one is replaced where its place has a meaning, else dropped."""

    def step(work: Work, element: Element, dataset: Elements) -> Element | None:
        originals = texts_of(element)
        if originals is None:
            return remove(work, element, dataset)
        substitute = substitutes.get(element.tag)
        stays = [keep(work, text) for text in originals]
        kept = [t if stay else substitute for t, stay in zip(originals, stays, strict=True) if stay or substitute]
        if kept != originals:
            work.counts[element.tag, "C"] += 1
        return Element(element.tag, written(element), "\\".join(text or "" for text in kept).encode("ascii"))

    return step


def is_code_string(work: Work, text: str) -> bool:
    """Whether a code string is made of published words."""
    return valid("CS", text) and vocabulary.known_code_string(text)


def _technical_text(work: Work, text: str) -> bool:
    """Known words, unless one of them is somebody's name here: a kernel may be sharp, and so may a patient."""
    return vocabulary.known_technical_text(text) and not (text and work.cleaner.names_somebody(text))


def technical_or_dummy(work: Work, element: Element, dataset: Elements) -> Element | None:
    """Technical text of type 1, of which something must stay (PS3.5 7.4.1)."""
    kept = technical(work, element, dataset)
    empty = kept is not None and not kept.data.strip(b" \\")
    return dummy(work, element, dataset) if empty else kept


def _is_scheme(work: Work, text: str) -> bool:
    return text in vocabulary.code_schemes()


technical = checked(_technical_text, {})
scheme = checked(_is_scheme, {})
code_strings = checked(is_code_string, {IMAGE_TYPE: "OTHER", FRAME_TYPE: "OTHER", CONTENT_LABEL: "OTHER"})
