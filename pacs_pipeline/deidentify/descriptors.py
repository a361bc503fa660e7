"""Cleans descriptive text (PS3.15 E.3.5, Clean Descriptors): what identifies goes, known medical words stay.

Two steps look at every token. First the identifiers of the patient and the staff, harvested from the original
header, are taken away. Then a vocabulary decides what may stay; what it does not know goes. The text that is
returned is put together from tokens that passed both, so no trick of Unicode can carry anything past them.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from pacs_pipeline.deidentify.descriptor_identifiers import Identifiers, identifiers_of
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
MOST_LETTERS = 4  # single letters in a row; more are a word spelled out
MOST_REMEMBERED = 1024
LONGEST_REMEMBERED = 256
LONGEST_LEVEL = 4  # of a vertebra, a sequence: L4-5, T12/1
REMOVED = "\u2c00"  # a letter no vocabulary knows, in place of an address
_TOKEN = re.compile(r"((?<![^\W_])[wW]/[oO](?![^\W_])|[^\W_]+(?:(?<=[0-9])[.,](?=[0-9])[^\W_]+)*)")
_DOMAIN = re.compile(
    r"://|www\.|(?<=[a-z0-9]{2})\.(?:com|org|net|edu|gov|mil|int|info|health|hospital|clinic|io"
    r"|de|at|ch|fr|be|nl|es|pt|it|uk|ie|eu|us|ca|br|mx|ar|au|nz|jp|kr|cn|in|pl|se|dk|fi|ru)(?![a-z0-9])",
    re.IGNORECASE,
)
_PIECE = re.compile(r"[a-z]+|[0-9]+")
_CHUNK = re.compile(r"\S+")
_UNSAFE = re.compile(r"[^A-Za-z0-9 _/+(),.&%*=:;<>'#^\[\]-]")
_JOINED = re.compile(r"[-/.,:]+")
_LINK = re.compile(r"[-/.,:_ ]")
_INVISIBLE = frozenset(("Mn", "Mc", "Me", "Cf"))
_NOT_DIGITS = re.compile(r"\D+")
_AND = frozenset(("and", "und", "et", "y", "e", "ed", "en", "plus"))
_SIDES = frozenset(("l", "r", "left", "right"))
_OF_AGES = frozenset("fmwyjd")  # 92 F, 45 Y: somebody's age
_NUMBERS = (Kind.NUMBER, Kind.DECIMAL)
# letters that Unicode does not take apart; each as the words of the vocabulary are written
_LETTERS = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
)


class TextCleaner:
    """Cleans the texts of instances that have the same identifiers; remembers what it has seen."""

    def __init__(self, identifiers: Identifiers, vocabulary: DescriptorVocabulary) -> None:
        self._sought = identifiers
        self._vocabulary = vocabulary
        self._kinds: dict[str, Kind] = {}
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

    def without_identifiers(self, text: str) -> str:
        """``text`` in plain ASCII without the identifiers; words that nobody knows stay, in other scripts they do not.

        For what an option of the profile retains (PS3.15 E.3, K). Never longer than ``text``.
        """
        parts = _TOKEN.split(_without_addresses(_folded(text)))
        between, tokens = parts[::2], parts[1::2]
        words = list(map(str.lower, tokens))
        kinds = [Kind.UNKNOWN if self._identifies(word) else Kind.WORD for word in words]
        self._drop_sequences(kinds, words)
        return _joined(between, tokens, kinds, len(text))

    def names_somebody(self, text: str) -> bool:
        """Whether a word of ``text`` is a part of somebody's name."""
        return not self._sought.names.isdisjoint(_PIECE.findall(_folded(text).lower()))

    def is_somebodys_number(self, digits: str) -> bool:
        """Whether ``digits`` are an identifier of the file, or the number in one, with or without leading zeros."""
        return not self._sought.words.isdisjoint((digits, digits.lstrip("0")))

    def _identifies(self, word: str) -> bool:
        pieces = _PIECE.findall(word)
        if not word.isascii() or not self._sought.words.isdisjoint((word, word.lstrip("0"), *pieces)):
            return True
        return any(sought in word for sought in self._sought.inside)

    def _once(self, text: str) -> str:
        parts = _TOKEN.split(_without_addresses(_folded(text)))
        between, tokens = parts[::2], parts[1::2]
        known = self._kinds
        for token in set(tokens).difference(known):
            known[token] = self._judged(token)
        kinds = list(map(known.__getitem__, tokens))
        if len(known) > MOST_REMEMBERED:
            known.clear()
        words = list(map(str.lower, tokens))
        self._drop_sequences(kinds, words)
        _drop_chains(kinds, words, between)
        _drop_rows(kinds, words, between, self._vocabulary.units)
        self._settle(kinds, words)
        return _joined(between, tokens, kinds, len(text))

    def _judged(self, token: str) -> Kind:
        """The kind of a token by itself; of one that identifies it is UNKNOWN."""
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
        for at in [at for at, word in enumerate(words) if word in sought.phrases]:
            for phrase in sought.phrases[words[at]]:
                if tuple(words[at : at + len(phrase)]) == phrase:
                    kinds[at : at + len(phrase)] = [Kind.UNKNOWN] * len(phrase)
        for at in [at for at, glued in enumerate(map(str.__add__, words, words[1:])) if glued in sought.words]:
            kinds[at] = kinds[at + 1] = Kind.UNKNOWN
        for at in [at for at, word in enumerate(words) if len(word) == 1 and kinds[at] not in _NUMBERS]:
            self._drop_spelled(at, kinds, words)
        if sought.streams:
            self._drop_streams(kinds, words)

    def _drop_streams(self, kinds: list[Kind], words: list[str]) -> None:
        """Long numbers whose digits stand in several tokens (``55 CHEST 501 T23``)."""
        digits = {at: _NOT_DIGITS.sub("", word) for at, word in enumerate(words) if kinds[at] and not word.isalpha()}
        stream = "".join(digits.values())
        found = [number for number in self._sought.streams if number in stream]
        if not found:
            return
        owners = [at for at, own in digits.items() for _ in own]
        for number in found:
            start = stream.find(number)
            while start >= 0:
                for owner in owners[start : start + len(number)]:
                    kinds[owner] = Kind.UNKNOWN
                start = stream.find(number, start + 1)

    def _drop_spelled(self, at: int, kinds: list[Kind], words: list[str]) -> None:
        """A name in single letters (``R A Y``) that starts at ``at``."""
        spelled = ""
        for end in range(at, min(at + MOST_LETTERS, len(words))):
            if len(words[end]) > 1:
                return
            spelled += words[end]
            if len(spelled) > 2 and spelled in self._sought.words:
                kinds[at : end + 1] = [Kind.UNKNOWN] * len(spelled)

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
        elif kind in _NUMBERS and not _OF_AGES.isdisjoint(words[max(at - 1, 0) : at + 2]):
            holds = False
        else:
            holds = before is not Kind.UNKNOWN and behind is not Kind.UNKNOWN
        if not holds:
            kinds[at] = Kind.UNKNOWN
        return holds

    def _has_company(self, at: int, kinds: list[Kind], words: list[str]) -> bool:
        """Whether a word that could be a name stands beside one that could not, or two parts of the body together."""
        partners = self._vocabulary.ambiguous[words[at]]
        organs = self._vocabulary.organs
        if len(words) <= 2 and _SIDES.issuperset(words[:at] + words[at + 1 :]):  # nothing but EYE or EYE_R: the eye
            return not partners and words[at] in organs
        for step in (-1, 1):
            beside = at + step
            if 0 <= beside + step < len(words) and kinds[beside] is Kind.CONNECTIVE and words[beside] in _AND:
                beside += step
            if not 0 <= beside < len(words) or not kinds[beside]:
                continue
            if partners:
                if words[beside] in partners:
                    return True
            elif (
                kinds[beside] in (Kind.MEASURE, Kind.DECIMAL)
                or (kinds[beside] is Kind.WORD and len(words[beside]) > 1)
                or (words[at] in organs and words[beside] in organs)
            ):
                return True
        return False


@lru_cache(maxsize=16)
def cleaner_for(identifiers: Identifiers, vocabulary: DescriptorVocabulary) -> TextCleaner:
    """One cleaner for all instances with the same identifiers, so that a series is cleaned once."""
    return TextCleaner(identifiers, vocabulary)


def _folded(text: str) -> str:
    """``text`` in compatibility forms, without marks, joiners and control characters."""
    if text.isascii():
        return text if text.isprintable() else text.translate({ord(c): " " for c in set(text) if not c.isprintable()})
    # marks first: to put a long run of them in order takes time that grows with its square
    text = _without_marks(unicodedata.normalize("NFKD", _without_marks(text)).translate(_LETTERS))
    return text.translate({ord(c): " " for c in set(text) if unicodedata.category(c)[0] in "CZ"})


def _without_marks(text: str) -> str:
    return text.translate({ord(c): None for c in set(text) if unicodedata.category(c) in _INVISIBLE})


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


def _drop_chains(kinds: list[Kind], words: list[str], between: list[str]) -> None:
    """Digits that meet digits are a date or a time, also where words are glued to its ends (``CHEST01/02/99AXIAL``)."""
    done = 0
    for start in [at for at in range(len(words) - 1) if words[at][-1].isdigit() and words[at + 1][0].isdigit()]:
        if start < done:
            continue
        done = start
        while done + 1 < len(words) and words[done][-1].isdigit() and _meets(done, kinds, words, between):
            done += 1
        glued = kinds[start] is Kind.WORD and len(words[start]) > LONGEST_LEVEL
        if done - start > 1 or (done > start and glued):
            kinds[start : done + 1] = [Kind.UNKNOWN] * (done + 1 - start)


def _meets(at: int, kinds: list[Kind], words: list[str], between: list[str]) -> bool:
    """Whether the digits at the end of a token are followed by digits of the same chain."""
    following = words[at + 1]
    return (
        following[0].isdigit()
        and _LINK.fullmatch(between[at + 1]) is not None
        and Kind.MEASURE not in kinds[at : at + 2]
        and Kind.DECIMAL not in kinds[at : at + 2]
    )


def _drop_rows(kinds: list[Kind], words: list[str], between: list[str], units: frozenset[str]) -> None:
    """Numbers in a row are a date, a time or somebody's number; so are letters in a row, and numbers all alone."""
    count, done = len(kinds), 0
    for start in [at for at, kind in enumerate(kinds) if kind in _NUMBERS]:
        if start < done:
            continue
        done = start + 1
        while done < count and kinds[done] in _NUMBERS:
            done += 1
        measured = done < count and words[done] in units
        company = measured or (start and kinds[start - 1]) or (done < count and kinds[done])
        if not company or not _is_plain_row(start, done, words, between, measured=measured):
            kinds[start:done] = [Kind.UNKNOWN] * (done - start)
    done = 0
    for start in [at for at, word in enumerate(words) if len(word) == 1 and kinds[at] not in _NUMBERS]:
        if start < done:
            continue
        done = start + 1
        while done < count and len(words[done]) == 1 and kinds[done] not in _NUMBERS:
            done += 1
        if done - start > MOST_LETTERS:
            kinds[start:done] = [Kind.UNKNOWN] * (done - start)


def _is_plain_row(start: int, end: int, words: list[str], between: list[str], *, measured: bool) -> bool:
    if end - start == 1:
        return True
    if end - start > 2 or sum(map(str.isdigit, "".join(words[start:end]))) > MOST_DIGITS_OF_DECIMAL:
        return False
    return measured or _JOINED.fullmatch(between[start + 1]) is None


def _joined(between: list[str], tokens: list[str], kinds: list[Kind], longest: int) -> str:
    """The tokens that stay, with what stood between neighbours, or one separator where something was taken away."""
    parts: list[str] = []
    gap: str | None = None  # the separator before the first token of a gap
    for at, kind in enumerate(kinds):
        if not kind:
            gap = gap or between[at]
            continue
        if gap is None:
            parts.append(between[at])
        elif parts:
            parts.append("_" if "_" in gap and "_" in between[at] else " ")
        parts.append(tokens[at])
        gap = None
    if parts and gap is None:
        parts.append(between[-1])
    result = _balanced(_UNSAFE.sub(" ", "".join(parts))).strip()
    if len(result) > longest:  # a letter that became two (ß)
        result = result[: longest + 1].rpartition(" ")[0].rstrip()
    return result


def _balanced(text: str) -> str:
    for opening, closing in ("()", "[]", "<>"):
        if text.count(opening) != text.count(closing):
            text = " ".join(text.replace(opening, " ").replace(closing, " ").split())
    return text
