"""Synthetic people and secrets. All are invented; the same seed gives the same ones."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass

FIRST_SHIFTABLE, LAST_SHIFTABLE = dt.date(1940, 1, 1), dt.date(1959, 12, 31)
"""Dates planted as DA or DT: decades away from those written into text, so a moved date never looks like a secret."""
FIRST_WRITTEN, LAST_WRITTEN = dt.date(1901, 1, 1), dt.date(1919, 12, 31)
_ONSETS, _VOWELS, _ENDS = "bdfghjklmnprstvwz", "aeiou", "bdfgklmnprstvz"


@dataclass(frozen=True, slots=True)
class Person:
    """A patient: the name as PN, the strings of it that may stand nowhere, and the character set that can write it.

    Parts that are words of medicine or too short to search for everywhere are in no ``distinct`` string.
    """

    name: str
    distinct: tuple[str, ...]
    charset: str = "ISO_IR 192"


PEOPLE = (
    Person("Abernathy^Rosalind", ("abernathy", "rosalind"), "ISO_IR 100"),
    Person("Müßigmann^Jürgen^^Dr.", ("müßigmann", "muessigmann", "mussigmann", "jürgen", "juergen"), "ISO_IR 100"),
    Person("Lefèvre-Duchâtelet^Agnès", ("lefèvre", "duchâtelet", "agnès", "lefevre-duch"), "ISO_IR 100"),
    Person("Yamazakura^Tarohito=山崎倉^太郎人=やまざくら^たろひと", ("yamazakura", "山崎倉", "太郎人", "やまざくら")),
    Person("Gilhwandong^Hong=洪吉煥^吉洞煥=홍길환^길동환", ("gilhwandong", "洪吉煥", "홍길환", "길동환")),
    Person("Zhangxiaodong^Wu=张小东^吴小明", ("zhangxiaodong", "张小东", "吴小明")),
    Person("Люксембургова^Евдокия", ("люксембургова", "евдокия")),
    Person("Hand^Cordulinde", ("cordulinde", "hand^cord")),
    Person("Chin^Waldtraute", ("waldtraute", "chin^wald")),
    Person("Young^Ottokarine^M", ("ottokarine", "young^otto")),
    Person("Li^Xiuyingmei", ("xiuyingmei", "li^xiu"), "ISO_IR 100"),
    Person("Ng^Kwokleung", ("kwokleung", "ng^kwok"), "ISO_IR 100"),
    Person("O'Brienly^Siobhanna", ("o'brienly", "obrienly", "siobhanna"), "ISO_IR 100"),
    Person("van der Hoogstraaten^Wilhelmina", ("hoogstraaten", "wilhelmina"), "ISO_IR 100"),
    Person("Garcíañez Lópezuela^María José", ("garcíañez", "lópezuela", "garcianez"), "ISO_IR 100"),
)


@dataclass(frozen=True, slots=True)
class Secret:
    """What is planted in one place and nowhere else: a surname, a number, and a date as people write it."""

    token: str
    number: str
    written: str

    @property
    def sentence(self) -> str:
        """Free text of at most 64 characters with all three."""
        return f"Seen by Dr. {self.token} (MRN {self.number}) on {self.written}"

    @property
    def everywhere(self) -> tuple[str, ...]:
        """What may not be found in an output."""
        return (self.token, self.number)


class Mint:
    """Makes secrets that are never the same and never part of one another."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._used: set[str] = set()

    def secret(self) -> Secret:
        return Secret(self.token(), self.number(), self.date(FIRST_WRITTEN, LAST_WRITTEN).strftime("%d.%m.%Y"))

    def token(self) -> str:
        """A surname of nine letters that no word list has."""

        def syllable() -> str:
            return "".join(self._random.choice(letters) for letters in (_ONSETS, _VOWELS, _ENDS))

        return self._new(lambda: "".join(syllable() for _ in range(3)).capitalize())

    def number(self) -> str:
        """Nine digits that fit an IS."""
        return self._new(lambda: str(self._random.randrange(310_000_000, 899_999_999)))

    def date(self, first: dt.date = FIRST_SHIFTABLE, last: dt.date = LAST_SHIFTABLE) -> dt.date:
        return first + dt.timedelta(days=self._random.randrange((last - first).days))

    def below(self, limit: int) -> int:
        return self._random.randrange(limit)

    def _new(self, make: Callable[[], str]) -> str:
        while (value := make()) in self._used:
            pass
        self._used.add(value)
        return value
