"""The single pass: every element of a data set, at every depth, gets the action of its rule.

Attributes with a rule do what the rule says. Attributes without one are kept only when their value is of
a kind that cannot carry an identity: numbers, known words, registered UIDs, pixels. Never the reverse.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Protocol

from pacs_pipeline.deidentify import arrays, dates, number_lists, vocabulary
from pacs_pipeline.deidentify.codec import PIXEL_DATA, Buffer, Element, Elements, Span, components
from pacs_pipeline.deidentify.content_rules import CLEAN_PIXELS
from pacs_pipeline.deidentify.iod import attribute_type
from pacs_pipeline.deidentify.keys import Keys
from pacs_pipeline.deidentify.labels import labels
from pacs_pipeline.deidentify.object_classes import Content, content_of
from pacs_pipeline.deidentify.objects import FLOAT_PIXELS
from pacs_pipeline.deidentify.profile import CODE_MEANINGS, Profile
from pacs_pipeline.deidentify.recipe import Action, Rule, resolved
from pacs_pipeline.deidentify.safe_private import CREATORS, SafePrivate, block_of, creator_tag
from pacs_pipeline.deidentify.text import DEFAULT, charsets_of, decoded, text_of
from pacs_pipeline.deidentify.values import (
    BULK,
    LENGTHS,
    SINGLE,
    SIZES,
    TEXT,
    TIMEZONE,
    dummy,
    is_registered,
    keyword_of,
    least_values,
    most_values,
    named,
    valid,
    vrs_of,
)
from pacs_pipeline.deidentify.waveforms import ONE_SAMPLE, WAVEFORM_DATA, check_samples

PATIENT_NAME, PATIENT_ID, ISSUER_OF_PATIENT_ID = 0x00100010, 0x00100020, 0x00100021
SOP_INSTANCE, STUDY_INSTANCE, SERIES_INSTANCE = 0x00080018, 0x0020000D, 0x0020000E
IMAGE_TYPE, FRAME_TYPE, TIMEZONE_OFFSET = 0x00080008, 0x00089007, 0x00080201
CODE_VALUE, SCHEME, SCHEME_VERSION, MEANING = 0x00080100, 0x00080102, 0x00080103, 0x00080104
LONG_CODE, URN_CODE = 0x00080119, 0x00080120
CONTENT_LABEL = 0x00700080
IDENTITY_REMOVED, METHOD, METHOD_CODES, DATES_MODIFIED = 0x00120062, 0x00120063, 0x00120064, 0x00280303

# Lookup tables by their descriptor: bulk data whose length and meaning are known.
LOOKUP_TABLES = {
    0x00281201: 0x00281101,
    0x00281202: 0x00281102,
    0x00281203: 0x00281103,
    0x00281204: 0x00281104,
    0x00283006: 0x00283002,
}
INSTANCE_UIDS = frozenset((SOP_INSTANCE, STUDY_INSTANCE, SERIES_INSTANCE))

_NUMBERS = frozenset(("DS", "IS"))
_SPELLING = 8  # bytes; so many printable ones in a row are text, not numbers
_MOST_PRIVATE = 64  # values of a safe private element
_FREE_TEXT = frozenset(("AE", "LO", "LT", "SH", "ST", "UC", "UR", "UT"))
OLDEST = "090Y"
_WRITTEN = re.compile(rb"[A-Za-z0-9 ^=.,@_-]{6,}")
_SCHEME_VERSION = re.compile(r"[\d.]{1,16}")

Step = Callable[["Rewrite", Element, Elements], "Element | None"]


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose instance it is: pseudonym, shift in days, and the pseudonym of anybody else by PatientID and issuer."""

    pseudonym: str
    days: int
    pseudonym_of: Callable[[str, str], str]
    charsets: tuple[str, ...] = DEFAULT


class Cleaner(Protocol):
    """Takes away what the file itself knows of people, for one instance."""

    def clean(self, text: str) -> str:
        """What of a description may stay: known words only, in plain ASCII."""

    def without_identifiers(self, text: str) -> str:
        """``text`` in plain ASCII without the identifiers of the patient and the staff, all other words kept."""

    def names_somebody(self, text: str) -> bool:
        """Whether a word of ``text`` is a part of the patient's name or of somebody else's in the file."""

    def is_somebodys_number(self, digits: str) -> bool:
        """Whether ``digits`` are an identifier that stands in the file, or the number in one."""


class Plan:
    """A compiled profile for one SOP class: the step for each kind of element, decided once."""

    def __init__(self, profile: Profile, sop_class: str = "") -> None:
        self.profile = profile
        self.sop_class = sop_class
        self._steps: dict[tuple[int, str, int], Step] = {}

    def step(self, tag: int, vr: str, parent: int) -> Step:
        """What to do with an element; ``parent`` is the sequence it stands in, 0 outside all sequences."""
        key = (tag, vr, parent)
        step = self._steps.get(key)
        if step is None:
            step = self._steps[key] = self._decide(tag, vr, parent)
        return step

    def _decide(self, tag: int, vr: str, parent: int) -> Step:
        group = tag >> 16
        standard = vrs_of(tag)
        if group & 1 and self.profile.safe_private is not None:
            return _private(self.profile.safe_private)
        if not standard or group < 0x0008 or group >= 0xFF00 or group >> 8 in (0x50, 0x60):
            return _remove  # private, unknown, commands, group lengths, padding, curves, overlays
        rule = self.profile.rule(tag, standard[0])
        if rule is None:
            return self._unruled(tag, vr, standard, parent)
        return self._ruled(rule, tag, vr, standard, parent)

    def _ruled(self, rule: Rule, tag: int, vr: str, standard: tuple[str, ...], parent: int) -> Step:
        kind = attribute_type(self.sop_class, parent, tag)
        action = resolved(rule.action, kind)
        fallback = _ACTIONS[resolved(rule.fallback, kind)]
        if action is Action.KEEP:
            return self._kept(tag, vr, standard, fallback)
        if action is Action.SHIFT:
            return _shift(fallback)
        if action is Action.CONTENT:
            return _content(fallback)
        if action is Action.CLEAN:
            return _clean(tag, vr, standard, fallback)
        if action is Action.LITERAL:
            return _literal(rule.value)
        return _ACTIONS[action]

    def _kept(self, tag: int, vr: str, standard: tuple[str, ...], fallback: Step) -> Step:
        """What an option of the profile retains; sequences are walked, what is no value of its VR is not kept."""
        kind = standard[0]
        if not _agrees(vr, standard):
            return fallback
        if kind == "SQ":
            return _walk
        if kind in ("DA", "DT"):
            return _shift(fallback) if self.profile.shifts_dates else _date(fallback)
        if kind == "TM":
            return _time
        if tag == TIMEZONE_OFFSET:
            return _timezone
        if kind == "UI":
            return _same_uid
        if kind == "AS":
            return _age(fallback)
        if kind in _FREE_TEXT:
            return _verbatim(fallback)
        return _RETAINED.get(kind, _small if kind in SIZES else fallback)

    def _unruled(self, tag: int, vr: str, standard: tuple[str, ...], parent: int) -> Step:
        if not _agrees(vr, standard):
            return _remove
        kind = standard[0]
        if tag == PIXEL_DATA:
            return _remove if parent else _keep
        if kind == "SQ":
            return _walk
        if kind in ("DA", "DT"):
            return (
                _shift(_remove)
                if self.profile.shifts_dates
                else _date(_remove)
                if self.profile.keeps_dates
                else _remove
            )
        if kind == "TM":
            return _time if self.profile.shifts_dates or self.profile.keeps_dates else _remove
        if tag == TIMEZONE_OFFSET:
            return _remove
        if tag in labels():
            return self._label(tag, vr, standard, parent)
        if kind in ("LO", "SH"):
            if tag in vocabulary.technical_tags():
                return _technical_or_dummy if attribute_type(self.sop_class, parent, tag) == "1" else _technical
            return _scheme if tag == SCHEME else _remove
        if tag in LOOKUP_TABLES:
            return _lookup_table
        if (special := self._numbers_of_objects(tag, parent)) is not None:
            return special
        if not BULK.isdisjoint(standard):
            return _remove
        return _RETAINED.get(kind, _small if kind in SIZES else _remove)

    def _label(self, tag: int, vr: str, standard: tuple[str, ...], parent: int) -> Step:
        """A label outside the table: cleaned like one of the table's, otherwise what its type allows."""
        kind = attribute_type(self.sop_class, parent, tag) or "3"
        fallback = _ACTIONS[resolved(Action.REMOVE_BLANK_OR_DUMMY, kind)]
        return _clean(tag, vr, standard, fallback) if self.profile.cleans_descriptors else fallback

    def _numbers_of_objects(self, tag: int, parent: int) -> Step | None:
        """The step for what only objects made of numbers may hold, None for everything else."""
        content = content_of(self.sop_class)
        if content is Content.MAP and tag in FLOAT_PIXELS and not parent:
            return _keep
        if content is Content.SIGNALS and parent:
            return _samples if tag == WAVEFORM_DATA else _one_sample if tag in ONE_SAMPLE else None
        return _array if content is Content.ATTRIBUTES and tag in arrays.ARRAYS else None


@dataclass(slots=True)
class Rewrite:
    """One instance on its way through the plan; ``counts`` records what was done."""

    plan: Plan
    keys: Keys
    buffer: Buffer
    patient: Patient
    uids: dict[str, str]
    cleaner_of: Callable[[], Cleaner]
    content_of: Callable[[Rewrite, list[Elements]], list[Elements]]
    little: bool = True
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    _cleaner: Cleaner | None = None

    def dataset(self, elements: Elements, *, parent: int = 0) -> Elements:
        """The de-identified copy of ``elements``, which stand in the sequence ``parent``; the source is left as is."""
        result: Elements = {}
        step = self.plan.step
        for tag, element in elements.items():
            kept = step(tag, element.vr, parent)(self, element, elements)
            if kept is not None:
                result[tag] = kept
                if tag >> 16 & 1:  # a private element is nothing without its creator
                    creator = creator_tag(tag)
                    result[creator] = Element(creator, "LO", _first(elements[creator]).encode("ascii"))
        if parent and (CODE_VALUE in elements or LONG_CODE in elements or URN_CODE in elements):
            self._code(elements, result)
        return result

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

    def mark(self, *, pixels_looked_at: bool = False) -> dict[int, Element]:
        """The attributes that say what was done (PS3.15 E.1.1 and C.12.1.1.3.3), for exactly the options applied."""
        profile = self.plan.profile
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
            PATIENT_NAME: Element(PATIENT_NAME, "PN", self.patient.pseudonym.encode()),
            PATIENT_ID: Element(PATIENT_ID, "LO", self.patient.pseudonym.encode()),
            IDENTITY_REMOVED: Element(IDENTITY_REMOVED, "CS", b"YES"),
            METHOD: Element(METHOD, "LO", method.encode()[:64]),
            METHOD_CODES: Element(METHOD_CODES, "SQ", items=codes),
            DATES_MODIFIED: Element(DATES_MODIFIED, "CS", profile.longitudinal.encode()),
        }

    def _code(self, source: Elements, result: Elements) -> None:
        """A coded concept is kept with its published meaning, or becomes the concept 'unknown'."""
        value = _first(source.get(CODE_VALUE)) or _first(source.get(LONG_CODE))
        scheme = _first(source.get(SCHEME))
        meaning = vocabulary.code_meaning(scheme, value, _first(source.get(MEANING)))
        if meaning is None:
            value, scheme, meaning = vocabulary.UNKNOWN_CODE
            self.counts[CODE_VALUE, "C"] += 1
        else:
            version = _first(source.get(SCHEME_VERSION))
            if _SCHEME_VERSION.fullmatch(version):
                result[SCHEME_VERSION] = Element(SCHEME_VERSION, "SH", version.encode())
        tag, vr = (CODE_VALUE, "SH") if len(value) <= 16 else (LONG_CODE, "UC")
        result[tag] = Element(tag, vr, value.encode())
        result[SCHEME] = Element(SCHEME, "SH", scheme.encode())
        result[MEANING] = Element(MEANING, "LO", meaning.encode())


def _first(element: Element | None) -> str:
    if element is None or not isinstance(element.value, bytes):
        return ""
    return components(element.value)[0]


def _agrees(vr: str, standard: tuple[str, ...]) -> bool:
    """Whether the file's VR is of the standard's kind, so that a value can be what the standard means."""
    if vr in standard or vr == "UN":
        return True
    if vr in TEXT:
        return standard[0] in TEXT
    if vr in SIZES:
        return SIZES.get(standard[0]) == SIZES[vr] and vr not in ("FL", "FD")
    return vr in BULK and standard[0] in BULK


def _remove(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    work.counts[element.tag, "X"] += 1
    return None


def _keep(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    return element


def _lookup_table(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """A lookup table is kept when it is exactly as long as its descriptor says (PS3.3 C.7.6.3.1.5, C.11.1.1)."""
    descriptor = dataset.get(LOOKUP_TABLES[element.tag])
    if element.items is not None or descriptor is None or not isinstance(descriptor.value, bytes):
        return _remove(work, element, dataset)
    order: Literal["little", "big"] = "little" if work.little else "big"
    entries, _, bits = (int.from_bytes(descriptor.value[n : n + 2], order) for n in (0, 2, 4))
    entries = entries or 65536
    if len(element.value) not in (2 * entries, *((entries + entries % 2,) if bits == 8 else ())):
        return _remove(work, element, dataset)
    value = element.value
    table = b"".join(work.buffer.chunks(value)) if isinstance(value, Span) else value
    return _remove(work, element, dataset) if _is_written_in(table, order) else Element(element.tag, element.vr, table)


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


def _small(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """Binary numbers: kept when they are as many as the standard allows and do not spell text."""
    size = SIZES[vrs_of(element.tag)[0]]
    most = most_values(element.tag)
    value = element.value
    if isinstance(value, Span) and (most is not None or content_of(work.plan.sop_class) is None):
        return _remove(work, element, dataset)  # only objects made of numbers have long lists of them
    if len(value) % size or (most is not None and len(value) > most * size):
        return _remove(work, element, dataset)
    if not isinstance(value, Span) and spells(value):
        return _remove(work, element, dataset)
    if most is None and _holds_text(work, value, size):
        return _remove(work, element, dataset)
    return Element(element.tag, _written(element), value)


def _holds_text(work: Rewrite, value: bytes | Span, size: int) -> bool:
    """Whether a list of binary numbers that may be as long as it likes spells something somewhere."""
    chunks = work.buffer.chunks(value) if isinstance(value, Span) else (value,)
    return any(arrays.spelled(piece, size, work.order) for piece in arrays.units(chunks, size))


def _array(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """Numbers in bulk of an object that is made of them: what they are declared to be, or the object is withheld."""
    if element.items is not None:
        return _remove(work, element, dataset)
    value, kind = element.value, arrays.ARRAYS[element.tag]
    chunks = work.buffer.chunks(value) if isinstance(value, Span) else (value,)
    arrays.check(kind, dataset, len(value), chunks, work.order, named(element.tag))
    return Element(element.tag, _written(element), value)


def _samples(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """The samples of a waveform, proven to be as many as declared (PS3.3 C.10.9)."""
    check_samples(element, dataset, work.buffer, work.order)
    return Element(element.tag, _written(element), element.value)


def _one_sample(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """A value of one sample: the smallest, the largest, or what pads."""
    if element.items is not None or len(element.value) not in (1, 2, 4, 8) or spells(element.data):
        return _remove(work, element, dataset)
    return Element(element.tag, _written(element), element.value)


def spells(value: bytes) -> bool:
    """Whether binary numbers are printable text."""
    return len(value) >= _SPELLING and value.isascii() and value.decode("ascii").isprintable()


def _written(element: Element) -> str:
    """The VR to write: the file's where the standard allows it, the standard's otherwise."""
    standard = vrs_of(element.tag)
    return element.vr if element.vr in standard or not standard else standard[0]


def _blank(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    work.counts[element.tag, "Z"] += 1
    return _empty(element)


def _empty(element: Element) -> Element:
    vr = _written(element)
    return Element(element.tag, vr, items=[]) if vr == "SQ" else Element(element.tag, vr)


def _dummy(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    vr = vrs_of(element.tag)[0]
    if not element.items if element.items is not None else len(element.value) == 0:
        return _empty(element)
    work.counts[element.tag, "D"] += 1
    if vr == "SQ":
        items = element.items or []
        return Element(element.tag, "SQ", items=[_dummy_item(work, item) for item in items[:1]])
    if vr == "UI":
        return _uid(work, element, dataset)
    return Element(element.tag, vr, dummy(vr) * (least_values(element.tag) if vr in SIZES else 1))


def _dummy_item(work: Rewrite, item: Elements) -> Elements:
    """An item of the same shape in which every value is a dummy."""
    result: Elements = {}
    for tag, element in item.items():
        standard = vrs_of(tag)
        if standard and tag != 0x00080005 and standard[0] != "UI":
            made = _dummy(work, element, item)
        else:
            made = _registered(work, element, item) if standard == ("UI",) else None
        if made is not None:
            result[tag] = made
    return result


def _uid(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """Every UID becomes another, except those the standard registered (frames of reference, classes)."""
    return _mapped(work, element, keep_registered=element.tag not in INSTANCE_UIDS)


def _registered(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    return _mapped(work, element, keep_registered=True)


def _mapped(work: Rewrite, element: Element, *, keep_registered: bool) -> Element | None:
    if element.items is not None or isinstance(element.value, Span):
        work.counts[element.tag, "X"] += 1
        return None
    originals = components(element.value)
    replaced = [text if not text or (keep_registered and is_registered(text)) else work.uid(text) for text in originals]
    if replaced != originals:
        work.counts[element.tag, "U"] += 1
    return Element(element.tag, "UI", "\\".join(replaced).encode("ascii"))


def _pseudonym(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    if element.items is not None or len(element.value) == 0:
        return _empty(element)
    work.counts[element.tag, "D"] += 1
    patient = work.patient
    value = patient.pseudonym
    if identifier := text_of(dataset.get(PATIENT_ID), patient.charsets):
        issuer = text_of(dataset.get(ISSUER_OF_PATIENT_ID), patient.charsets)
        value = patient.pseudonym_of(identifier, issuer)
    return Element(element.tag, vrs_of(element.tag)[0], value.encode())


def _shift(fallback: Step) -> Step:
    def shift(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
        if element.items is not None or isinstance(element.value, Span):
            return fallback(work, element, dataset)
        vr = vrs_of(element.tag)[0]
        originals = components(element.value)
        moved = [dates.shifted(vr, text, work.patient.days) if text else "" for text in originals]
        if None in moved:
            return fallback(work, element, dataset)
        if any(moved):
            work.counts[element.tag, "C"] += 1
        return Element(element.tag, vr, "\\".join(text or "" for text in moved).encode("ascii"))

    return shift


def _date(fallback: Step) -> Step:
    """Full dates stay when they are dates; what is none may be anything."""

    def date(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
        if element.items is not None or isinstance(element.value, Span):
            return fallback(work, element, dataset)
        vr = vrs_of(element.tag)[0]
        texts = components(element.value)
        if any(text and dates.shifted(vr, text, 0) is None for text in texts):
            return fallback(work, element, dataset)
        return Element(element.tag, vr, "\\".join(texts).encode("ascii"))

    return date


def _age(fallback: Step) -> Step:
    """Ages stay; over 89 years they are 90 years (45 CFR 164.514(b)(2)(i)(C))."""

    def age(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
        if element.items is not None or isinstance(element.value, Span):
            return fallback(work, element, dataset)
        ages = components(element.value)
        if any(text and not valid("AS", text) for text in ages):
            return fallback(work, element, dataset)
        kept = [OLDEST if text.endswith("Y") and text > OLDEST else text for text in ages]
        if kept != ages:
            work.counts[element.tag, "C"] += 1
        return Element(element.tag, "AS", "\\".join(kept).encode("ascii"))

    return age


def _same_uid(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    if element.items is not None or isinstance(element.value, Span):
        return _remove(work, element, dataset)
    uids = components(element.value)
    if any(uid and not valid("UI", uid) for uid in uids):
        return _registered(work, element, dataset)
    return Element(element.tag, "UI", "\\".join(uids).encode("ascii"))


def _clean(tag: int, vr: str, standard: tuple[str, ...], fallback: Step) -> Step:
    """Descriptions keep their known words; of what is no text nothing is known."""
    if standard[0] == "SQ":
        return _walk if vr in ("SQ", "UN") else fallback
    if standard[0] not in _FREE_TEXT or not _agrees(vr, standard):
        return fallback
    return _worded(lambda work, text: work.cleaner.clean(text), fallback)


def _content(fallback: Step) -> Step:
    """Content items outside a tree, each by its concept (PS3.15 Table E.3.4-1)."""

    def content(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
        items = work.content_of(work, element.items) if element.items else []
        return Element(element.tag, "SQ", items=items) if items else fallback(work, element, dataset)

    return content


def _verbatim(fallback: Step) -> Step:
    return _worded(lambda work, text: work.cleaner.without_identifiers(text), fallback)


def _worded(kept: Callable[[Rewrite, str], str], fallback: Step) -> Step:
    """Text of which something is kept, value by value; the fallback when nothing is."""

    def worded(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
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

    return worded


def _private(safe: SafePrivate) -> Step:
    """Private elements on the list of safe ones stay when their value is what the list says (PS3.15 E.3.10)."""

    def private(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
        if element.tag & 0xFFFF in CREATORS:  # comes back with the first element that needs it
            return None if _is_creator(element) else _remove(work, element, dataset)
        creator = dataset.get(creator_tag(element.tag))
        vr = safe.vr(_first(creator), element.tag) if block_of(element.tag) in CREATORS else None
        if vr is None or element.items is not None or isinstance(element.value, Span):
            return _remove(work, element, dataset)
        value = _private_value(work, vr, element, dataset)
        if value is None:
            return _remove(work, element, dataset)
        return Element(element.tag, vr, value)

    return private


def _is_creator(element: Element) -> bool:
    return element.items is None and not isinstance(element.value, Span)


def _private_value(work: Rewrite, vr: str, element: Element, dataset: Elements) -> bytes | None:
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
        return value.strip(b" \0") if all(_code_string(work, text) for text in texts) else None
    cleaned = [work.cleaner.clean(text) for text in texts]
    return "\\".join(cleaned).encode("ascii") if cleaned == texts else None


def _literal(value: str) -> Step:
    def literal(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
        vr = vrs_of(element.tag)[0]
        if vr not in TEXT or not valid(vr, value):
            return _blank(work, element, dataset)
        work.counts[element.tag, "D"] += 1
        return Element(element.tag, vr, value.encode("ascii"))

    return literal


def _walk(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    if element.items is None:
        return _remove(work, element, dataset)
    return Element(element.tag, "SQ", items=[work.dataset(item, parent=element.tag) for item in element.items])


def _checked(keep: Callable[[Rewrite, str], bool], substitutes: dict[int, str]) -> Step:
    """Text kept component by component; an unknown one is replaced where its place has a meaning, else dropped."""

    def checked(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
        if element.items is not None or isinstance(element.value, Span):
            return _remove(work, element, dataset)
        originals = components(element.value)
        substitute = substitutes.get(element.tag)
        stays = [keep(work, text) for text in originals]
        kept = [t if stay else substitute for t, stay in zip(originals, stays, strict=True) if stay or substitute]
        if kept != originals:
            work.counts[element.tag, "C"] += 1
        return Element(element.tag, _written(element), "\\".join(text or "" for text in kept).encode("ascii"))

    return checked


def _code_string(work: Rewrite, text: str) -> bool:
    return valid("CS", text) and vocabulary.known_code_string(text)


def _technical_text(work: Rewrite, text: str) -> bool:
    """Known words, unless one of them is somebody's name here: a kernel may be sharp, and so may a patient."""
    return vocabulary.known_technical_text(text) and not (text and work.cleaner.names_somebody(text))


def _technical_or_dummy(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """Technical text of type 1, of which something must stay (PS3.5 7.4.1)."""
    kept = _technical(work, element, dataset)
    empty = kept is not None and not kept.data.strip(b" \\")
    return _dummy(work, element, dataset) if empty else kept


def _time(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """Times of day stay; the colons of ACR-NEMA do not."""
    if element.items is not None or isinstance(element.value, Span):
        return _remove(work, element, dataset)
    times = components(element.value)
    if any(text and not valid("TM", text) for text in times):
        return _blank(work, element, dataset)
    return Element(element.tag, "TM", "\\".join(times).replace(":", "").encode("ascii"))


def _is_timezone(work: Rewrite, text: str) -> bool:
    return TIMEZONE.fullmatch(text) is not None


def _is_scheme(work: Rewrite, text: str) -> bool:
    return text in vocabulary.code_schemes()


def _number(work: Rewrite, element: Element, dataset: Elements) -> Element | None:
    """Numbers in text: emptied when one is none, or one by which the file calls somebody or something."""
    vr = vrs_of(element.tag)[0]
    if element.items is not None:
        return _remove(work, element, dataset)
    value = element.value
    lists = number_lists.pieces(work.buffer.chunks(value)) if isinstance(value, Span) else (value,)
    for numbers in lists:
        if not number_lists.are_numbers(vr, numbers):
            return _blank(work, element, dataset)
        if any(work.cleaner.is_somebodys_number(digits) for digits in number_lists.whole_numbers(numbers)):
            return _blank(work, element, dataset)
    return Element(element.tag, vr, value)


_technical = _checked(_technical_text, {})
_scheme = _checked(_is_scheme, {})
_timezone = _checked(_is_timezone, {})

_ACTIONS: dict[Action, Step] = {
    Action.REMOVE: _remove,
    Action.BLANK: _blank,
    Action.DUMMY: _dummy,
    Action.UID: _uid,
    Action.PSEUDONYM: _pseudonym,
    Action.KEEP: _remove,  # as a fallback: nothing to fall back to
}
_RETAINED: dict[str, Step] = {
    "CS": _checked(_code_string, {IMAGE_TYPE: "OTHER", FRAME_TYPE: "OTHER", CONTENT_LABEL: "OTHER"}),
    "DS": _number,
    "IS": _number,
    "PN": _blank,
    "UI": _registered,
}


def actions_of(counts: Counter[tuple[int, str]]) -> tuple[tuple[str, str, str, int], ...]:
    """The record of actions: tag ``GGGGEEEE``, keyword, letter of PS3.15 E.1, count; in tag order."""
    return tuple((f"{tag:08X}", keyword_of(tag), letter, count) for (tag, letter), count in sorted(counts.items()))
