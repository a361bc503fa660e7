"""What the residue scan looks for: the identifiers of one instance, from its original data set.

Knows nothing of rules and actions, and shares nothing with :mod:`descriptor_identifiers`, whose mistakes it must be
able to catch.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial

from pacs_pipeline.deidentify import dates
from pacs_pipeline.deidentify.codec import Element, Elements
from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.series import Made
from pacs_pipeline.deidentify.text import charsets_of, decoded
from pacs_pipeline.deidentify.values import is_registered, vrs_of

SHORTEST_NAME = 2  # characters of a part of a name; single initials are in every text
SHORTEST_ID = 3
SHORTEST_NUMBER = 5  # characters of a part of an identifier that holds digits
SHORTEST_RAW = 6  # bytes of a part in its original encoding
SHORTEST_UID = 8
REMEMBERED = 1024  # bytes; longer values do not repeat
TOKEN = re.compile(r"[^\W_]+")
_PARTS = re.compile(r"[\^=\\\s,;/()]+")
_WORDLESS = frozenset(("ANONYMIZED", "ANONYMOUS", "NONE", "UNKNOWN", "OTHER", "NULL", "TEST", "YES"))
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


@cache
def identifying_tags() -> frozenset[int]:
    """Attributes of Table E.1-1 whose whole text names a person, an order, a place or a device.

    Descriptions (Clean Descriptors) are sentences about the procedure and no identifiers in themselves;
    UIDs, dates and names are collected by their VR wherever they stand.
    """
    tags = set()
    for row in read_table():
        if "x" in row.tag or row.tag == "PRIVATE" or "clean_descriptors" in row.options:
            continue
        tag = int(row.tag, 16)
        if tag == 0x00080201:  # TimezoneOffsetFromUTC: a clock, shared by millions; checked by its own grammar
            continue
        if set(vrs_of(tag)) & {"LO", "SH", "ST", "LT", "UC", "UT", "AE", "UR", "UN"}:
            tags.add(tag)
    return frozenset(tags)


@dataclass(frozen=True, eq=False, slots=True)
class Identifiers:
    """What must not be found: whole texts, their tokens, raw encodings, UIDs, dates. Folded to lower case."""

    texts: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    raw: frozenset[bytes] = frozenset()
    dates: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.texts) + len(self.names) + len(self.raw) + len(self.dates) + len(self.uids)

    @property
    def of_series(self) -> tuple[frozenset[object], ...]:
        """All but the UIDs: the instances of a series have them in common."""
        return self.texts, self.names, self.raw, self.dates

    def with_texts(self, texts: Iterable[str]) -> Identifiers:
        """These, and further texts that identify as a whole."""
        more = _Collected()
        for text in texts:
            more.add_text(text)
        return replace(self, texts=self.texts | more.texts) if more.texts else self


@dataclass(eq=False, slots=True)
class _Collected:
    """Identifiers while they are collected."""

    texts: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    raw: set[bytes] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.of_series or self.uids)

    @property
    def of_series(self) -> bool:
        """Whether there is anything but UIDs."""
        return bool(self.texts or self.names or self.raw or self.dates)

    def add_text(self, text: str) -> bool:
        """Take in a text that identifies as a whole, with the numbers in it; whether it is long enough to."""
        folded = fold(text)
        if len(folded) < SHORTEST_ID or folded.upper() in _WORDLESS:
            return False
        self.texts.add(folded)
        self.texts.update(
            token
            for token in TOKEN.findall(folded)
            if len(token) >= SHORTEST_NUMBER and any(c.isdigit() for c in token)
        )
        return True

    def add(self, more: _Collected) -> None:
        """Take in what another value holds."""
        self.texts |= more.texts
        self.names |= more.names
        self.raw |= more.raw
        self.dates |= more.dates
        self.uids |= more.uids


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """What one element holds: identifiers, and what the profile keeps."""

    found: _Collected
    kept: _Collected
    lasting: bool  # there is more than UIDs


def _nothing(tag: int) -> bool:  # noqa: ARG001
    return False


class Harvest:
    """Collects the identifiers of one instance after the other, at every depth.

    ``retained`` says in which attributes the profile keeps what it finds: that is no identifier any more, not even
    where it stands once more. Names of people always are.
    """

    def __init__(self, retained: Callable[[int], bool] = _nothing) -> None:
        self._retained = retained
        self._made: Made[Element, _Part | tuple[()]] = Made()
        self._parts: list[_Part] = []
        self._of_series = Identifiers()

    def of(self, dataset: Elements) -> Identifiers:
        """The identifiers of an original data set."""
        charsets = charsets_of(dataset)
        parts = [part for part in self._made.of(dataset.values(), partial(self._part, charsets), charsets) if part]
        lasting = [part for part in parts if part.lasting]
        if lasting != self._parts:
            found, kept = _sum(lasting)
            self._of_series = Identifiers(
                texts=frozenset(found.texts - kept.texts),
                names=frozenset(found.names | kept.names),
                raw=frozenset(found.raw - kept.raw),
                dates=frozenset(found.dates - kept.dates),
            )
            self._parts = lasting
        uids = frozenset().union(*(part.found.uids for part in parts)).difference(*(part.kept.uids for part in parts))
        return replace(self._of_series, uids=uids)

    def _part(self, charsets: tuple[str, ...], element: Element) -> _Part | tuple[()]:
        if element.items is None and not _may_identify(element.tag, element.vr):
            return ()
        found, kept = _Collected(), _Collected()
        _collect({element.tag: element}, charsets, found, kept, self._retained)
        return _Part(found, kept, found.of_series or kept.of_series) if found or kept else ()


def _sum(parts: list[_Part]) -> tuple[_Collected, _Collected]:
    found, kept = _Collected(), _Collected()
    for part in parts:
        found.add(part.found)
        kept.add(part.kept)
    return found, kept


def _collect(
    dataset: Elements,
    charsets: tuple[str, ...],
    found: _Collected,
    kept: _Collected,
    retained: Callable[[int], bool],
) -> None:
    charsets = charsets_of(dataset, charsets)
    for tag, element in dataset.items():
        if element.items is not None:
            for item in element.items:
                _collect(item, charsets, found, kept, retained)
        elif isinstance(element.value, bytes) and element.value and _may_identify(tag, element.vr):
            _collect_value(tag, element, charsets, kept if retained(tag) else found)


@lru_cache(maxsize=65536)
def _may_identify(tag: int, vr: str) -> bool:
    """Whether a value can hold anything that :func:`_in_value` looks for."""
    return (vrs_of(tag) or (vr,))[0] in ("PN", "UI", "DA", "DT") or tag in identifying_tags()


def _collect_value(tag: int, element: Element, charsets: tuple[str, ...], found: _Collected) -> None:
    value = element.data
    standard = vrs_of(tag)
    vr = standard[0] if standard else element.vr
    known = _in_value if len(value) <= REMEMBERED else _in_value.__wrapped__
    found.add(known(tag, vr, value, charsets))


@lru_cache(maxsize=8192)
def _in_value(tag: int, vr: str, value: bytes, charsets: tuple[str, ...]) -> _Collected:
    """The texts, names, raw encodings, UIDs and dates in one value; a series repeats most of its values."""
    found = _Collected()
    if vr == "PN":
        _collect_name(value, charsets, found)
    elif vr == "UI":
        uids = (part.strip(" \0") for part in value.decode("latin-1").split("\\"))
        found.uids.update(uid for uid in uids if len(uid) >= SHORTEST_UID and not is_registered(uid))
    elif vr in ("DA", "DT"):
        for part in value.decode("latin-1").split("\\"):
            date = dates.parsed(part.strip(" \0")[:8] if vr == "DT" else part.strip(" \0"))
            if date is not None:
                found.dates.update(renderings(date.year, date.month, date.day))
    elif tag in identifying_tags():
        for part in decoded(value, charsets).split("\\"):
            if found.add_text(part) and not part.isascii():
                found.raw.add(value.strip(b" \0").lower())
    return found


def _collect_name(value: bytes, charsets: tuple[str, ...], found: _Collected) -> None:
    for part in _PARTS.split(decoded(value, charsets)):
        for variant in {fold(part), fold(_without_marks(part))}:
            for token in {variant, *TOKEN.findall(variant)}:
                short = len(token) < SHORTEST_NAME and token.isascii()
                if token and not short and token.upper() not in _WORDLESS:
                    found.names.add(token)
    if not value.isascii() or b"\x1b" in value:
        found.raw.update(part.lower() for part in re.split(rb"[\^=\\ \0]+", value) if len(part) >= SHORTEST_RAW)


def fold(text: str) -> str:
    """``text`` for comparison: compatibility forms, case and outer space removed."""
    return " ".join(unicodedata.normalize("NFKC", text.replace("\0", " ")).casefold().split())


def _without_marks(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def renderings(year: int, month: int, day: int) -> set[str]:
    """The ways people and machines write one date, folded."""
    y, m, d, short = f"{year:04d}", f"{month:02d}", f"{day:02d}", f"{year % 100:02d}"
    name = _MONTHS[month - 1].lower()
    result = {y + m + d, d + m + y, m + d + y}
    for separator in "-/. ":
        result |= {separator.join(parts) for parts in ((y, m, d), (d, m, y), (m, d, y), (str(day), str(month), y))}
        result |= {separator.join(parts) for parts in ((str(month), str(day), y), (d, name, y), (str(day), name, y))}
        result |= {separator.join((d, name, short))}
    return result | {f"{d}{name}{y}", f"{name} {d}, {y}", f"{name} {day}, {year}"}
