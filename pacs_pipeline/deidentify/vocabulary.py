"""Which words may stay: code strings, technical text and coded concepts are kept only when they are known.

A value that consists of published words cannot carry somebody's name or number. Everything here is data
under version control in ``tables/``; a word that is missing costs a value, never a leak.
"""

from __future__ import annotations

import csv
import hashlib
import re
from functools import cache, lru_cache
from importlib import resources
from typing import Any, cast

from pydicom.datadict import tag_for_keyword

# CID 7050, De-identification Method: the codes the profiles write
CODE_MEANINGS = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113103": "Clean Graphics Option",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113106": "Retain Longitudinal Temporal Information Full Dates Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
    "113109": "Retain Device Identity Option",
    "113110": "Retain UIDs Option",
    "113111": "Retain Safe Private Option",
    "113112": "Retain Institution Identity Option",
}
UNKNOWN_CODE = ("261665006", "SCT", "Unknown")  # stands for a code that nobody published
FREE_LENGTH = 2  # a run of one or two letters says nothing about anybody
_WORDS = re.compile(r"[A-Z0-9]+")
_RUNS = re.compile(r"[A-Za-z]+|\d+")
_TECHNICAL = re.compile(r"[A-Za-z0-9 .,;:+/()\[\]*_%#&'-]{0,64}")
_DATE_LIKE = re.compile(
    r"(?<!\d)(19|20)\d\d[-./ _]?(0\d|1[0-2])[-./ _]?[0-3]\d(?!\d)|\d{1,2}[./-]\d{1,2}[./-](19|20)\d\d"
)
_DIRECTIONS = re.compile(r"[APRLHF]{1,3}")
MOST_DIGITS_IN_A_RUN = 4
MOST_DIGITS = 10

# UCUM is a grammar, not a list: products and quotients of the units that images are measured in.
_ATOM = (
    r"(?:\d{0,3}(?:[kcmunMGd]?(?:m|s|g|l|L|Bq|Ci|Gy|Sv|Hz|T|V|A|J|eV|Pa|mol)|min|h|d|deg|rad|K|Cel|kVp|%|1)-?[1-6]?"
    r"|\[hnsf'U\]|\[arb'U\]|mm\[Hg\]|10\*-?\d{1,2}|\{(?:counts|ratio|index|SUVbw|SUVlbm|SUVbsa|SUVibw|pixels)\})"
)
_UNIT = re.compile(rf"{_ATOM}(?:[./]?{_ATOM}){{0,4}}")
_SEMANTIC_TAG = re.compile(r" \([a-z -]+\)$")  # SNOMED's "(body structure)", no part of a meaning
_ABOUT_PEOPLE = frozenset(("ID", "IDENTITY", "MARKER", "NAME", "NAMED", "OPERATOR", "PATIENT", "TEST", "UID", "USER"))
# EN 1064 5.6.3, table 9: the leads that electrocardiographs name by it
_LEADS = {1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 9: "V7", 11: "V3R", 12: "V4R"}
_LEADS |= {13: "V5R", 14: "V6R", 15: "V7R", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF"}
_SCHEME_ALIASES = {"SNM3": "SRT", "99SDM": "SRT"}


def _lines(name: str) -> list[str]:
    text = resources.files(__package__).joinpath("tables", name).read_text(encoding="ascii")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@cache
def defined_terms() -> frozenset[str]:
    """Code string values that are known as a whole."""
    return frozenset(_lines("defined_terms.txt"))


@cache
def code_words() -> frozenset[str]:
    """The words of the defined terms that may be combined to other values (``HELICAL MODE``)."""
    return frozenset(word for term in defined_terms() for word in _WORDS.findall(term)) - _ABOUT_PEOPLE


@cache
def technical_words() -> frozenset[str]:
    """The words of retained technical text, in lower case."""
    return frozenset(_lines("technical_words.txt"))


@cache
def technical_tags() -> frozenset[int]:
    """The LO and SH attributes outside Table E.1-1 that may keep technical text."""
    text = resources.files(__package__).joinpath("tables", "technical_text.csv").read_text(encoding="ascii")
    return frozenset(
        tag for row in csv.DictReader(text.splitlines()) if (tag := tag_for_keyword(row["keyword"])) is not None
    )


def digest() -> str:
    """SHA-256 over the word lists, part of a profile's fingerprint."""
    names = ("defined_terms.txt", "labels.csv", "technical_words.txt", "technical_text.csv")
    files = resources.files(__package__).joinpath("tables")
    return hashlib.sha256(b"\0".join(files.joinpath(name).read_bytes() for name in names)).hexdigest()


@lru_cache(maxsize=8192)
def known_code_string(text: str) -> bool:
    """Whether a CS component is a defined term, a direction, or made of words of defined terms."""
    if len(text) <= FREE_LENGTH or text in defined_terms() or _DIRECTIONS.fullmatch(text):
        return True
    known = code_words()
    return all(word in known or (len(word) <= FREE_LENGTH and not word.isdigit()) for word in _WORDS.findall(text))


@lru_cache(maxsize=8192)
def known_technical_text(text: str) -> bool:
    """Whether a component of technical text consists of known words, short codes and short numbers."""
    if not _TECHNICAL.fullmatch(text) or _DATE_LIKE.search(text):
        return False
    if text.isalpha() and tag_for_keyword(text) is not None:  # a dimension is labelled with its attribute
        return True
    known = technical_words()
    digits = 0
    for run in _RUNS.findall(text):
        if run.isdigit():
            digits += len(run)
            if len(run) > MOST_DIGITS_IN_A_RUN or digits > MOST_DIGITS:
                return False
        elif len(run) > FREE_LENGTH and run.lower() not in known:
            return False
    return True


@cache
def _concepts() -> dict[tuple[str, str], str]:
    """Code meanings by (scheme, value): the context groups of PS3.16 as pydicom ships them."""
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    meanings: dict[tuple[str, str], str] = {}
    for scheme, keywords in cast(Any, concepts).items():
        for codes in keywords.values():
            for value, (meaning, *_) in codes.items():
                meanings[scheme, value] = meaning
    for number, lead in _LEADS.items():
        meanings["SCPECG", f"5.6.3-9-{number}"] = f"Lead {lead}"
    srt: dict[str, str] = dict(mapping["SRT"])
    for value, concept in srt.items():
        if ("SCT", concept) in meanings:
            meanings["SRT", value] = meanings["SCT", concept]
    return meanings


@cache
def code_schemes() -> frozenset[str]:
    """The designators of the coding schemes whose codes may stay."""
    return frozenset(scheme for scheme, _ in _concepts()) | frozenset(_SCHEME_ALIASES)


def code_meaning(scheme: str, value: str, meaning: str) -> str | None:
    """The meaning to write for a code, None for a code nobody published.

    The file's own ``meaning`` stays when it is made of known words, otherwise the published one is written.
    """
    if scheme == "UCUM" and _UNIT.fullmatch(value):
        return value
    published = _concepts().get((_SCHEME_ALIASES.get(scheme, scheme), value))
    if published is None:
        return None
    return meaning if meaning and known_technical_text(meaning) else _plain(published)


def is_published_meaning(text: str) -> bool:
    """Whether ``text`` is the meaning of some published code, or made of known words."""
    return text in _meanings() or known_technical_text(text) or _UNIT.fullmatch(text) is not None


@cache
def _meanings() -> frozenset[str]:
    return frozenset(_plain(meaning) for meaning in _concepts().values())


def _plain(meaning: str) -> str:
    plain = meaning.encode("ascii", "ignore").decode("ascii").replace("\\", "/")
    return _SEMANTIC_TAG.sub("", plain)[:64].strip()
