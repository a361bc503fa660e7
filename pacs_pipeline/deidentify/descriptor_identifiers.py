"""Who and what an instance is about, in every spelling: harvested from the original header for the text cleaner.

Not shared with :mod:`residue`, which must be able to catch a mistake made here.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from itertools import product

from pacs_pipeline.deidentify import dates
from pacs_pipeline.deidentify.codec import Element, Elements
from pacs_pipeline.deidentify.confidentiality_table import read_table
from pacs_pipeline.deidentify.series import Made
from pacs_pipeline.deidentify.text import DEFAULT, charsets_of, decoded
from pacs_pipeline.deidentify.values import dictionary

SHORTEST_NAME = 2
SHORTEST_TEXT = 3
SHORTEST_NUMBER = 4  # digits of a part of an identifier; of an address, three
SHORTEST_STREAM = 4  # digits that are looked for across tokens; of a date, five
SHORTEST_INSIDE = 6  # letters of an identifier that is looked for inside longer words
LONGEST_INSIDE = 40
MOST_SPELLINGS = 64
LONGEST_TEXT = 4096  # characters; what stands behind them are sentences
LONGEST_PHRASE = 12  # tokens; the start of a longer one is enough
_PLACES = ("Address", "Residence", "Location", "Telephone", "Telecom", "Phone")
_TOKEN = re.compile(r"[a-z0-9]+")
_RUN = re.compile(r"[a-z]+|\d+")
_MONTHS = (
    ("jan", "januar", "january", "janvier", "enero", "gennaio", "ene", "gen"),
    ("feb", "februar", "february", "fevrier", "febrero", "febbraio", "fev"),
    ("mar", "maerz", "marz", "march", "mars", "marzo", "mrz"),
    ("apr", "april", "avril", "abril", "aprile", "avr", "abr"),
    ("may", "mai", "mayo", "maggio", "mei", "mag"),
    ("jun", "juni", "june", "juin", "junio", "giugno", "giu"),
    ("jul", "juli", "july", "juillet", "julio", "luglio", "lug"),
    ("aug", "august", "aout", "agosto", "ago"),
    ("sep", "sept", "september", "septembre", "septiembre", "settembre", "set"),
    ("oct", "okt", "oktober", "october", "octobre", "octubre", "ottobre", "ott", "out"),
    ("nov", "november", "novembre", "noviembre"),
    ("dec", "dez", "dezember", "december", "decembre", "diciembre", "dicembre", "dic"),
)

NAME, DATE, PLACE, TEXT = "name", "date", "place", "text"
Fact = tuple[str, bytes, tuple[str, ...]]
_NO_FACTS: frozenset[Fact] = frozenset()


@dataclass(frozen=True, eq=False, slots=True)
class Identifiers:
    """What may not stay in a text, folded to lower case ASCII.

    ``words`` are tokens (or what adjacent tokens are together) that never stay, ``names`` those of people among
    them; ``weak`` are the words of places and
    devices, which stay only where the vocabulary knows them without doubt; ``phrases`` are sequences of tokens by
    their first; ``inside`` is not even allowed as a part of a longer word; ``streams`` are long numbers that are looked
    for in the digits of the whole text.
    """

    words: frozenset[str]
    names: frozenset[str]
    weak: frozenset[str]
    phrases: dict[str, tuple[tuple[str, ...], ...]]
    inside: tuple[str, ...]
    streams: tuple[str, ...]


def _none(tag: int) -> bool:  # noqa: ARG001
    return False


def identifiers_of(
    dataset: Elements,
    charsets: tuple[str, ...] = DEFAULT,
    retained: Callable[[int], bool] = _none,
    made: Made[Element, frozenset[Fact]] | None = None,
) -> Identifiers:
    """Collect the identifiers of an original data set at every depth.

    ``retained`` says in which attributes an option keeps what stands there: only the names of people in them are
    identifiers then. The same facts give the same object, so that what is derived from it serves a whole series.
    ``made`` keeps the facts of elements for the next instance.
    """
    charsets = charsets_of(dataset, charsets)

    def facts(element: Element) -> frozenset[Fact]:
        found: set[Fact] = set()
        _collect({element.tag: element}, charsets, found, retained)
        return frozenset(found) or _NO_FACTS

    found = (made or Made()).of(dataset.values(), facts, (charsets, retained))
    return _derived(frozenset().union(*filter(None, found)))


@cache
def _categories() -> dict[int, str]:
    """What the standard attributes hold that identify: names, dates, places, and the other rows of Table E.1-1.

    Rows with Clean Descriptors are sentences about a procedure and no identifiers in themselves.
    """
    identifying = {
        int(row.tag, 16)
        for row in read_table()
        if "x" not in row.tag and row.tag != "PRIVATE" and "clean_descriptors" not in row.options
    }
    result: dict[int, str] = {}
    for tag, entry in dictionary().items():
        vr, keyword = str(entry[0]), str(entry[4])
        if vr == "PN":
            result[tag] = NAME
        elif vr in ("DA", "DT"):
            result[tag] = DATE
        elif tag in identifying and tag != 0x00080201 and vr in ("LO", "SH", "ST", "LT", "UC", "UT", "AE", "UR", "UN"):
            result[tag] = PLACE if any(word in keyword for word in _PLACES) else TEXT
    return result


_OF_PRIVATE = {"PN": NAME, "DA": DATE, "DT": DATE}


def _collect(dataset: Elements, charsets: tuple[str, ...], facts: set[Fact], retained: Callable[[int], bool]) -> None:
    charsets = charsets_of(dataset, charsets)
    categories = _categories()
    for tag, element in dataset.items():
        if element.items is not None:
            for item in element.items:
                _collect(item, charsets, facts, retained)
            continue
        category = categories.get(tag)
        if category is None:
            if not (tag >> 16) & 1 or element.vr not in _OF_PRIVATE:
                continue
            category = _OF_PRIVATE[element.vr]
        if category != NAME and retained(tag):
            continue
        value = element.value
        if isinstance(value, bytes) and value:
            if category == DATE and value[:8].isdigit() and b"\\" not in value:
                value = value[:8]  # the time of a DT differs from instance to instance and names nobody
            facts.add((category, value, charsets))


@lru_cache(maxsize=64)
def _derived(facts: frozenset[Fact]) -> Identifiers:
    harvest = _Harvest()
    for category, value, charsets in facts:
        text = decoded(value, charsets)
        if category == NAME:
            for name in text.split("\\"):
                harvest.name(name)
        elif category == DATE:
            for date in text.split("\\"):
                harvest.date(date.strip(" \0")[:10])
        else:
            for part in (text, *text.split("\\")):
                harvest.text(part, place=category == PLACE)
    return harvest.result()


class _Harvest:
    """Collects spellings; the order of the facts does not matter."""

    def __init__(self) -> None:
        self.words: set[str] = set()
        self.names: set[str] = set()
        self.weak: set[str] = set()
        self.phrases: set[tuple[str, ...]] = set()
        self.streams: set[str] = set()

    def result(self) -> Identifiers:
        phrases: dict[str, tuple[tuple[str, ...], ...]] = {}
        for phrase in sorted(self.phrases):
            phrases[phrase[0]] = (*phrases.get(phrase[0], ()), phrase)
        inside = sorted(w for w in self.words if SHORTEST_INSIDE <= len(w) <= LONGEST_INSIDE and not w.isdigit())
        return Identifiers(
            frozenset(self.words),
            frozenset(self.names),
            frozenset(self.weak),
            phrases,
            tuple(inside),
            tuple(sorted(self.streams)),
        )

    def name(self, text: str) -> None:
        """A PN value: every part, what parts are together, and initials (PS3.5 6.2.1)."""
        for group in text.split("="):
            components = [part for component in group.split("^") if (part := _spelled(component))]
            for forms in components:
                for form in forms:
                    self._name_part(form)
            usual = [min(forms, key=lambda form: (len(form), form)) for forms in components[:3]]
            tokens = [token for form in usual for token in _TOKEN.findall(form)]
            joined = [glued for form in usual if (glued := "".join(_TOKEN.findall(form)))]
            if len(joined) > 1:
                self.words |= {"".join(joined), joined[1] + joined[0], joined[0] + joined[1]}
                self.words |= {joined[1][0] + joined[0], joined[0] + joined[1][0]}
            if len(joined) > 2:
                self.words.add(joined[1] + joined[2] + joined[0])
            if len(tokens) > 1:
                initials = [token[0] for token in tokens]
                for turn in range(len(initials)):
                    together = "".join(initials[turn:] + initials[:turn])
                    (self.words if len(together) > 2 else self.weak).add(together)
                    self.phrases.add(tuple(together))

    def _name_part(self, form: str) -> None:
        tokens = _TOKEN.findall(form)
        for token in (*tokens, "".join(tokens)):
            if len(token) >= SHORTEST_NAME:
                self.words.add(token)
                self.names.add(token)
        self._phrase(tokens)
        for size in range(2, len(tokens)):  # of a long name, also two or three parts glued together
            self.words.update("".join(tokens[at : at + size]) for at in range(len(tokens) - size + 1))

    def text(self, text: str, *, place: bool) -> None:
        """An identifier, a place or a device: the whole, its numbers, and its words as far as they are rare."""
        for form in _spelled(text):
            tokens = _TOKEN.findall(form)
            whole = "".join(tokens)
            if len(whole) < SHORTEST_TEXT:
                continue
            self.words.add(whole)
            self._number(whole)
            self._phrase(tokens)
            (self.words if place else self.weak).update(token for token in tokens if len(token) >= SHORTEST_TEXT)
            digits = re.sub(r"\D", "", whole)
            if len(digits) >= SHORTEST_STREAM:
                self.streams.add(digits)
            for run in _RUN.findall(" ".join(tokens)):
                if run.isdigit() and len(run) >= (SHORTEST_TEXT if place else SHORTEST_NUMBER):
                    self._number(run)
                elif len(run) >= SHORTEST_TEXT:
                    self.weak.add(run)

    def _number(self, digits: str) -> None:
        if not digits.isdigit():
            return
        bare = digits.lstrip("0")
        self.words.update(form for form in (digits, bare) if len(form) >= SHORTEST_TEXT)
        self.streams.update(form for form in (digits, bare) if len(form) >= SHORTEST_STREAM)

    def _phrase(self, tokens: list[str]) -> None:
        if len(tokens) > 1 and sum(map(len, tokens)) >= SHORTEST_TEXT:
            self.phrases.add(tuple(tokens[:LONGEST_PHRASE]))

    def date(self, text: str) -> None:
        """A date in the renderings people and machines use; of an impossible or partial one, its digits."""
        date = dates.parsed(text) or dates.parsed(text[:8])
        if date is None:
            self._number(re.sub(r"\D", "", text))
            return
        self.phrases |= date_phrases(date)
        y, m, d = f"{date.year:04d}", f"{date.month:02d}", f"{date.day:02d}"
        self.words.add(y)
        forms = {y + m + d, d + m + y, m + d + y, y[2:] + m + d, d + m + y[2:], m + d + y[2:], y + m, m + y}
        forms |= {f"{date.day}{date.month}{y}", f"{date.month}{date.day}{y}", f"{y}{date.timetuple().tm_yday:03d}"}
        self.streams |= {form for form in forms if len(form) > SHORTEST_STREAM}


def date_phrases(date: dt.date) -> set[tuple[str, ...]]:
    """The sequences of tokens that write ``date``, whatever stands between them (PS3.15 E.3.6 leaves them to us)."""
    years = {f"{date.year:04d}", f"{date.year % 100:02d}"}
    days = {f"{date.day:02d}", str(date.day)} | {f"{date.day}{ending}" for ending in ("st", "nd", "rd", "th")}
    numbers = {f"{date.month:02d}", str(date.month)}
    result: set[tuple[str, ...]] = set()
    for y, m, d in product(years, numbers, {f"{date.day:02d}", str(date.day)}):
        result |= {(y, m, d), (d, m, y), (m, d, y)}
    for y, name, d in product(years, _MONTHS[date.month - 1], days):
        result |= {(d, name, y), (name, d, y), (y, name, d), (d, "de", name, "de", y), (d, "of", name, y)}
        result |= {(name, y), (d, name), (name, d)}
    return result


@cache
def _letters() -> dict[str, tuple[str, ...]]:
    text = resources.files(__package__).joinpath("tables", "transliteration.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {letter: tuple(forms) or ("",) for letter, *forms in lines}


def _spelled(text: str) -> set[str]:
    """``text`` in lower case ASCII, in the spellings that are usual: Müller gives muller and mueller."""
    folded = unicodedata.normalize("NFKC", text[:LONGEST_TEXT].replace("\0", " ")).casefold()
    letters = _letters()
    bases = {_plain(folded)}
    if not folded.isascii():
        for choice in range(3):
            bases.add(_plain("".join(_written(letters, c, choice) for c in unicodedata.normalize("NFC", folded))))
    for form in sorted(bases):
        bases.add(form.replace("ae", "a").replace("oe", "o").replace("ue", "u"))
        bases.add(form.replace("oo", "o").replace("ou", "o").replace("uu", "u"))
    return {form.strip() for form in sorted(bases)[:MOST_SPELLINGS] if form.strip()}


def _written(letters: dict[str, tuple[str, ...]], letter: str, choice: int) -> str:
    forms = letters.get(letter)
    if forms is not None:
        return forms[min(choice, len(forms) - 1)]
    if letter.isascii():
        return letter
    name = unicodedata.name(letter, "")
    for script in ("HANGUL SYLLABLE ", "HIRAGANA LETTER ", "KATAKANA LETTER "):
        if name.startswith(script):
            return name.removeprefix(script).split()[-1].lower()
    return letter


def _plain(text: str) -> str:
    """``text`` without marks, joiners and what is not ASCII."""
    kept = (c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) not in ("Mn", "Cf"))
    return "".join(kept).encode("ascii", "ignore").decode("ascii").lower()
