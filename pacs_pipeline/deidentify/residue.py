"""The independent last look: are identifiers of this very instance anywhere in the file that was written?

It knows nothing of rules and actions. What to look for comes from the original data set; where to look is the
written file, read again with a reader of its own that accepts nothing but what a clean file has: every byte of it, and
the text of every element.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pacs_pipeline.deidentify import vocabulary
from pacs_pipeline.deidentify.codec import ITEM, PIXEL_DATA, PIXELS, SEQUENCE_END, UNDEFINED, Buffer, Encoding, Span
from pacs_pipeline.deidentify.residue_bytes import LONGEST_PATTERN, SHORTEST, Needles, holds, needles_of
from pacs_pipeline.deidentify.residue_identifiers import TOKEN, Identifiers, fold
from pacs_pipeline.deidentify.safe_private import CREATORS, SafePrivate, creator_tag
from pacs_pipeline.deidentify.series import Made, Pieces
from pacs_pipeline.deidentify.values import LONG, TEXT, named, vrs_of
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

IDENTITY_REMOVED, METHOD, CODE_SCHEME, CODE_MEANING = 0x00120062, 0x00120063, 0x00080102, 0x00080104
LARGE = 64 * 1024  # bytes; longer values are looked through piece by piece
_METHOD = re.compile(r"pacs-pipeline profile [a-z-]+ [0-9a-f]{12}")
_FILE_META = frozenset((0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013))
_META = Encoding(explicit=True, little=True)
_SPELLED = re.compile(rb"[\x20-\x7e]{%d}" % SHORTEST)
_LONG = frozenset(vr.encode("ascii") for vr in LONG)

Data = bytes | mmap.mmap


@dataclass(eq=False, slots=True)
class _Looked:
    """What stands in one element and all it holds, sorted by how it is searched; each with its tag."""

    texts: list[tuple[int, str]] = field(default_factory=list)
    technical: list[tuple[int, frozenset[str]]] = field(default_factory=list)  # words that may be a name, too
    numbers: list[tuple[int, list[str]]] = field(default_factory=list)
    uids: list[tuple[int, list[str]]] = field(default_factory=list)
    values: list[tuple[int, bytes]] = field(default_factory=list)  # no text
    spelled: list[tuple[int, bytes]] = field(default_factory=list)  # those of ``values`` with printable characters
    large: list[tuple[int, Span]] = field(default_factory=list)  # left in the file
    says_removed: bool = False  # PatientIdentityRemoved is YES


@dataclass(frozen=True, slots=True)
class _Words:
    """What to look for in text: whole tokens, phrases between boundaries, and long tokens anywhere."""

    tokens: frozenset[str]
    phrases: tuple[str, ...]
    long: tuple[str, ...]


class ResidueScan:
    """Looks through one written file after the other. Private elements may only be those of ``safe_private``.

    An element that was looked through for the same identifiers in the file before is not looked through again, except
    for UIDs, which are the instance's own.
    """

    def __init__(self, safe_private: SafePrivate | None = None) -> None:
        self._safe_private = safe_private
        self._creators = safe_private.creators if safe_private is not None else frozenset()
        self._pieces: Pieces[_Looked] | None = None
        self._meta_pieces: Pieces[_Looked] | None = None
        self._passed: Made[_Looked, bool] = Made()
        self._of_series: object = None
        self._words = _Words(frozenset(), (), ())
        self._needles = Needles()

    def verify(self, path: Path, identifiers: Identifiers, encoding: Encoding, inflated: bytes | None = None) -> None:
        """Raise Quarantine (RESIDUE) when the written file holds an identifier or is not what it must be.

        ``inflated`` is the data set of a deflated file; of every other it is read from ``path``.
        """
        self._seek(identifiers)
        buffer = Buffer(path)
        meta, start = self._meta(buffer.data)
        if inflated is not None:
            buffer.replace(inflated)
            start = 0
        dataset = self._dataset(buffer.data, start, encoding)
        if IDENTITY_REMOVED not in dataset or not dataset[IDENTITY_REMOVED].says_removed:
            raise Quarantine(Reason.RESIDUE, "PatientIdentityRemoved is not YES")
        looked = [*meta.values(), *dataset.values()]
        self._passed.of(looked, lambda element: self._search(element, identifiers), identifiers.of_series)
        self._search_uids(looked, identifiers)
        for element in looked:
            for tag, span in element.large:
                self._search_large(tag, span, buffer, identifiers)

    def _seek(self, identifiers: Identifiers) -> None:
        """Prepare the patterns, which the instances of a series have in common."""
        if self._of_series != identifiers.of_series:
            self._of_series = identifiers.of_series
            texts = identifiers.names | identifiers.texts
            self._words = _words_of(texts, identifiers.dates)
            self._needles = needles_of(texts, identifiers.dates, identifiers.raw)

    def _meta(self, data: Data) -> tuple[dict[int, _Looked], int]:
        """The file meta elements, only our own, behind a preamble of zeros; and where the data set starts."""
        if any(data[:128]) or data[128:132] != b"DICM":
            raise Quarantine(Reason.RESIDUE, "the preamble is not empty")
        if data[132:138] != b"\2\0\0\0UL":
            raise Quarantine(Reason.RESIDUE, "the file meta information has no length")
        end = 144 + int.from_bytes(data[140:144], "little")
        pieces = Pieces(_META, self._meta_pieces)
        found = self._walk(data, 144, min(end, len(data)), _META, pieces)
        if unexpected := found.keys() - _FILE_META:
            raise Quarantine(Reason.RESIDUE, f"unexpected {named(min(unexpected))} in the file meta information")
        self._meta_pieces = pieces
        return found, end

    def _dataset(self, data: Data, start: int, encoding: Encoding) -> dict[int, _Looked]:
        """Everything in the data set."""
        pieces = Pieces(encoding, self._pieces)
        found = self._walk(data, start, len(data), encoding, pieces)
        self._pieces = pieces  # not those of a data set that is out of order
        return found

    def _walk(
        self, data: Data, position: int, end: int, encoding: Encoding, pieces: Pieces[_Looked]
    ) -> dict[int, _Looked]:
        """The elements between ``position`` and ``end``, by tag; their structure is verified on the way."""
        last = 0
        creators: dict[int, str] = {}
        found: dict[int, _Looked] = {}
        in_memory = data if isinstance(data, bytes) else None
        low = 0 if encoding.little else 1
        while position < end:
            private = data[position + low] & 1 if position + low < end else 0
            known = pieces.find(in_memory, position) if in_memory is not None and not private else None
            if known is not None:
                read, position = known.elements, position + len(known.encoded)
            else:
                looked, start = _Looked(), position
                tag, vr, value, position = next(_elements(data, position, end, encoding))
                self._take(looked, data, (tag, vr, value), creators, encoding)
                looked.says_removed = tag == IDENTITY_REMOVED and data[value.start : value.end].strip() == b"YES"
                read = {tag: looked}
                repeats = in_memory is not None and not private and not looked.large
                pieces.add(tag, in_memory[start:position] if in_memory and repeats else None, looked)
            if min(read) <= last:  # those of a run are in order
                raise Quarantine(Reason.RESIDUE, "elements are out of order")
            found |= read
            last = max(read)
        return found

    def _take(
        self, looked: _Looked, data: Data, element: tuple[int, str, Span], creators: dict[int, str], encoding: Encoding
    ) -> None:
        """One element at any depth; ``creators`` are those of the data set or item it stands in."""
        tag, vr, value = element
        if (tag >> 16) & 1:
            allowed = self._private(tag, data[value.start : value.end], creators)
            if allowed is None:
                raise Quarantine(Reason.RESIDUE, f"{named(tag)} is private or unknown")
            vr = allowed
        elif not (standard := vrs_of(tag)):
            raise Quarantine(Reason.RESIDUE, f"{named(tag)} is private or unknown")
        elif not vr:
            vr = standard[0]
        if vr == "SQ":
            for start, stop in _items(data, value, encoding):
                inner: dict[int, str] = {}
                for tag_inside, vr_inside, value_inside, _ in _elements(data, start, stop, encoding):
                    self._take(looked, data, (tag_inside, vr_inside, value_inside), inner, encoding)
        elif tag in PIXELS or (len(value) > LARGE and vr not in TEXT):
            looked.large.append((tag, value))
        else:
            _take(looked, tag, vr, data[value.start : value.end])

    def _private(self, tag: int, value: bytes, creators: dict[int, str]) -> str | None:
        """The VR of a private element that may be there: a creator, or one on its creator's list."""
        if self._safe_private is None:
            return None
        if tag & 0xFFFF in CREATORS:
            creator = creators[tag] = value.decode("ascii", "replace").strip(" \0")
            return "LO" if creator in self._creators else None
        return self._safe_private.vr(creators.get(creator_tag(tag), ""), tag)

    def _search(self, looked: _Looked, sought: Identifiers) -> bool:
        """Raise Quarantine when an element holds an identifier that is no UID."""
        words = self._words
        for tag, text in looked.texts:
            if not words.tokens.isdisjoint(TOKEN.findall(text)):
                raise Quarantine(Reason.RESIDUE, named(tag))
            if any(phrase in text and _bounded(text, phrase) for phrase in words.phrases):
                raise Quarantine(Reason.RESIDUE, named(tag))
            if any(token in text for token in words.long):
                raise Quarantine(Reason.RESIDUE, named(tag))
        for tag, tokens in looked.technical:
            if not sought.names.isdisjoint(tokens):
                raise Quarantine(Reason.RESIDUE, named(tag))
        for tag, parts in looked.numbers:
            if not sought.texts.isdisjoint(parts):
                raise Quarantine(Reason.RESIDUE, named(tag))
        for tag, value in looked.values:
            if holds(value, self._needles, (), in_pixels=False):
                raise Quarantine(Reason.RESIDUE, named(tag))
        return True

    def _search_uids(self, found: list[_Looked], sought: Identifiers) -> None:
        uids = _patterns(sought.uids)
        for looked in found:
            for tag, parts in looked.uids:
                if not sought.uids.isdisjoint(parts) or not sought.texts.isdisjoint(parts):
                    raise Quarantine(Reason.RESIDUE, named(tag))
            for tag, value in looked.spelled:
                if holds(value, Needles(), uids, in_pixels=False):
                    raise Quarantine(Reason.RESIDUE, named(tag))

    def _search_large(self, tag: int, span: Span, buffer: Buffer, sought: Identifiers) -> None:
        """Look through a value in the file, piece by piece with some overlap."""
        uids = _patterns(sought.uids)
        tail = b""
        for piece in buffer.views(span):
            if holds(tail + piece if tail else piece, self._needles, uids, in_pixels=tag in PIXELS):
                raise Quarantine(Reason.RESIDUE, named(tag))
            tail = bytes(piece[-LONGEST_PATTERN:])


def _elements(data: Data, position: int, end: int, encoding: Encoding) -> Iterator[tuple[int, str, Span, int]]:
    """The elements between ``position`` and ``end``: tag, VR (nothing in implicit VR), value, and what is behind."""
    order = encoding.order
    while position < end:
        if position + 8 > end:
            raise Quarantine(Reason.RESIDUE, "the data set does not end with the file")
        vr = b""
        if not encoding.explicit:
            group, number, length = struct.unpack_from("<HHL", data, position)
            position += 8
        elif data[position + 4 : position + 6] in _LONG:
            if position + 12 > end:
                raise Quarantine(Reason.RESIDUE, "the data set does not end with the file")
            group, number, vr, length = struct.unpack_from(order + "HH2s2xL", data, position)
            position += 12
        else:
            group, number, vr, length = struct.unpack_from(order + "HH2sH", data, position)
            position += 8
        tag = group << 16 | number
        stop = _end_of_fragments(data, position, end, tag, order) if length == UNDEFINED else position + length
        if stop > end:
            raise Quarantine(Reason.RESIDUE, f"{named(tag)} is cut off in the written file")
        yield tag, vr.decode("latin-1"), Span(position, stop), stop
        position = stop


def _end_of_fragments(data: Data, position: int, end: int, tag: int, order: str) -> int:
    """The end of encapsulated pixel data (PS3.5 A.4), the only value whose length may be undefined."""
    while tag == PIXEL_DATA and position + 8 <= end:
        group, number, length = struct.unpack_from(order + "HHL", data, position)
        position += 8 + length
        kind = group << 16 | number
        if kind == SEQUENCE_END and not length:
            return position
        if kind != ITEM:
            break
    raise Quarantine(Reason.RESIDUE, f"{named(tag)} has no end")


def _items(data: Data, sequence: Span, encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Where the items of a sequence are; all have their length."""
    position = sequence.start
    while position < sequence.end:
        if position + 8 > sequence.end:
            raise Quarantine(Reason.RESIDUE, "a sequence is cut off in the written file")
        group, number, length = struct.unpack_from(encoding.order + "HHL", data, position)
        stop = position + 8 + length
        if group << 16 | number != ITEM or stop > sequence.end:
            raise Quarantine(Reason.RESIDUE, "a sequence holds something else than items")
        yield position + 8, stop
        position = stop


def _take(looked: _Looked, tag: int, vr: str, value: bytes) -> None:
    """Sort a value by how it is searched; text that is not ASCII is refused."""
    if vr not in TEXT:
        if len(value) >= SHORTEST:
            looked.values.append((tag, value))
            if _SPELLED.search(value):
                looked.spelled.append((tag, value))
        return
    if not value.isascii():
        raise Quarantine(Reason.RESIDUE, f"{named(tag)} holds other than plain ASCII text")
    if vr in ("DS", "IS"):  # thousands of them in one contour
        numbers = map(str.strip, value.decode("ascii").lower().replace("\0", " ").split("\\"))
        looked.numbers.append((tag, [number for number in numbers if len(number) >= SHORTEST]))
        return
    text = fold(value.decode("ascii"))
    if not text:
        return
    if _is_published(tag, vr, value):
        if tag in vocabulary.technical_tags():
            looked.technical.append((tag, frozenset(TOKEN.findall(text))))
        return
    parts = [part.strip() for part in text.split("\\")]
    if vr in ("DA", "DT", "TM", "AS"):  # a moved date may meet an original one by chance
        return
    if vr == "UI":
        looked.uids.append((tag, parts))
    else:
        looked.texts.append((tag, text))


def _words_of(texts: frozenset[str], dates: frozenset[str]) -> _Words:
    tokens = frozenset(text for text in texts if TOKEN.fullmatch(text))
    phrases = (*sorted((texts | dates) - tokens), *sorted(date for date in dates if TOKEN.fullmatch(date)))
    return _Words(tokens, phrases, tuple(sorted(t for t in tokens if len(t) >= SHORTEST and not t.isdigit())))


def _patterns(uids: frozenset[str]) -> list[bytes]:
    return sorted(uid[:LONGEST_PATTERN].encode("ascii") for uid in uids if uid.isascii())


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
