"""Invented people: patients in several scripts, staff, addresses. Nobody here exists."""

from __future__ import annotations

import datetime as dt
import unicodedata
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Script:
    """How the names of some patients are written and encoded (PS3.3 C.12.1.1.2).

    Each family or given name is (alphabetic, ideographic, phonetic); the last two are empty where the
    script has none. ``note`` is the free text that mentions a patient, as a technologist would type it.
    """

    SpecificCharacterSet: tuple[str, ...]
    families: tuple[tuple[str, str, str], ...]
    given_female: tuple[tuple[str, str, str], ...]
    given_male: tuple[tuple[str, str, str], ...]
    streets: tuple[str, ...]
    cities: tuple[str, ...]
    note: str

    @property
    def ascii_staff(self) -> bool:
        """Whether staff names must be transliterated because the character set lacks their letters."""
        return len(self.SpecificCharacterSet) > 1


def _plain(*names: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((name, "", "") for name in names)


LATIN = Script(
    ("ISO_IR 100",),
    _plain("Müller", "Weiß", "Schäfer", "Größmann", "Lefèvre", "Núñez", "Åkesson", "Kjærgaard", "Vogelsang", "Höfer"),
    _plain("Jördis", "Zoë", "Hélène", "Käthe", "Inês", "Friederike", "Solveig"),
    _plain("Jörg", "Søren", "André", "Götz", "Íñigo", "Bartholomäus", "Håkan"),
    ("Gänsemarkt 4", "Straße am Mühlbach 17", "Rue de l'Église 8"),
    ("20095 Grünwaldhausen", "04109 Altmühlbrück", "67000 Saint-Étoile"),
    "Patient {name}, ID {id}, geb. {born}, Größe übermittelt",
)
# 藤本 and 渋谷 carry the bytes of "\" and "=" in ISO-2022-JP, and や that of "^": readers that split before
# they decode get these wrong.
JAPANESE = Script(
    ("", "ISO 2022 IR 87"),
    (
        ("Yamada", "山田", "やまだ"),
        ("Fujimoto", "藤本", "ふじもと"),
        ("Shibuya", "渋谷", "しぶや"),
        ("Watanabe", "渡辺", "わたなべ"),
        ("Takahashi", "高橋", "たかはし"),
        ("Kobayashi", "小林", "こばやし"),
    ),
    (("Hanako", "花子", "はなこ"), ("Misaki", "美咲", "みさき"), ("Yoko", "陽子", "ようこ")),
    (("Tarou", "太郎", "たろう"), ("Kenichi", "健一", "けんいち"), ("Naoki", "直樹", "なおき")),
    ("桜町三丁目", "緑川町一丁目"),
    ("北山市", "南浜市"),
    "患者 {name} 様 ID {id} 生年月日 {born}",
)
KOREAN = Script(
    ("", "ISO 2022 IR 149"),
    (
        ("Hong", "洪", "홍"),
        ("Kim", "金", "김"),
        ("Lee", "李", "이"),
        ("Park", "朴", "박"),
        ("Choi", "崔", "최"),
        ("Jeong", "鄭", "정"),
    ),
    (("Seoyeon", "瑞淵", "서연"), ("Subin", "秀彬", "수빈"), ("Haeun", "河恩", "하은")),
    (("Gildong", "吉洞", "길동"), ("Minsu", "敏洙", "민수"), ("Jihun", "志勳", "지훈")),
    ("은행나무길 12", "별빛로 34"),
    ("새봄시", "한울시"),
    "환자 {name} 번호 {id} 생년월일 {born}",
)
UNICODE = Script(
    ("ISO_IR 192",),
    _plain("Żółkiewski", "Παπαδόπουλος", "Štěpánek", "Őszi", "İnönül", "Петренко", "Nguyễn"),
    _plain("Łucja", "Ελένη", "Božena", "Zsófia", "Оксана", "Ánh"),
    _plain("Paweł", "Γιώργος", "Jiří", "Győző", "Тарас", "Đức"),
    ("ul. Źródlana 5", "Οδός Ελιάς 21", "Növény utca 9"),
    ("00-950 Brzózki", "Νέα Πόλη 115 27", "1011 Újhely"),
    "Patient {name} – MRN {id}, born {born} – wishes a copy",
)

SCRIPTS = (LATIN, JAPANESE, LATIN, KOREAN, UNICODE, LATIN, JAPANESE, UNICODE)
"""Who is who in a population: patient ``i`` writes in ``SCRIPTS[i % 8]``, so that five patients show all scripts."""

_STAFF = {
    "referring": ("Brückner^Änne^^Dr.", "Osterhagen^Till^^Dr."),
    "performing": ("Löwenthal^Björn^^Prof. Dr.", "Hartwigsen^Maren^^Dr."),
    "operator": ("Kühnel^Ümit", "Sandström^Pia", "Weidenfeller^Ruth"),
    "reading": ("Ångström^Görel^^Dr.", "Quendler^Moritz^^PD Dr."),
    "requesting": ("Süßkind^Levke^^Dr.", "Tannhäuser^Ole^^Dr."),
}


@dataclass(frozen=True, slots=True)
class Patient:
    """One invented person. ``PatientName`` has all component groups of its script."""

    index: int
    script: Script
    PatientName: str
    PatientID: str
    IssuerOfPatientID: str
    PatientBirthDate: dt.date
    PatientSex: str
    address: str
    phone: str
    insurance_number: str

    @property
    def spoken(self) -> str:
        """The name as prose: given name after the family name, in the patient's own script."""
        groups = self.PatientName.split("=")
        return (groups[1] if len(groups) > 1 else groups[0]).replace("^", " ")

    @property
    def family(self) -> str:
        """The family name in Latin letters where it has one."""
        return self.PatientName.split("=")[0].split("^")[0]

    @property
    def alphabetic(self) -> str:
        """The first component group with a comma, as a modality draws it on the screen."""
        return self.PatientName.split("=")[0].replace("^", ", ", 1).replace("^", " ")

    def note(self) -> str:
        """A free text that mentions the patient by name, number and birth date."""
        return self.script.note.format(name=self.spoken, id=self.PatientID, born=f"{self.PatientBirthDate:%d.%m.%Y}")


def patient(index: int, *, seed: int, issuer: str) -> Patient:
    """The ``index``-th patient of the population of ``seed``; PatientIDs are distinct for up to 9,000,000 patients."""
    random = Random(f"{seed}/patient/{index}")  # noqa: S311 - a reproducible population, not a secret
    script = SCRIPTS[index % len(SCRIPTS)]
    sex = random.choice("FM")
    family = random.choice(script.families)
    given = random.choice(script.given_female if sex == "F" else script.given_male)
    groups = [f"{f}^{g}" for f, g in zip(family, given, strict=True)]
    number = 1_000_000 + (index * 7_919 + seed * 104_729) % 9_000_000
    return Patient(
        index=index,
        script=script,
        PatientName="=".join(group for group in groups if group != "^"),
        PatientID=f"{issuer[0]}{number}",
        IssuerOfPatientID=issuer,
        PatientBirthDate=dt.date(1931, 1, 1) + dt.timedelta(days=random.randrange(80 * 365)),
        PatientSex=sex,
        address=f"{random.choice(script.streets)}, {random.choice(script.cities)}",
        phone=f"+49 30 {random.randrange(10**6, 10**7)}",
        insurance_number=f"KV{random.randrange(10**8, 10**9)}",
    )


def staff(role: str, random: Random, script: Script) -> str:
    """The PN of a member of staff, in letters that ``script`` can encode."""
    name = random.choice(_STAFF[role])
    return to_ascii(name) if script.ascii_staff else name


def to_ascii(text: str) -> str:
    """``text`` in ASCII, the way a German registration desk writes it (ü as ue)."""
    for letter, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("Ä", "Ae"), ("Ö", "Oe"), ("Ü", "Ue"), ("ß", "ss")):
        text = text.replace(letter, letters)
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
