"""Which words of a description may stay. The words are data (``tables/descriptor_words``), a steward may add more."""

from __future__ import annotations

import enum
import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path

from pacs_pipeline.errors import SettingsError

FOLDER = "descriptor_words"
LONGEST_TOKEN = 40
MOST_PIECES = 10
MOST_DIGITS = 4  # of a whole number; five and more are somebody's number
MOST_DIGITS_OF_DECIMAL = 5
NUMBER = r"\d{1,4}|\d{1,3}[.,]\d{1,3}"
_MEASURE = re.compile(rf"({NUMBER})([a-z][a-z0-9/]*)")
_DIMENSIONS = re.compile(r"\d{1,3}(?:[.,]\d{1,2})?(?:x\d{1,3}(?:[.,]\d{1,2})?){1,2}(?:mm|cm)?")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_DIGITS = re.compile(r"\d")
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ENTRY = re.compile(r"[a-z0-9]+(?:/[a-z]+)?|%|w/")
_ROLES = {"units": "unit", "connectives": "connective", "leaning": "leaning", "ambiguous_words": "ambiguous"}


class Kind(enum.IntEnum):
    """What a token is, by itself."""

    UNKNOWN = 0
    WORD = 1  # may stay anywhere
    AMBIGUOUS = 2  # also a name: needs a word beside it
    LEANING = 3  # stays where nothing beside it was taken away
    CONNECTIVE = 4  # stays between words that stay
    UNIT = 5  # stays behind a number
    NUMBER = 6
    DECIMAL = 7
    MEASURE = 8  # a number with its unit


@dataclass(frozen=True, eq=False)
class DescriptorVocabulary:
    """The known words in lower case. ``9`` in a word stands for any digit (``t9w``, ``br99``)."""

    words: frozenset[str]
    ambiguous: dict[str, frozenset[str]]  # the neighbours it needs; empty: any word
    leaning: frozenset[str]
    connectives: frozenset[str]
    units: frozenset[str]
    organs: frozenset[str]  # the words of anatomy, among them some that are names
    digest: str
    _known: dict[str, tuple[Kind, tuple[str, ...]]] = field(default_factory=dict, repr=False)

    def look_up(self, token: str) -> tuple[Kind, tuple[str, ...]]:
        """The kind of an ASCII token and the pieces it is made of, in lower case."""
        known = self._known.get(token)
        if known is None:
            if len(self._known) > 16384:
                self._known.clear()
            known = self._known[token] = self._classified(token)
        return known

    def _classified(self, token: str) -> tuple[Kind, tuple[str, ...]]:
        if len(token) > LONGEST_TOKEN:
            return Kind.UNKNOWN, ()
        lower = token.lower()
        pieces = _PIECES.findall(token)
        lowered = tuple(piece.lower() for piece in pieces)
        kind = self._whole(lower)
        if kind is Kind.UNKNOWN and 1 < len(pieces) <= MOST_PIECES and "".join(pieces) == token:
            kind = self._composed(lowered)
        return kind, lowered

    def _whole(self, lower: str) -> Kind:
        if lower in self.ambiguous:
            return Kind.AMBIGUOUS
        if lower in self.leaning:
            return Kind.LEANING
        if lower in self.connectives:
            return Kind.CONNECTIVE
        if lower in self.words:
            return Kind.WORD
        if lower in self.units:
            return Kind.UNIT
        if not any(map(str.isdigit, lower)) or _YEAR.search(lower):
            return Kind.UNKNOWN
        if re.fullmatch(NUMBER, lower):
            if lower.isdigit():
                return Kind.NUMBER
            return Kind.DECIMAL if len(lower) <= MOST_DIGITS_OF_DECIMAL + 1 else Kind.UNKNOWN
        measure = _MEASURE.fullmatch(lower)
        if (measure and measure[2] in self.units) or _DIMENSIONS.fullmatch(lower):
            return Kind.MEASURE
        return Kind.WORD if _DIGITS.sub("9", lower) in self.words else Kind.UNKNOWN

    def _composed(self, pieces: tuple[str, ...]) -> Kind:
        """``CoronaryCTA``, ``t2fl3d``: made of known pieces, one of which at least has two letters."""
        # best[i]: whether the first i pieces can be read, and whether a real word is among them
        best: list[bool | None] = [False] + [None] * len(pieces)
        for start in range(len(pieces)):
            if best[start] is None:
                continue
            for end in range(start + 1, min(start + 4, len(pieces)) + 1):
                part = "".join(pieces[start:end])
                kind = self._whole(part)
                if kind is Kind.UNKNOWN or (kind is Kind.NUMBER and len(part) > 3):
                    continue
                real = best[start] or (kind is Kind.WORD and sum(map(str.isalpha, part)) > 1)
                best[end] = bool(best[end] or real)
        return Kind.WORD if best[-1] else Kind.UNKNOWN


def digest() -> str:
    """SHA-256 over the package's own word lists, part of a profile's fingerprint."""
    return load_vocabulary().digest


def load_vocabulary(extra: Path | None = None) -> DescriptorVocabulary:
    """The package's words and those of ``extra``, a steward's text file: words parted by white space, ``#`` comments.

    Raises SettingsError naming the line: for an entry that is no plain word, that is a number, a year or a month,
    or a file that cannot be read.
    """
    return vocabulary_with(extra, "" if extra is None else read_words(extra))


def read_words(path: Path) -> str:
    """The content of a steward's word list. Raises SettingsError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the word list cannot be read", fix="name a text file in UTF-8") from error


@lru_cache(maxsize=8)
def vocabulary_with(path: Path | None, content: str) -> DescriptorVocabulary:
    """The package's words and those in ``content``, which was read from ``path``; made once for the same words."""
    roles: dict[str, set[str]] = {"word": set(), "unit": set(), "connective": set(), "leaning": set()}
    ambiguous: dict[str, frozenset[str]] = {}
    organs: set[str] = set()
    hasher = hashlib.sha256()
    folder = resources.files(__package__).joinpath("tables", FOLDER)
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".txt"):
            continue
        text = file.read_text(encoding="ascii")
        hasher.update(f"{file.name}\0{text}\0".encode())
        name = file.name.removesuffix(".txt")
        role = _ROLES.get(name, "word")
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            if role == "ambiguous":
                word, _, partners = line.partition(":")
                ambiguous[word] = frozenset(partners.split())
            else:
                roles[role].update(line.split())
                if name == "anatomy":
                    organs.update(line.split())
    if path is not None:
        own = _own_words(path, content)
        hasher.update("\0".join(sorted(own)).encode())
        roles["word"] |= own
    return DescriptorVocabulary(
        words=frozenset(roles["word"]),
        ambiguous=ambiguous,
        leaning=frozenset(roles["leaning"]),
        connectives=frozenset(roles["connective"]),
        units=frozenset(roles["unit"]),
        organs=frozenset(organs),
        digest=hasher.hexdigest(),
    )


_MONTHS = frozenset(
    [
        "jan", "january", "januar", "janvier", "enero", "gennaio", "feb", "february", "februar", "fevrier",
        "febrero", "febbraio", "march", "maerz", "mars", "marzo", "apr", "april", "avril", "abril", "aprile",
        "may", "mai", "mayo", "maggio", "jun", "june", "juni", "juin", "junio", "giugno", "jul", "july", "juli",
        "juillet", "julio", "luglio", "aug", "august", "aout", "agosto", "sep", "sept", "september", "septembre",
        "septiembre", "settembre", "oct", "october", "okt", "oktober", "octobre", "octubre", "ottobre", "nov",
        "november", "novembre", "noviembre", "dec", "december", "dez", "dezember", "decembre", "diciembre",
        "dicembre",
    ]
)  # fmt: skip


def _own_words(path: Path, content: str) -> set[str]:
    words: set[str] = set()
    for number, line in enumerate(content.splitlines(), start=1):
        for entry in line.partition("#")[0].split():
            word = entry.lower()
            if not _ENTRY.fullmatch(word) or len(word) > LONGEST_TOKEN:
                problem = "is no plain word of ASCII letters"
            elif not any(map(str.isalpha, word)):
                problem = "is a number"
            elif word in _MONTHS or _YEAR.search(word) or re.search(r"\d{5}", word):
                problem = "would keep dates or numbers"
            else:
                words.add(word)
                continue
            raise SettingsError(f"{path}, line {number}: '{entry}' {problem}", fix="mend or remove that word")
    return words
