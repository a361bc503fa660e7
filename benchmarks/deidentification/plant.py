"""Writes instances with planted identifiers and useful content, and the answer key. The same seed, the same bytes."""

from __future__ import annotations

import datetime as dt
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from benchmarks.deidentification import expectations
from benchmarks.deidentification.answers import PROTECTIVE, Action, Answer, step
from benchmarks.deidentification.identities import PEOPLE, Mint, Person, Secret

SEED = 20260
BASES = {
    "ct": "CT_small.dcm",
    "mr": "MR_small.dcm",
    "mr-implicit": "MR_small_implicit.dcm",
    "mr-big": "MR_small_bigendian.dcm",
    "mr-rle": "MR_small_RLE.dcm",
    "mr-jpegls": "MR_small_jpeg_ls_lossless.dcm",
    "mr-jpeg2000": "MR_small_jp2klossless.dcm",
    "us": "examples_rgb_color.dcm",
    "sc": "SC_rgb_rle.dcm",
    "sc-deflated": "image_dfl.dcm",
    "sr-text": "reportsi.dcm",
    "sr": "test-SR.dcm",
    "rtplan": "rtplan.dcm",
    "rtdose": "rtdose.dcm",
    "seg": "liver_1frame.dcm",
    "ecg": "waveform_ecg.dcm",
}
"""Real files inside pydicom's wheel."""
NEST = (0x52009229, 0x00209071, 0x00082218)
"""Shared functional groups, frame anatomy, anatomic region: three standard sequences that no row of the table names."""
_ROOT = "1.2.826.0.1.3680043.9.7777"
_BYTES = ("OB", "OW", "OF", "OD", "OL", "OV", "UN")
_TEXT = ("LO", "ST", "LT", "UT", "UC")
_NUMBERS: dict[str, Any] = {"US": 41_237, "SS": 31_237, "UL": 1_941_237_411, "SL": 1_941_237_411}
_NUMBERS |= {"FL": 41237.5, "FD": 194123.625, "UV": 194_123_741_123, "SV": 194_123_741_123, "AT": 0x41237411}


@contextmanager
def anything_goes() -> Iterator[None]:
    """pydicom writes and reads what it is told to, without a word."""
    settings = pydicom.config.settings
    before = settings.writing_validation_mode, settings.reading_validation_mode
    settings.writing_validation_mode = settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        settings.writing_validation_mode, settings.reading_validation_mode = before


def put(ds: Dataset, tag: int, vr: str, value: object) -> None:
    """Set an element of any VR, known to the dictionary or not."""
    ds[tag] = DataElement(Tag(tag), vr, value, validation_mode=pydicom.config.IGNORE)


def nested(ds: Dataset, tags: tuple[int, ...]) -> tuple[Dataset, str]:
    """The item at the end of a nest of sequences, made where missing, and the path to it."""
    path = ""
    for tag in tags:
        if tag not in ds:
            put(ds, tag, "SQ", Sequence([Dataset()]))
        path += step(tag, 0)
        ds = ds[tag].value[0]
    return ds, path


@dataclass
class Key:
    """What was planted: the files, which patient each is of, and the answers."""

    folder: Path
    profile: str
    patients: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    @property
    def files(self) -> dict[str, Path]:
        """The files by their names in the answers."""
        return {name: self.folder / name for name in self.patients}


class Draft:
    """One instance while things are planted into it."""

    def __init__(self, planter: Planter, base: str, person: Person | None = None) -> None:
        self.planter = planter
        self.mint = planter.mint
        with anything_goes():
            self.ds: FileDataset = pydicom.dcmread(str(get_testdata_file(BASES[base], download=False)))
            self.ds.decode()
        self.answers: list[Answer] = []
        self.patch: Callable[[bytes], bytes] = bytes  # a last word on the bytes of the file
        self._identify(person or PEOPLE[planter.next_number() % len(PEOPLE)])

    def _identify(self, person: Person) -> None:
        ds, number = self.ds, self.planter.next_number()
        self.person, self.patient_id = person, self.mint.number()
        ds.SpecificCharacterSet = person.charset
        put(ds, 0x00100010, "PN", person.name)
        put(ds, 0x00100020, "LO", self.patient_id)
        birth = self.mint.date().strftime("%Y%m%d")
        put(ds, 0x00100030, "DA", birth)
        self.hide(0x00100010, person.name, "patient", person.distinct)
        self.hide(0x00100020, self.patient_id, "patient", (self.patient_id,))
        if not self.planter.keeps(expectations.FULL_DATES):
            self.hide(0x00100030, birth, "patient")
        for tag, level in ((0x0020000D, 1), (0x0020000E, 2), (0x00080018, 3)):
            uid = f"{_ROOT}.{level}.{self.mint.number()}.{number}"
            put(ds, tag, "UI", uid)
            self.answer(Action.UID_CHANGED, step(tag), uid, "uid", (uid,))
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID

    def belongs_to(self, other: Draft, *, same_series: bool = True) -> None:
        """Make it an instance of the patient and the study (and the series) of ``other``."""
        series = [0x0020000E] if same_series else []
        for tag in (0x00100010, 0x00100020, 0x00100030, 0x0020000D, *series):
            self.ds[tag] = other.ds[tag]
            theirs = [one for one in other.answers if one.path == step(tag) and one.action in PROTECTIVE]
            self.answers = [one for one in self.answers if one.path != step(tag)] + theirs
        self.ds.SpecificCharacterSet = other.ds.SpecificCharacterSet
        self.person, self.patient_id = other.person, other.patient_id

    def answer(
        self, action: Action, path: str, text: str, category: str, everywhere: tuple[str, ...] = (), where: str = ""
    ) -> None:
        self.answers.append(Answer("", action, path, text, category, everywhere, where))

    def hide(self, tag: int, text: str, category: str, everywhere: tuple[str, ...] = ()) -> None:
        """``text`` of a top-level element may not stay there, nor ``everywhere`` anywhere."""
        self.answer(Action.TEXT_REMOVED, step(tag), text, category, everywhere)

    def secret(self, category: str, where: str, path: str = "", *, written: bool = False) -> Secret:
        """A secret that may be found nowhere in the output; ``written`` when its date is planted as well."""
        secret = self.mint.secret()
        everywhere = secret.everywhere
        if written and not self.planter.keeps(expectations.FULL_DATES):
            everywhere += (secret.written,)
        self.answer(Action.TEXT_REMOVED, path, secret.token, category, everywhere, where)
        return secret

    def put(self, tag: int, value: object, *, vr: str | None = None) -> None:
        """A top-level element without a check of its own."""
        put(self.ds, tag, vr or expectations.vr_of(tag), value)

    def without_group(self, group: int) -> None:
        """Take away what the file has in a group at top level."""
        for tag in list(self.ds.group_dataset(group).keys()):
            del self.ds[tag]

    def plant(self, tag: int, category: str, *, vr: str = "", tags: tuple[int, ...] = (), where: str = "") -> None:
        """A secret as a value of ``vr`` (by default the tag's), in the item that the sequences ``tags`` lead to."""
        item, prefix = nested(self.ds, tags) if tags else (self.ds, "")
        self.plant_in(item, prefix, tag, category, vr=vr, where=where)

    def plant_in(
        self, item: Dataset, prefix: str, tag: int, category: str, *, vr: str = "", where: str = "", path: str = ""
    ) -> None:
        """The same in an item at hand, whose path is ``prefix``."""
        vr, path = vr or expectations.vr_of(tag), path or prefix + step(tag)
        if vr == "SQ":
            put(item, tag, "SQ", Sequence([self._content(path + "[0]", category, where)]))
            return
        value, text, everywhere, action = self.value_for(vr, tag)
        put(item, tag, vr, value)
        self.answer(action, path, text, category, everywhere, where)

    def _content(self, prefix: str, category: str, where: str) -> Dataset:
        """An item with a name, a text and a code that all identify."""
        item = Dataset()
        for tag in (0x0040A123, 0x00080104, 0x00104000):
            self.plant_in(item, prefix, tag, category, where=where)
        put(item, 0x00080100, "SH", "T-D4000")
        put(item, 0x00080102, "SH", "99LOCAL")
        return item

    def value_for(self, vr: str, tag: int) -> tuple[object, str, tuple[str, ...], Action]:
        """A value of ``vr`` that identifies, its text, what may be found nowhere, and the check."""
        secret, gone = self.mint.secret(), Action.TEXT_REMOVED
        full_dates = self.planter.keeps(expectations.FULL_DATES)
        written = () if full_dates else (secret.written,)
        if vr in _TEXT:
            return secret.sentence, secret.token, secret.everywhere + written, gone
        if vr == "PN":
            return f"{secret.token}^Anna^^Dr.", secret.token, (secret.token,), gone
        if vr in ("SH", "AE"):
            return secret.token, secret.token, (secret.token,), gone
        if vr == "CS":
            return secret.token.upper(), secret.token, (secret.token,), gone
        if vr in ("DS", "IS"):
            return secret.number, secret.number, (secret.number,), gone
        if vr == "UI":
            return f"{_ROOT}.8.{secret.number}.1", secret.number, (secret.number,), Action.UID_CHANGED
        if vr == "UR":
            url = f"https://pacs.example.org/{secret.token}?id={secret.number}"
            return url, secret.token, secret.everywhere, gone
        if vr in _BYTES:
            raw = f"{secret.token} {secret.number}  ".encode().ljust(24)
            return raw, secret.token, secret.everywhere, gone
        moves = self.planter.keeps(expectations.MODIFIED_DATES) and tag in self.planter.dates
        if vr in ("DA", "DT"):
            value = self.mint.date().strftime("%Y%m%d") + ("031742.137913+0100" if vr == "DT" else "")
            return value, value[:8], (), Action.DATE_SHIFTED if moves else gone
        if vr == "TM":
            value = f"031742.{self.mint.number()[:6]}"
            return value, value, (), gone
        if vr == "AS":
            return "093Y", "093", (), gone
        number = _NUMBERS[vr]
        return number, str(Tag(number) if vr == "AT" else number), (), gone

    def save(self, name: str) -> None:
        """Write the file and hand its answers to the key."""
        with anything_goes():
            raw = file_bytes(self.ds)
        path = self.planter.key.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.patch(raw))
        self.planter.key.patients[name] = self.patient_id
        for answer in self.answers:
            self.planter.key.answers.append(
                Answer(name, answer.action, answer.path, answer.text, answer.category, answer.everywhere, answer.where)
            )


class Planter:
    """The folder, the profile and the mint of one key."""

    def __init__(self, folder: Path, profile: str, seed: int) -> None:
        self.key = Key(folder, profile)
        self.mint = Mint(seed)
        self.options = expectations.OPTIONS[profile]
        self.dates = {row.tag for row in expectations.rows(profile) if row.dates}
        self._number = 0

    def keeps(self, option: str) -> bool:
        """Whether the profile has an option."""
        return option in self.options

    def next_number(self) -> int:
        self._number += 1
        return self._number

    @contextmanager
    def draft(self, name: str, base: str = "mr", person: Person | None = None) -> Iterator[Draft]:
        """An instance that is written at the end."""
        draft = Draft(self, base, person)
        yield draft
        draft.save(name)


_ROWS_PER_FILE = 12
_TABLE_BASES = ("mr", "ct", "mr-implicit", "mr-big")


def plant_table(planter: Planter) -> None:
    """Every row of Table E.1-1, at top level and at depth three."""
    own = {0x00080018, 0x0020000D, 0x0020000E, 0x00100010, 0x00100020, 0x00100030}  # planted in every instance
    full_dates = planter.keeps(expectations.FULL_DATES)
    rows = []
    for row in expectations.rows(planter.key.profile):
        kept_time = row.vr == "TM" and row.dates and row.effect in "KC"  # whole days move, times of day stay
        if row.tag >> 16 == 0x0002:
            continue  # group 0002 is a place of its own
        if row.effect != "K" and not kept_time and not (full_dates and row.dates):
            rows.append(row)
    for tags, depth in (((), "table, top level"), (NEST, "table, depth three")):
        # at top level, group 0000 and what every instance has are places of their own
        wanted = [row for row in rows if tags or (row.tag not in own and row.tag >> 16)]
        for start in range(0, len(wanted), _ROWS_PER_FILE):
            base = _TABLE_BASES[start // _ROWS_PER_FILE % len(_TABLE_BASES)]
            name = f"{depth.replace(', ', '-').replace(' ', '-')}/{start:04}.dcm"
            with planter.draft(name, base) as draft:
                for row in wanted[start : start + _ROWS_PER_FILE]:
                    draft.plant(row.tag, depth, vr=row.vr, tags=tags, where=row.name)


_KEPT: dict[str, str] = {
    "LO": "STANDARD", "SH": "CT01", "CS": "M", "DS": "72.5", "IS": "2", "AS": "045Y", "UI": f"{_ROOT}.9.1",
    "LT": "STANDARD", "ST": "STANDARD", "UT": "STANDARD", "UC": "STANDARD", "DT": "19990504101112", "DA": "19990504",
    "TM": "101112", "AE": "CT01", "PN": "Staff^One",
}  # fmt: skip


def _kept(row: expectations.Row) -> str:
    """An ordinary value that identifies a device or describes a patient, but nobody."""
    if "Ethnic" in row.name:
        return "CAUCASIAN"
    numbered = row.vr in ("LO", "SH") and row.name.endswith(("ID", "Number", "Identifier"))
    return "48113" if numbered else _KEPT[row.vr]


def plant_kept_rows(planter: Planter) -> None:
    """Ordinary values in the rows an option of the profile keeps."""
    rows = [r for r in expectations.rows(planter.key.profile) if r.effect == "K" and r.vr in _KEPT]
    for start in range(0, len(rows), 4):
        with planter.draft(f"useful-option-rows/{start:04}.dcm", "ct") as draft:
            for row in rows[start : start + 4]:
                value = _kept(row)
                draft.put(row.tag, value, vr=row.vr)
                action = Action.TEXT_NOTNULL if row.vr == "UI" else Action.TEXT_RETAINED
                draft.answer(action, step(row.tag), value, "useful: rows an option keeps", where=row.name)


def generate(folder: Path, profile: str, seed: int = SEED) -> Key:
    """Write everything for ``profile`` into the empty ``folder``.

    Raises KeyError for a profile whose options are not known.
    """
    from benchmarks.deidentification import documents, images, objects, places, useful  # they build on Draft

    planter = Planter(folder, profile, seed)
    plant_table(planter)
    plant_kept_rows(planter)
    for module in (places, images, documents, objects, useful):
        for plant in module.PLANTS:
            plant(planter)
    return planter.key


def file_bytes(ds: FileDataset) -> bytes:
    """``ds`` as a file, also with elements that :func:`pydicom.dcmwrite` refuses, such as those of group 0000."""
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    head, body = DicomBytesIO(), DicomBytesIO()
    head.write(bytes(128) + b"DICM")
    write_file_meta_info(head, ds.file_meta, enforce_standard=True)
    body.is_implicit_VR, body.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(body, ds, ds.get("SpecificCharacterSet", "ISO_IR 6"))
    data = body.getvalue()
    if syntax == DeflatedExplicitVRLittleEndian:
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflate.compress(data) + deflate.flush()
        data += bytes(len(data) % 2)
    return head.getvalue() + data


def shown(date: dt.date) -> tuple[str, ...]:
    """A date as it is written into text, in many renderings."""
    patterns = (
        "%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%m/%d/%Y", "%m-%d-%Y",
        "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d%b%Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%d. %B %Y",
        "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%y%m%d", "%Y %b %d", "%A, %d %B %Y", "%Y-%m-%dT10:11:12",
        "%Y%m%d101112", "%Y_%m_%d", "%d_%m_%Y",
    )  # fmt: skip
    german = [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ]
    day = f"{date.day}. {german[date.month - 1]} {date.year}"
    japanese = f"{date.year}年{date.month}月{date.day}日"
    return (*(date.strftime(pattern) for pattern in patterns), day, japanese, f"{date.day}.{date.month}.{date.year}")
