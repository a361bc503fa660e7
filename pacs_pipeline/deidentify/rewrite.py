"""The single pass: every element of a data set, at every depth, gets the step that the plan has for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Literal

from pacs_pipeline.deidentify import vocabulary
from pacs_pipeline.deidentify.codec import Buffer, Element, Elements
from pacs_pipeline.deidentify.content_rules import CLEAN_PIXELS
from pacs_pipeline.deidentify.keys import Keys
from pacs_pipeline.deidentify.object_classes import content_of
from pacs_pipeline.deidentify.plan import Plan
from pacs_pipeline.deidentify.profile import CODE_MEANINGS, Profile
from pacs_pipeline.deidentify.safe_private import creator_tag
from pacs_pipeline.deidentify.series import Last, Made
from pacs_pipeline.deidentify.steps.numbers import LOOKUP_TABLES
from pacs_pipeline.deidentify.steps.work import Cleaner, Patient, first
from pacs_pipeline.deidentify.tags import (
    CODE_VALUE,
    DATES_MODIFIED,
    IDENTITY_REMOVED,
    ISSUER_OF_PATIENT_ID,
    LONG_CODE,
    MEANING,
    METHOD,
    METHOD_CODES,
    PATIENT_ID,
    PATIENT_NAME,
    SCHEME,
    SCHEME_VERSION,
    URN_CODE,
)
from pacs_pipeline.deidentify.text import charsets_of, decoded
from pacs_pipeline.deidentify.values import keyword_of

# What a step looks at beside its own element: descriptors, the patient's numbers and name, the character set.
_SIBLINGS = (*LOOKUP_TABLES.values(), PATIENT_NAME, PATIENT_ID, ISSUER_OF_PATIENT_ID, 0x00080005)
_PRIVATE_CREATORS = 0x10000  # of a tag: an odd group and an element below 0100
_SCHEME_VERSION = re.compile(r"[\d.]{1,16}")

Counts = Counter[tuple[int, str]]
"""How often which letter of PS3.15 E.1 was applied to which tag."""
Counted = tuple[tuple[tuple[int, str], int], ...]
Decision = tuple[Element | None, Counted]
"""What becomes of an element, and the actions that were counted."""


@dataclass(slots=True)
class Rewrite:
    """One instance on its way through the plan; ``counts`` records what was done."""

    plan: Plan
    keys: Keys
    buffer: Buffer
    patient: Patient
    uids: dict[str, str]
    cleaner_of: Callable[[], Cleaner]
    clean_items: Callable[[Rewrite, list[Elements]], list[Elements]]
    little: bool = True
    decisions: Made[Element, Decision] = field(default_factory=Made)
    sums: Last[list[Counted], Counts] = field(default_factory=Last)
    counts: Counts = field(default_factory=Counter)
    _cleaner: Cleaner | None = None

    def dataset(self, elements: Elements, *, parent: int = 0) -> Elements:
        """The de-identified copy of ``elements``, which stand in the sequence ``parent``; the source is left as is."""
        if not parent:
            return self._top(elements)
        result: Elements = {}
        step = self.plan.step
        for tag, element in elements.items():
            kept = step(tag, element.vr, parent)(self, element, elements)
            if kept is not None:
                self._take(kept, result, elements)
        if CODE_VALUE in elements or LONG_CODE in elements or URN_CODE in elements:
            self._code(elements, result)
        return result

    def _top(self, elements: Elements) -> Elements:
        """The data set itself; what a series repeats is decided once."""
        circumstances = self._circumstances(elements)
        inner = replace(self)

        def decide(element: Element) -> Decision:
            inner.counts = Counter()
            kept = self.plan.step(element.tag, element.vr, 0)(inner, element, elements)
            return kept, tuple(inner.counts.items())

        decided = self.decisions.of(elements.values(), decide, circumstances)
        self.counts.update(self.sums.of([counted for _, counted in decided], _sum))
        result = {kept.tag: kept for kept, _ in decided if kept is not None}
        for kept in [kept for tag, kept in result.items() if tag >> 16 & 1]:
            self._take(kept, result, elements)
        return result

    def _circumstances(self, elements: Elements) -> object:
        """Everything but the element itself that a step of the data set may look at."""
        creators = [element for tag, element in elements.items() if tag & 0x1FF00 == _PRIVATE_CREATORS]
        siblings = [*map(elements.get, _SIBLINGS)]
        # an array of numbers is as long as another element says, and which one depends on the class
        everything = list(elements.values()) if content_of(self.sop_class) is not None else ()
        return self.plan, self.keys, self.little, self.cleaner, self.patient.decides, creators, siblings, everything

    def _take(self, kept: Element, result: Elements, source: Elements) -> None:
        result[kept.tag] = kept
        if kept.tag >> 16 & 1:  # a private element is nothing without its creator
            creator = creator_tag(kept.tag)
            result[creator] = Element(creator, "LO", first(source[creator]).encode("ascii"))

    @property
    def sop_class(self) -> str:
        """The SOP class, which says what the instance may hold."""
        return self.plan.sop_class

    def content(self, items: list[Elements]) -> list[Elements]:
        """The de-identified copies of content items outside a tree."""
        return self.clean_items(self, items)

    @property
    def order(self) -> Literal["little", "big"]:
        """The byte order of the source."""
        return "little" if self.little else "big"

    @property
    def cleaner(self) -> Cleaner:
        """The cleaner of this instance, made when the first text needs it."""
        if self._cleaner is None:
            self._cleaner = self.cleaner_of()
        return self._cleaner

    def decoded(self, element: Element, dataset: Elements) -> str:
        """The text of an element by the character set that holds where it stands."""
        return decoded(element.data, charsets_of(dataset, self.patient.charsets)).strip(" \0")

    def uid(self, original: str) -> str:
        """The replacement of one UID, remembered because a series repeats most of them."""
        new = self.uids.get(original)
        if new is None:
            if len(self.uids) > 100_000:
                self.uids.clear()
            new = self.uids[original] = self.keys.uid(original)
        return new

    def mark(self, *, pixels_looked_at: bool = False) -> Elements:
        """The attributes that say what was done (PS3.15 E.1.1 and C.12.1.1.3.3), for exactly the options applied."""
        return _marks(self.plan.profile, self.patient.pseudonym, pixels_looked_at)

    def _code(self, source: Elements, result: Elements) -> None:
        """A coded concept is kept with its published meaning, or becomes the concept 'unknown'."""
        value = first(source.get(CODE_VALUE)) or first(source.get(LONG_CODE))
        scheme = first(source.get(SCHEME))
        meaning = vocabulary.code_meaning(scheme, value, first(source.get(MEANING)))
        if meaning is None:
            value, scheme, meaning = vocabulary.UNKNOWN_CODE
            self.counts[CODE_VALUE, "C"] += 1
        else:
            version = first(source.get(SCHEME_VERSION))
            if _SCHEME_VERSION.fullmatch(version):
                result[SCHEME_VERSION] = Element(SCHEME_VERSION, "SH", version.encode())
        tag, vr = (CODE_VALUE, "SH") if len(value) <= 16 else (LONG_CODE, "UC")
        result[tag] = Element(tag, vr, value.encode())
        result[SCHEME] = Element(SCHEME, "SH", scheme.encode())
        result[MEANING] = Element(MEANING, "LO", meaning.encode())


def _sum(parts: list[Counted]) -> Counts:
    counts: Counts = Counter()
    for action, count in chain.from_iterable(parts):
        counts[action] += count
    return counts


@lru_cache(maxsize=16)
def _marks(profile: Profile, pseudonym: str, pixels_looked_at: bool) -> Elements:
    """The same elements for a whole series."""
    codes = [
        {
            CODE_VALUE: Element(CODE_VALUE, "SH", code.encode()),
            SCHEME: Element(SCHEME, "SH", b"DCM"),
            MEANING: Element(MEANING, "LO", CODE_MEANINGS[code].encode()),
        }
        for code in profile.codes
        if code != CLEAN_PIXELS or pixels_looked_at
    ]
    method = f"pacs-pipeline profile {profile.name} {profile.fingerprint[:12]}"
    return {
        PATIENT_NAME: Element(PATIENT_NAME, "PN", pseudonym.encode()),
        PATIENT_ID: Element(PATIENT_ID, "LO", pseudonym.encode()),
        IDENTITY_REMOVED: Element(IDENTITY_REMOVED, "CS", b"YES"),
        METHOD: Element(METHOD, "LO", method.encode()[:64]),
        METHOD_CODES: Element(METHOD_CODES, "SQ", items=codes),
        DATES_MODIFIED: Element(DATES_MODIFIED, "CS", profile.longitudinal.encode()),
    }


def actions_of(counts: Mapping[tuple[int, str], int]) -> tuple[tuple[str, str, str, int], ...]:
    """The record of actions: tag ``GGGGEEEE``, keyword, letter of PS3.15 E.1, count; in tag order."""
    return tuple((*_written_tag(tag), letter, count) for (tag, letter), count in sorted(counts.items()))


@lru_cache(maxsize=65536)
def _written_tag(tag: int) -> tuple[str, str]:
    return f"{tag:08X}", keyword_of(tag)
