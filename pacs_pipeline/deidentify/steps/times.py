"""Dates, times and ages: moved by the patient's shift or kept, when they are what they should be."""

from __future__ import annotations

from pacs_pipeline.deidentify import dates
from pacs_pipeline.deidentify.codec import Element, Elements
from pacs_pipeline.deidentify.steps.actions import blank, remove, written
from pacs_pipeline.deidentify.steps.work import Step, Work, texts_of
from pacs_pipeline.deidentify.values import TIMEZONE, valid, vrs_of

OLDEST = "090Y"


def shift(fallback: Step) -> Step:
    """Dates and times of day with a date are moved by the patient's shift; what is none gets the fallback."""

    def step(work: Work, element: Element, dataset: Elements) -> Element | None:
        vr, texts = vrs_of(element.tag)[0], texts_of(element)
        moved = [dates.shifted(vr, text, work.patient.days) if text else "" for text in texts or ()]
        if texts is None or None in moved:
            return fallback(work, element, dataset)
        if any(moved):
            work.counts[element.tag, "C"] += 1
        return Element(element.tag, vr, "\\".join(text or "" for text in moved).encode("ascii"))

    return step


def date(fallback: Step) -> Step:
    """Full dates stay when they are dates; what is none may be anything."""

    def step(work: Work, element: Element, dataset: Elements) -> Element | None:
        vr, texts = vrs_of(element.tag)[0], texts_of(element)
        if texts is None or any(text and dates.shifted(vr, text, 0) is None for text in texts):
            return fallback(work, element, dataset)
        return Element(element.tag, vr, "\\".join(texts).encode("ascii"))

    return step


def age(fallback: Step) -> Step:
    """Ages stay; over 89 years they are 90 years (45 CFR 164.514(b)(2)(i)(C))."""

    def step(work: Work, element: Element, dataset: Elements) -> Element | None:
        ages = texts_of(element)
        if ages is None or any(text and not valid("AS", text) for text in ages):
            return fallback(work, element, dataset)
        kept = [OLDEST if text.endswith("Y") and text > OLDEST else text for text in ages]
        if kept != ages:
            work.counts[element.tag, "C"] += 1
        return Element(element.tag, "AS", "\\".join(kept).encode("ascii"))

    return step


def time(work: Work, element: Element, dataset: Elements) -> Element | None:
    """Times of day stay; the colons of ACR-NEMA do not."""
    times = texts_of(element)
    if times is None:
        return remove(work, element, dataset)
    if any(text and not valid("TM", text) for text in times):
        return blank(work, element, dataset)
    return Element(element.tag, "TM", "\\".join(times).replace(":", "").encode("ascii"))


def timezone(work: Work, element: Element, dataset: Elements) -> Element | None:
    """Offsets from UTC stay."""
    offsets = texts_of(element)
    if offsets is None or not all(TIMEZONE.fullmatch(text) for text in offsets):
        return remove(work, element, dataset)
    return Element(element.tag, written(element), "\\".join(offsets).encode("ascii"))
