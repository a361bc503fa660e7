"""Cleans descriptive text (PS3.15 E.3.5, Clean Descriptors): what identifies goes, known medical words stay.

Two steps look at every token. First the identifiers of the patient and the staff, harvested from the original
header, are taken away. Then a vocabulary decides what may stay; what it does not know goes. The text that is
returned is put together from tokens that passed both, so no trick of Unicode can carry anything past them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from pacs_pipeline.deidentify.descriptor_identifiers import SHORTEST_STREAM, Identifiers, identifiers_of
from pacs_pipeline.deidentify.descriptor_vocabulary import (
    MOST_DIGITS_OF_DECIMAL,
    DescriptorVocabulary,
    Kind,
    digest,
    load_vocabulary,
)

__all__ = [
    "DescriptorVocabulary",
    "Identifiers",
    "TextCleaner",
    "cleaner_for",
    "digest",
    "identifiers_of",
    "load_vocabulary",
]

MOST_ROUNDS = 8
MOST_REMEMBERED = 2048
LONGEST_REMEMBERED = 4096
REMOVED = "\u2c00"  # a letter no vocabulary knows, in place of an address
_TOKEN = re.compile(r"(?<![^\W_])[wW]/[oO](?![^\W_])|[^\W_]+(?:(?<=[0-9])[.,](?=[0-9])[^\W_]+)*")
_DOMAIN = re.compile(
    r"://|www\.|(?<=[a-z0-9]{2})\.(?:com|org|net|edu|gov|mil|int|info|health|hospital|clinic|io"
    r"|de|at|ch|fr|be|nl|es|pt|it|uk|ie|eu|us|ca|br|mx|ar|au|nz|jp|kr|cn|in|pl|se|dk|fi|ru)(?![a-z0-9])",
    re.IGNORECASE,
)
_CHUNK = re.compile(r"\S+")
_UNSAFE = re.compile(r"[^ _/+(),.&%*=:;<>'#^\[\]-]")
_JOINED = re.compile(r"[-/.,:]+")
_NOT_DIGITS = re.compile(r"\D+")
_AND = frozenset(("and", "und", "et", "y", "e", "ed", "en", "plus"))
_NUMBERS = (Kind.NUMBER, Kind.DECIMAL)
# letters that Unicode does not take apart; each as the words of the vocabulary are written
_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"})


class TextCleaner:
    """Cleans the texts of instances that have the same identifiers; remembers what it has seen."""

    def __init__(self, identifiers: Identifiers, vocabulary: DescriptorVocabulary) -> None:
        self._sought = identifiers
        self._vocabulary = vocabulary
        self._tokens: dict[str, tuple[Kind, str]] = {}
        self._cleaned: dict[str, str] = {}

    def clean(self, text: str) -> str:
        """What may stay of one decoded value: plain ASCII without backslash or control characters.

        Never longer than ``text``; an empty string when nothing may stay. Cleaning twice changes nothing.
        """
        known = self._cleaned.get(text)
        if known is not None:
            return known
        before, result = text, self._once(text)
        for _ in range(MOST_ROUNDS):  # what stands together after a removal is looked at as a whole
            if result == before:
                break
            before, result = result, self._once(result)
        if result != before:
            result = ""
        if len(text) <= LONGEST_REMEMBERED:
            if len(self._cleaned) >= MOST_REMEMBERED:
                self._cleaned.clear()
            self._cleaned[text] = result
        return result

    def _once(self, text: str) -> str:
        plain = _without_addresses(_folded(text))
        matches = list(_TOKEN.finditer(plain))
        tokens = [match[0] for match in matches]
        seen = [self._seen(token) for token in tokens]
        kinds = [kind for kind, _ in seen]
        words = [word for _, word in seen]
        self._drop_sequences(kinds, words)
        _drop_numbers(kinds, words, matches, self._vocabulary.units)
        self._settle(kinds, words)
        return _joined(plain, matches, kinds, len(text))

    def _seen(self, token: str) -> tuple[Kind, str]:
        """The kind of a token and the token in lower case; of one that identifies the kind is UNKNOWN."""
        known = self._tokens.get(token)
        if known is None:
            if len(self._tokens) >= MOST_REMEMBERED:
                self._tokens.clear()
            known = self._tokens[token] = (self._judged(token), token.lower())
        return known

    def _judged(self, token: str) -> Kind:
        if not token.isascii():
            return Kind.UNKNOWN
        kind, pieces = self._vocabulary.look_up(token)
        if kind is Kind.UNKNOWN:
            return kind
        sought, lower = self._sought, token.lower()
        if not sought.words.isdisjoint((lower, lower.lstrip("0"), _NOT_DIGITS.sub("", lower), *pieces)):
            return Kind.UNKNOWN
        if kind is not Kind.WORD and lower in sought.weak:
            return Kind.UNKNOWN
        if len(lower) > 6 and any(word in lower for word in sought.inside):
            return Kind.UNKNOWN
        return kind

    def _drop_sequences(self, kinds: list[Kind], words: list[str]) -> None:
        """Identifiers of several tokens: phrases, names and numbers in two pieces, numbers spread over the text."""
        sought = self._sought
        for at, word in enumerate(words):
            for phrase in sought.phrases.get(word, ()):
                if tuple(words[at : at + len(phrase)]) == phrase:
                    kinds[at : at + len(phrase)] = [Kind.UNKNOWN] * len(phrase)
        for at, (first, second) in enumerate(pairwise(words)):
            if kinds[at] and kinds[at + 1] and first + second in sought.words:
                kinds[at] = kinds[at + 1] = Kind.UNKNOWN
        if not sought.streams:
            return
        digits: list[str] = []
        owners: list[int] = []
        for at, word in enumerate(words):
            if kinds[at] and not word.isalpha():
                found = _NOT_DIGITS.sub("", word)
                digits.append(found)
                owners += [at] * len(found)
        stream = "".join(digits)
        for at in range(len(stream) - SHORTEST_STREAM + 1):
            for number in sought.streams.get(stream[at : at + SHORTEST_STREAM], ()):
                if stream.startswith(number, at):
                    for owner in owners[at : at + len(number)]:
                        kinds[owner] = Kind.UNKNOWN

    def _settle(self, kinds: list[Kind], words: list[str]) -> None:
        """Drop what depends on its neighbours until everything left has the neighbours it needs."""
        dependent = [at for at, kind in enumerate(kinds) if kind not in (Kind.UNKNOWN, Kind.WORD, Kind.MEASURE)]
        for _ in range(MOST_ROUNDS):
            left = [at for at in dependent if self._holds(at, kinds, words)]
            left = [at for at in reversed(left) if self._holds(at, kinds, words)]
            if len(left) == len(dependent):
                return
            dependent = left[::-1]
        for at in dependent:
            kinds[at] = Kind.UNKNOWN

    def _holds(self, at: int, kinds: list[Kind], words: list[str]) -> bool:
        """Whether the token may stay beside its neighbours; otherwise it is dropped."""
        kind, last = kinds[at], len(kinds) - 1
        before = kinds[at - 1] if at else None
        behind = kinds[at + 1] if at < last else None
        units = self._vocabulary.units
        if before in _NUMBERS and words[at] in units and kind not in _NUMBERS:
            return True
        if kind is Kind.AMBIGUOUS:
            holds = self._has_company(at, kinds, words)
        elif kind is Kind.CONNECTIVE:
            holds = bool(before) and bool(behind)
        elif kind is Kind.UNIT:
            holds = before is Kind.MEASURE
        elif kind in _NUMBERS and behind and words[at + 1] in units and behind not in _NUMBERS:
            holds = True
        else:
            holds = before is not Kind.UNKNOWN and behind is not Kind.UNKNOWN
        if not holds:
            kinds[at] = Kind.UNKNOWN
        return holds

    def _has_company(self, at: int, kinds: list[Kind], words: list[str]) -> bool:
        """Whether a word that could be a name stands beside one that could not."""
        partners = self._vocabulary.ambiguous[words[at]]
        for step in (-1, 1):
            beside = at + step
            if 0 <= beside + step < len(words) and kinds[beside] is Kind.CONNECTIVE and words[beside] in _AND:
                beside += step
            if not 0 <= beside < len(words) or not kinds[beside]:
                continue
            if partners:
                if words[beside] in partners:
                    return True
            elif kinds[beside] in (Kind.MEASURE, Kind.DECIMAL):
                return True
            elif kinds[beside] is Kind.WORD and len(words[beside]) > 1:
                return True
        return False


@lru_cache(maxsize=64)
def cleaner_for(identifiers: Identifiers, vocabulary: DescriptorVocabulary) -> TextCleaner:
    """One cleaner for all instances with the same identifiers, so that a series is cleaned once."""
    return TextCleaner(identifiers, vocabulary)


def _folded(text: str) -> str:
    """``text`` in compatibility forms, without marks, joiners and control characters."""
    if text.isascii():
        return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
    kept = []
    for character in unicodedata.normalize("NFKD", text).translate(_LETTERS):
        category = unicodedata.category(character)
        if category[0] == "M" or category == "Cf":
            continue
        kept.append(" " if category[0] in "CZ" else character)
    return "".join(kept)


def _without_addresses(text: str) -> str:
    """``text`` with everything that looks like an address of the internet in one unknown token."""
    if "@" not in text and _DOMAIN.search(text) is None:
        return text
    chunks = _CHUNK.findall(text)
    removed = [("@" in chunk) or _DOMAIN.search(chunk) is not None for chunk in chunks]
    for at, chunk in enumerate(chunks):
        if chunk.startswith("@") and at:
            removed[at - 1] = True
        if chunk.endswith("@") and at + 1 < len(chunks):
            removed[at + 1] = True
    return " ".join(REMOVED if gone else chunk for chunk, gone in zip(chunks, removed, strict=True))


def _drop_numbers(kinds: list[Kind], words: list[str], matches: list[re.Match[str]], units: frozenset[str]) -> None:
    """Numbers in a row are a date, a time or somebody's number; so are letters in a row, and numbers all alone."""
    at, count = 0, len(kinds)
    while at < count:
        start = at
        if kinds[at] in _NUMBERS:
            while at < count and kinds[at] in _NUMBERS:
                at += 1
            measured = at < count and words[at] in units
            if not _is_plain_row(start, at, words, matches, measured=measured) or not (
                measured or (start and kinds[start - 1]) or (at < count and kinds[at])
            ):
                kinds[start:at] = [Kind.UNKNOWN] * (at - start)
        elif len(words[at]) == 1:
            while at < count and len(words[at]) == 1 and kinds[at] not in _NUMBERS:
                at += 1
            if at - start > 2:
                kinds[start:at] = [Kind.UNKNOWN] * (at - start)
        else:
            at += 1


def _is_plain_row(start: int, end: int, words: list[str], matches: list[re.Match[str]], *, measured: bool) -> bool:
    if end - start == 1:
        return True
    if end - start > 2 or sum(map(str.isdigit, "".join(words[start:end]))) > MOST_DIGITS_OF_DECIMAL:
        return False
    between = matches[start].string[matches[start].end() : matches[start + 1].start()]
    return measured or _JOINED.fullmatch(between) is None


def _joined(text: str, matches: list[re.Match[str]], kinds: list[Kind], longest: int) -> str:
    """The tokens that stay, with what stood between neighbours, or one separator where something was taken away."""
    parts: list[str] = []
    end, whole = 0, True  # where the last token ended, and whether everything since the last kept one was kept
    last = ""
    for match, kind in zip(matches, kinds, strict=True):
        between = text[end : match.start()]
        end = match.end()
        if not kind:
            whole = False
            last = last or between
            continue
        if whole:
            parts.append(_UNSAFE.sub(" ", between))
        elif parts:
            parts.append("_" if "_" in last and "_" in between else " ")
        parts.append(match[0])
        whole, last = True, ""
    if parts and whole:
        parts.append(_UNSAFE.sub(" ", text[end:]))
    result = _balanced("".join(parts)).strip()
    while len(result) > longest:  # a letter that became two (ß)
        result = result.rpartition(" ")[0].rstrip()
    return result


def _balanced(text: str) -> str:
    for opening, closing in ("()", "[]", "<>"):
        if text.count(opening) != text.count(closing):
            text = text.replace(opening, " ").replace(closing, " ")
    return text
