"""The independent last look: are identifiers of this very instance anywhere in the file that was written?

It knows nothing of rules and actions. What to look for comes from the original data set; where to look is
the written file, read again with pydicom: every byte of it, and the text of every element.
"""

from __future__ import annotations

import io
import re
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.values import convert_SQ

from pacs_pipeline.deidentify import dates, vocabulary
from pacs_pipeline.deidentify.codec import CHUNK, ITEM, PIXELS, Element, Elements, Encoding
from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.safe_private import CREATORS, SafePrivate, creator_tag
from pacs_pipeline.deidentify.text import charsets_of, decoded
from pacs_pipeline.deidentify.values import TEXT, is_registered, named, vrs_of
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

SHORTEST_NAME = 2  # characters of a part of a name; single initials are in every text
SHORTEST_ID = 3
SHORTEST_NUMBER = 5  # characters of a part of an identifier that holds digits
SHORTEST_IN_BYTES = 6  # a pattern that may be looked for anywhere, without boundaries
SHORTEST_IN_UTF_16 = 8
LONGEST_PATTERN = 128
LONGEST_WIDE = LONGEST_PATTERN // 2  # characters of two bytes
SHORTEST_NUMBER_IN_PIXELS = 10  # digits are ordinary grey values, so short numbers appear by chance
SHORTEST_UID = 8
REMEMBERED = 1024  # bytes; longer values do not repeat
_PARTS = re.compile(r"[\^=\\\s,;/()]+")
_TOKEN = re.compile(r"[^\W_]+")
_WORDLESS = frozenset(("ANONYMIZED", "ANONYMOUS", "NONE", "UNKNOWN", "OTHER", "NULL", "TEST", "YES"))
IDENTITY_REMOVED, METHOD, CODE_SCHEME, CODE_MEANING = 0x00120062, 0x00120063, 0x00080102, 0x00080104
_NUMERIC = frozenset(bytes((code,)) for code in b"0123456789.")
_METHOD = re.compile(r"pacs-pipeline profile [a-z-]+ [0-9a-f]{12}")
_FILE_META = frozenset((0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013))
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


@dataclass(slots=True)
class Identifiers:
    """What must not be found: whole texts, their tokens, raw encodings, UIDs. Folded to lower case."""

    texts: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    raw: set[bytes] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)

    def add_text(self, text: str) -> bool:
        """Take in a text that identifies as a whole, with the numbers in it; whether it is long enough to."""
        folded = fold(text)
        if len(folded) < SHORTEST_ID or folded.upper() in _WORDLESS:
            return False
        self.texts.add(folded)
        self.texts.update(
            token
            for token in _TOKEN.findall(folded)
            if len(token) >= SHORTEST_NUMBER and any(c.isdigit() for c in token)
        )
        return True

    def add(self, more: Identifiers) -> None:
        """Take in what another value holds."""
        self.texts |= more.texts
        self.names |= more.names
        self.raw |= more.raw
        self.uids |= more.uids
        self.dates |= more.dates


def _nothing(tag: int) -> bool:  # noqa: ARG001
    return False


def identifiers_of(dataset: Elements, retained: Callable[[int], bool] = _nothing) -> Identifiers:
    """Collect the identifiers of the original data set at every depth.

    ``retained`` says in which attributes the profile keeps what it finds: that is no identifier any more, not even
    where it stands once more. Names of people always are.
    """
    found, kept = Identifiers(), Identifiers()
    _collect(dataset, charsets_of(dataset), found, kept, retained)
    found.names |= kept.names
    found.texts -= kept.texts
    found.raw -= kept.raw
    found.uids -= kept.uids
    found.dates -= kept.dates
    return found


def _collect(
    dataset: Elements,
    charsets: tuple[str, ...],
    found: Identifiers,
    kept: Identifiers,
    retained: Callable[[int], bool],
) -> None:
    charsets = charsets_of(dataset, charsets)
    for tag, element in dataset.items():
        if element.items is not None:
            for item in element.items:
                _collect(item, charsets, found, kept, retained)
        elif isinstance(element.value, bytes) and element.value:
            _collect_value(tag, element, charsets, kept if retained(tag) else found)


def _collect_value(tag: int, element: Element, charsets: tuple[str, ...], found: Identifiers) -> None:
    value = element.data
    standard = vrs_of(tag)
    vr = standard[0] if standard else element.vr
    known = _in_value if len(value) <= REMEMBERED else _in_value.__wrapped__
    found.add(known(tag, vr, value, charsets))


@lru_cache(maxsize=8192)
def _in_value(tag: int, vr: str, value: bytes, charsets: tuple[str, ...]) -> Identifiers:
    """The texts, names, raw encodings, UIDs and dates in one value; a series repeats most of its values."""
    found = Identifiers()
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


def _collect_name(value: bytes, charsets: tuple[str, ...], found: Identifiers) -> None:
    for part in _PARTS.split(decoded(value, charsets)):
        for variant in {fold(part), fold(_without_marks(part))}:
            for token in {variant, *_TOKEN.findall(variant)}:
                short = len(token) < SHORTEST_NAME and token.isascii()
                if token and not short and token.upper() not in _WORDLESS:
                    found.names.add(token)
    if not value.isascii() or b"\x1b" in value:
        found.raw.update(part.lower() for part in re.split(rb"[\^=\\ \0]+", value) if len(part) >= SHORTEST_IN_BYTES)


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


def verify(
    path: Path,
    identifiers: Identifiers,
    encoding: Encoding,
    inflated: bytes | None = None,
    safe_private: SafePrivate | None = None,
) -> None:
    """Raise Quarantine (RESIDUE) when the written file holds an identifier or is not what it must be.

    ``inflated`` is the data set of a deflated file; every other file is read from ``path``. ``safe_private`` are
    the private elements that may be there; without it there may be none.
    """
    with path.open("rb") as file:
        meta, start = _meta(file)
        stream: BinaryIO = file if inflated is None else io.BytesIO(inflated)
        stream.seek(start if inflated is None else 0)
        scan = _Scan(stream, identifiers, safe_private)
        for element in meta:
            scan.take(element)
        _take_dataset(scan, stream, encoding)
        scan.finish()


def _meta(file: BinaryIO) -> tuple[list[RawDataElement], int]:
    """The file meta elements, only our own, behind a preamble of zeros; and where the data set starts."""
    head = file.read(132)
    if any(head[:128]) or head[128:] != b"DICM":
        raise Quarantine(Reason.RESIDUE, "the preamble is not empty")
    elements: list[RawDataElement] = []
    end = 0
    for element in data_element_generator(file, is_implicit_VR=False, is_little_endian=True):
        if int(element.tag) not in _FILE_META or not isinstance(element, RawDataElement):
            raise Quarantine(Reason.RESIDUE, f"unexpected {named(int(element.tag))} in the file meta information")
        if element.tag == 0x00020000:
            end = file.tell() + struct.unpack("<L", element.value or b"")[0]
        else:
            elements.append(element)
        if file.tell() >= end:
            break
    return elements, end


def _take_dataset(scan: _Scan, stream: BinaryIO, encoding: Encoding) -> None:
    """Everything in the data set goes to ``scan``; its structure is verified on the way."""
    last = end = 0
    removed = False
    generator = data_element_generator(
        stream, is_implicit_VR=not encoding.explicit, is_little_endian=encoding.little, defer_size=CHUNK
    )
    for element in generator:
        end = stream.tell()
        tag = int(element.tag)
        if tag <= last:
            raise Quarantine(Reason.RESIDUE, "elements are out of order")
        last = tag
        if tag == IDENTITY_REMOVED and isinstance(element, RawDataElement):
            removed = (element.value or b"").strip() == b"YES"
        if tag in PIXELS and isinstance(element, RawDataElement):
            scan.pixels(element.value_tell, end)
        else:
            scan.take(element)
    if stream.seek(0, 2) != end:
        raise Quarantine(Reason.RESIDUE, "the data set does not end with the file")
    if not removed:
        raise Quarantine(Reason.RESIDUE, "PatientIdentityRemoved is not YES")


def _elements(
    stream: BinaryIO, start: int, stop: int, sequence: RawDataElement
) -> Iterator[tuple[RawDataElement | DataElement, int]]:
    """The elements of the item between ``start`` and ``stop``, each with the position behind it."""
    stream.seek(start)
    if start == stop:
        return
    for element in data_element_generator(stream, sequence.is_implicit_VR, sequence.is_little_endian, defer_size=CHUNK):
        behind = stream.tell()
        yield element, behind
        if behind >= stop:
            return


class _Scan:
    """Looks at one value after the other: text as decoded text, everything else as bytes."""

    def __init__(self, stream: BinaryIO, identifiers: Identifiers, safe_private: SafePrivate | None = None) -> None:
        self._stream = stream
        self._sought = identifiers
        self._safe_private = safe_private
        self._creators: dict[int, str] = {}  # of the data set or item that is being read
        self._words = _words_of(frozenset(identifiers.names | identifiers.texts), frozenset(identifiers.dates))
        self._numbers = frozenset(text for text in identifiers.texts if len(text) >= SHORTEST_IN_BYTES)
        self._texts: list[tuple[int, str]] = []
        self._spans: list[tuple[int, int, int]] = []

    def take(self, element: RawDataElement | DataElement) -> None:
        """One element of the written file, at any depth."""
        tag = int(element.tag)
        private = self._private(element) if (tag >> 16) & 1 else None
        if private is None and not (vrs_of(tag) or tag in _FILE_META):
            raise Quarantine(Reason.RESIDUE, f"{named(tag)} is private or unknown")
        if not isinstance(element, RawDataElement):  # a sequence, or what is empty in implicit VR
            if element.VR != "SQ" and element.value:
                raise Quarantine(Reason.RESIDUE, f"{named(tag)} was not read as it is written")
            self._take_items(element.value or ())
            return
        vr = private or element.VR or vrs_of(tag)[0]
        if vr == "SQ" and element.value is None and element.length:
            self._take_large(element)
        elif vr == "SQ":
            little, implicit = element.is_little_endian, element.is_implicit_VR
            self._take_items(convert_SQ(element.value or b"", implicit, little, ["iso8859"], 0))
        elif element.value is None:
            self._spans.append((tag, element.value_tell, element.value_tell + element.length))
        elif vr in TEXT:
            self._take_text(tag, vr, element.value)
        elif element.value:
            self._search(tag, element.value, in_pixels=False)

    def _take_large(self, sequence: RawDataElement) -> None:
        """A sequence too long to be read at once, item by item; the stream is left where it was."""
        before = self._stream.tell()
        order: Literal["little", "big"] = "little" if sequence.is_little_endian else "big"
        start, end = sequence.value_tell, sequence.value_tell + sequence.length
        outer = self._creators
        while start < end:
            self._stream.seek(start)
            group, number, length = (int.from_bytes(self._stream.read(size), order) for size in (2, 2, 4))
            start, stop = start + 8, start + 8 + length
            if group << 16 | number != ITEM or stop > end:
                raise Quarantine(Reason.RESIDUE, f"{named(int(sequence.tag))} is not made of items")
            self._creators = {}
            for element, behind in _elements(self._stream, start, stop, sequence):
                self.take(element)
                self._stream.seek(behind)
            start = stop
        self._creators = outer
        self._stream.seek(before)

    def _take_items(self, items: Iterable[Dataset]) -> None:
        outer = self._creators
        for item in items:
            self._creators = {}
            for tag in item.keys():  # noqa: SIM118 - iterating a Dataset would convert its elements
                self.take(item.get_item(BaseTag(tag)))
        self._creators = outer

    def _private(self, element: RawDataElement | DataElement) -> str | None:
        """The VR of a private element that may be there: a creator, or one on its creator's list."""
        tag = int(element.tag)
        if self._safe_private is None or not isinstance(element, RawDataElement):
            return None
        if tag & 0xFFFF in CREATORS:
            creator = (element.value or b"").decode("ascii", "replace").strip(" \0")
            self._creators[tag] = creator
            return "LO" if creator in self._safe_private.creators else None
        return self._safe_private.vr(self._creators.get(creator_tag(tag), ""), tag)

    def _take_text(self, tag: int, vr: str, value: bytes) -> None:
        if not value.isascii():
            raise Quarantine(Reason.RESIDUE, f"{named(tag)} holds other than plain ASCII text")
        if vr in ("DS", "IS"):  # thousands of them in one contour
            if not self._numbers.isdisjoint(
                map(str.strip, value.decode("ascii").lower().replace("\0", " ").split("\\"))
            ):
                raise Quarantine(Reason.RESIDUE, named(tag))
            return
        text = fold(value.decode("ascii"))
        if not text:
            return
        if _is_published(tag, vr, value):
            if tag in vocabulary.technical_tags() and not self._sought.names.isdisjoint(_TOKEN.findall(text)):
                raise Quarantine(Reason.RESIDUE, named(tag))
            return
        parts = [part.strip() for part in text.split("\\")]
        if vr in ("DA", "DT", "TM", "AS"):  # a moved date may meet an original one by chance
            return
        if vr == "UI":
            if not self._sought.uids.isdisjoint(parts) or not self._sought.texts.isdisjoint(parts):
                raise Quarantine(Reason.RESIDUE, named(tag))
        else:
            self._texts.append((tag, text))

    def pixels(self, start: int, end: int) -> None:
        """Where the pixel data stand; looked at in :meth:`finish`, piece by piece."""
        self._spans.append((0x7FE00010, start, end))

    def finish(self) -> None:
        """Search what was set aside while the file was read."""
        for tag, text in self._texts:
            if not self._words.tokens.isdisjoint(_TOKEN.findall(text)):
                raise Quarantine(Reason.RESIDUE, named(tag))
            if any(phrase in text and _bounded(text, phrase) for phrase in self._words.phrases):
                raise Quarantine(Reason.RESIDUE, named(tag))
            if any(token in text for token in self._words.long):
                raise Quarantine(Reason.RESIDUE, named(tag))
        for tag, start, end in self._spans:
            self._stream.seek(start)
            left, tail = end - start, b""
            while left > 0:
                piece = self._stream.read(min(CHUNK, left))
                if not piece:
                    raise Quarantine(Reason.RESIDUE, f"{named(tag)} is cut off in the written file")
                left -= len(piece)
                self._search(tag, tail + piece, in_pixels=tag in PIXELS)
                tail = piece[-LONGEST_PATTERN:]

    def _search(self, tag: int, data: bytes, *, in_pixels: bool) -> None:
        needles = self._needles
        readable = _readable(data)
        for needle in needles.numbers if readable else ():
            if in_pixels and len(needle) < SHORTEST_NUMBER_IN_PIXELS:
                continue
            if _stands_alone(needle, readable):
                raise Quarantine(Reason.RESIDUE, named(tag))
        if readable and any(needle in readable for needle in needles.words):
            raise Quarantine(Reason.RESIDUE, named(tag))
        if needles.wide and any(needle in text for text in _wide(data) for needle in needles.wide):
            raise Quarantine(Reason.RESIDUE, named(tag))
        if needles.encoded:
            lower = data.lower()
            if any(needle in lower for needle in needles.encoded):
                raise Quarantine(Reason.RESIDUE, named(tag))

    @cached_property
    def _needles(self) -> _Needles:
        return _needles(self._sought)


@dataclass(frozen=True, slots=True)
class _Words:
    """What to look for in text: whole tokens, phrases between boundaries, and long tokens anywhere."""

    tokens: frozenset[str]
    phrases: tuple[str, ...]
    long: tuple[str, ...]


@lru_cache(maxsize=64)
def _words_of(texts: frozenset[str], dates: frozenset[str]) -> _Words:
    tokens = frozenset(text for text in texts if _TOKEN.fullmatch(text))
    phrases = (*sorted((texts | dates) - tokens), *sorted(date for date in dates if _TOKEN.fullmatch(date)))
    return _Words(tokens, phrases, tuple(sorted(t for t in tokens if len(t) >= SHORTEST_IN_BYTES and not t.isdigit())))


@dataclass(frozen=True, slots=True)
class _Needles:
    """Byte patterns: ASCII words, ASCII numbers (which need boundaries), ASCII in UTF-16, and other encodings."""

    words: tuple[bytes, ...]
    numbers: tuple[bytes, ...]
    wide: tuple[bytes, ...]
    encoded: tuple[bytes, ...]


def _needles(sought: Identifiers) -> _Needles:
    texts = frozenset(sought.names | sought.texts)
    needles = _needles_of(texts, frozenset(sought.dates), frozenset(sought.raw))
    uids = sorted(uid[:LONGEST_PATTERN].encode("ascii") for uid in sought.uids if uid.isascii())
    return replace(needles, numbers=(*needles.numbers, *uids))


@lru_cache(maxsize=64)
def _needles_of(texts: frozenset[str], dates: frozenset[str], raw: frozenset[bytes]) -> _Needles:
    """The patterns that the instances of a series have in common."""
    words: set[bytes] = set()
    numbers: set[bytes] = set()
    wide: set[bytes] = set()
    encoded = {form for form in raw if len(form) >= SHORTEST_IN_BYTES}
    for text in texts | dates:
        text = text[:LONGEST_PATTERN]
        if text.isascii():
            if len(text) >= SHORTEST_IN_BYTES and len(set(text)) >= 3:
                (numbers if re.fullmatch(r"[\d.,/ -]+", text) else words).add(text.encode("ascii"))
            if len(text) >= SHORTEST_IN_UTF_16 and text not in dates:
                wide.add(text[:LONGEST_WIDE].encode("ascii"))
        else:
            forms = {text.encode("utf-8"), text.encode("utf-16-le"), text.encode("latin-1", "ignore")}
            encoded |= {form for form in forms if len(form) >= SHORTEST_IN_BYTES + 2}
    # a start of a pattern is enough, and one that is longer than the overlap of two pieces could be cut by both
    encoded = {form[:LONGEST_PATTERN] for form in encoded}
    return _Needles(_least(words), tuple(sorted(numbers)), _least(wide), _least(encoded))


def _least(patterns: set[bytes]) -> tuple[bytes, ...]:
    """The patterns that hold none of the others: data with any pattern have one of these, too."""
    least: list[bytes] = []
    for pattern in sorted(patterns, key=lambda p: (len(p), p)):
        if not any(shorter in pattern for shorter in least):
            least.append(pattern)
    return tuple(least)


def _readable(data: bytes) -> bytes:
    """The stretches of printable ASCII in ``data``, at least as long as the shortest pattern, in lower case.

    Pixels of 16 bits have next to none, which makes looking through them cheap.
    """
    values = np.frombuffer(data, np.uint8)
    run = (values - np.uint8(0x20)) < np.uint8(0x5F)  # wraps below the space: printable is 0x20 to 0x7E
    if len(run) < SHORTEST_IN_BYTES:
        return b""
    return _stretches(values, run)


def _wide(data: bytes) -> tuple[bytes, bytes]:
    """The stretches of printable ASCII in UTF-16, in either byte order and at even and odd positions."""
    values = np.frombuffer(data, np.uint8)
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
    if len(run) < SHORTEST_IN_BYTES:
        return b""
    start = run[:-1] & run[1:]
    start = start[:-2] & start[2:]  # four in a row
    start = start[:-2] & run[4:-1] & run[5:]  # six in a row
    if not start.any():
        return b""
    inside = np.zeros(len(run), bool)
    for offset in range(SHORTEST_IN_BYTES):
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


def _is_published(tag: int, vr: str, value: bytes) -> bool:
    """Whether the text consists of published words, which cannot identify (a patient may be called Hand)."""
    parts = [part.strip(" \0") for part in value.decode("ascii").split("\\")]
    if vr == "CS":
        return all(vocabulary.known_code_string(part) for part in parts)
    if tag == CODE_MEANING:
        return all(vocabulary.is_published_meaning(part) for part in parts)
    if tag == CODE_SCHEME:
        return all(part in vocabulary.code_schemes() for part in parts)
    if tag in vocabulary.technical_tags():
        return all(vocabulary.known_technical_text(part) for part in parts)
    return tag == METHOD and _METHOD.fullmatch(parts[0]) is not None


def _bounded(text: str, phrase: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(phrase)}(?![^\W_])", text) is not None
