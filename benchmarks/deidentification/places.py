"""Places outside the rows of the table: nesting, repeating groups, private elements, the file around the data set."""

from __future__ import annotations

from collections.abc import Callable

from pydicom import config
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.tag import Tag

from benchmarks.deidentification import expectations
from benchmarks.deidentification.answers import Action, step
from benchmarks.deidentification.identities import Person
from benchmarks.deidentification.plant import NEST, Planter, nested, put, shown

_PRIVATE_VRS = (
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OL", "OV", "OW",
    "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV",
)  # fmt: skip
_NUMERIC = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_PER_FILE = 25


def deep(planter: Planter) -> None:
    """Standard sequences in one another."""
    for depth in (5, 12, 24):
        for tag, vr in ((0x00204000, "LT"), (0x0040A123, "PN"), (0x00081030, "LO"), (0x00081155, "UI")):
            with planter.draft(f"deep/{depth}-{tag:08x}.dcm") as draft:
                draft.plant(tag, "deep sequences", vr=vr, tags=(NEST * 9)[:depth], where=f"depth {depth}")


def repeating_groups(planter: Planter) -> None:
    """Curves and overlays: data, labels, comments, in several groups."""
    curves = ((0x0020, "CS"), (0x0022, "LO"), (0x0030, "SH"), (0x0040, "SH"), (0x2500, "LO"), (0x3000, "OW"))
    overlays = ((0x0022, "LO"), (0x0045, "CS"), (0x1500, "LO"), (0x3000, "OW"), (0x4000, "LT"))
    for group in (0x5000, 0x5002, 0x501E, 0x6000, 0x6002, 0x601E):
        elements, what = (curves, "curves 50xx") if group < 0x6000 else (overlays, "overlays 60xx")
        for element, vr in elements:
            with planter.draft(f"groups/{group:04x}{element:04x}.dcm") as draft:
                if group >= 0x6000:
                    shape = ((0x10, "US", 8), (0x11, "US", 24), (0x40, "CS", "G"), (0x50, "SS", [1, 1]))
                    for number, its_vr, value in (
                        *shape,
                        (0x100, "US", 1),
                        (0x102, "US", 0),
                        (0x3000, "OW", bytes(24)),
                    ):
                        put(draft.ds, group << 16 | number, its_vr, value)
                draft.plant(group << 16 | element, what, vr=vr)


def private(planter: Planter) -> None:
    """Private elements of every VR at top level and nested, private sequences, orphans, creators, safe creators."""
    for vr in _PRIVATE_VRS:
        for tags, depth in (((), "top"), (NEST, "nested")):
            with planter.draft(f"private/{vr}-{depth}.dcm") as draft:
                item, prefix = nested(draft.ds, tags) if tags else (draft.ds, "")
                put(item, 0x00990010, "LO", "ACME 1.0")
                path = f'{prefix}(0099,"ACME 1.0",01)'
                draft.plant_in(item, prefix, 0x00991001, "private", vr=vr, where=f"VR {vr}, {depth}", path=path)
    with planter.draft("private/un-sequence.dcm", "mr-implicit") as draft:
        put(draft.ds, 0x00990010, "LO", "ACME 1.0")
        draft.plant(0x00991001, "private", vr="SQ", where="sequence that implicit VR cannot tell")
    with planter.draft("private/orphan.dcm") as draft:
        draft.plant(0x00991001, "private", vr="LO", where="orphan without a creator")
        draft.plant(0x00990001, "private", vr="LO", where="element below the creators")
    with planter.draft("private/creator.dcm") as draft:
        secret = draft.secret("private", "creator string", "(0099,0010)")
        put(draft.ds, 0x00990010, "LO", secret.sentence)
        put(draft.ds, 0x00991001, "LO", "ordinary")
    # a safe element of Table E.3.10-1 with a name in it, in its own block and in another; then a wrong creator
    for block, creator in ((0x10, "SIEMENS MR HEADER"), (0x37, "SIEMENS MR HEADER"), (0x10, "ACME 2.0")):
        with planter.draft(f"private/safe-{block:02x}-{creator[:4]}.dcm") as draft:
            draft.without_group(0x0019)
            put(draft.ds, 0x00190000 | block, "LO", creator)
            draft.plant(0x00190000 | block << 8 | 0x0D, "private", vr="CS", where=f"safe list, {creator}")
            draft.plant(0x00190000 | block << 8 | 0x08, "private", vr="CS", where=f"safe list, {creator}")
            draft.plant(0x00190000 | block << 8 | 0x0C, "private", vr="LO", where=f"safe list, wrong VR, {creator}")
    with planter.draft("private/even-odd.dcm") as draft:
        for group in (0x0009, 0x0011, 0x0029, 0x7FE1):
            put(draft.ds, group << 16 | 0x0010, "LO", "GEMS_PATI_01")
            draft.plant(group << 16 | 0x1010, "private", vr="LO", where=f"group {group:04x}")


def meta(planter: Planter) -> None:
    """The preamble and group 0002."""
    for tag, vr in (
        (0x00020013, "SH"), (0x00020016, "AE"), (0x00020017, "AE"), (0x00020018, "AE"), (0x00020026, "UR"),
        (0x00020027, "UR"), (0x00020028, "UR"), (0x00020100, "UI"), (0x00020102, "OB"), (0x00020003, "UI"),
        (0x00020012, "UI"),
    ):  # fmt: skip
        with planter.draft(f"meta/{tag:08x}.dcm") as draft:
            path = step(tag)
            value, text, everywhere, action = draft.value_for(vr, tag)
            draft.ds.file_meta[tag] = DataElement(Tag(tag), vr, value, validation_mode=config.IGNORE)
            if tag == 0x00020102:
                draft.ds.file_meta.PrivateInformationCreatorUID = "1.2.3.4"
            draft.answer(action, "", text, "group 0002", everywhere, f"file meta {path}")
    with planter.draft("meta/preamble.dcm") as draft:
        secret = draft.secret("preamble", "the 128 bytes")
        text = f"II*\0 {secret.token} {secret.number}".encode().ljust(128, b"\0")
        draft.patch = lambda raw: text + raw[128:]


def padding(planter: Planter) -> None:
    """Bytes behind the data set, and elements that pad."""
    with planter.draft("padding/behind.dcm") as draft:
        behind = draft.secret("padding", "bytes behind the data set")
        draft.patch = lambda raw: raw + f"\0\0{behind.sentence}".encode()
    with planter.draft("padding/trailing.dcm") as draft:
        draft.plant(0xFFFCFFFC, "padding", vr="OB", where="data set trailing padding")
    with planter.draft("padding/group-length.dcm") as draft:
        length = draft.secret("padding", "group length of another VR")
        draft.patch = lambda raw: _with_group_length(raw, length.sentence.encode())
    for tag in (0x00001000, 0x00001001):
        with planter.draft(f"padding/command-{tag:08x}.dcm") as draft:
            draft.plant(tag, "table, top level", vr="UI", where="command group")
    with planter.draft("padding/value.dcm") as draft:
        secret = draft.secret("padding", "behind the NUL of a text value", "(0018,0015)")
        draft.put(0x00180015, f"HEAD\0{secret.token}", vr="CS")
    with planter.draft("padding/unknown.dcm") as draft:
        draft.plant(0x0008FFF8, "unknown standard attributes", vr="LO")
        draft.plant(0x0018FFF0, "unknown standard attributes", vr="UN")


def _with_group_length(raw: bytes, text: bytes) -> bytes:
    """``raw`` with ``text`` as the value of (0008,0000), which pydicom leaves out when it writes."""
    start = 144 + int.from_bytes(raw[140:144], "little")
    text += b" " * (len(text) % 2)
    element = b"\x08\0\0\0LT" + len(text).to_bytes(2, "little") + text
    return raw[:start] + element + raw[start:]


def many_values(planter: Planter) -> None:
    """The name as one of several values."""
    places = (
        (0x00080008, "CS", ["ORIGINAL", "PRIMARY", "{}"], str.upper), (0x00101000, "LO", ["4711", "{}"], str),
        (0x00101001, "PN", ["Doe^J", "{}^Anna"], str), (0x00181020, "LO", ["VB10", "{}"], str),
        (0x00189004, "CS", ["{}"], str.upper), (0x00180021, "CS", ["SK", "{}"], str.upper),
        (0x00281055, "LO", ["LUNG", "{}"], str), (0x00181400, "LO", ["{}"], str), (0x00102000, "LO", ["", "{}"], str),
        (0x00180022, "CS", ["PFP", "{}"], str.upper), (0x00081070, "PN", ["A^B", "C^D", "{}^Anna"], str),
        (0x00185101, "CS", ["AP", "{}"], str.upper),
    )  # fmt: skip
    for tag, vr, values, form in places:
        with planter.draft(f"many/{tag:08x}.dcm", "ct") as draft:
            secret = draft.secret("multi-valued", "one of several values", step(tag))
            put(draft.ds, tag, vr, [value.format(form(secret.token)) for value in values])


def uids(planter: Planter) -> None:
    """UIDs that embed an id: in the table, outside it, in text, under the root of the standard."""
    for tag in (0x00200052, 0x00200200, 0x00083010, 0x00209161, 0x00209164, 0x00280301, 0x00081155, 0x0008010D):
        with planter.draft(f"uid/{tag:08x}.dcm") as draft:
            draft.plant(tag, "uid", vr="UI", tags=(0x00081115, 0x00081199) if tag == 0x00081155 else ())
    for start in (0, 15, 30):
        others = [
            tag for tag, (vr, *_) in DicomDictionary.items()
            if vr == "UI" and tag >> 16 not in (0, 2) and tag not in expectations.table_tags() and tag != 0x00080016
        ]  # fmt: skip
        with planter.draft(f"uid/outside-{start:02}.dcm") as draft:
            for tag in others[start : start + 15]:
                draft.plant(tag, "uid", vr="UI", where="outside the table")
    for number, text in enumerate(("1.2.840.10008.5.1.4.1.1.2.{}", "1.2.840.10008.{}", "2.25.{}")):
        with planter.draft(f"uid/registered-{number}.dcm") as draft:
            secret = draft.mint.secret()
            uid = text.format(secret.number)
            draft.put(0x00200052, uid)
            draft.answer(Action.UID_CHANGED, step(0x00200052), uid, "uid", (secret.number,), "a root that looks known")
    with planter.draft("uid/in-text.dcm") as draft:
        draft.put(0x00204000, f"compare with {draft.ds.StudyInstanceUID} and {draft.patient_id}")
        draft.hide(0x00204000, str(draft.ds.StudyInstanceUID), "uid")


def codes(planter: Planter) -> None:
    """Coded concepts that carry a name, in every part."""
    parts = ((0x00080100, "SH"), (0x00080102, "SH"), (0x00080103, "SH"), (0x00080104, "LO"), (0x00080119, "UC"))
    parts += ((0x00080120, "UR"), (0x0008010F, "CS"), (0x00080114, "LO"), (0x00080115, "LO"))
    for sequence in (0x00081032, 0x00082218, 0x00540220, 0x00400260, 0x00089215):
        for tag, vr in parts:
            with planter.draft(f"codes/{sequence:08x}-{tag:08x}.dcm") as draft:
                item, prefix = nested(draft.ds, (sequence,))
                for its_tag, its_vr, value in (
                    (0x00080100, "SH", "T-D3000"), (0x00080102, "SH", "SRT"), (0x00080104, "LO", "Chest")
                ):  # fmt: skip
                    put(item, its_tag, its_vr, value)
                draft.plant_in(item, prefix, tag, "codes", vr=vr)


def ages(planter: Planter) -> None:
    """Ages over 89, as an age and in words."""
    for number, age in enumerate(("090Y", "093Y", "101Y")):
        with planter.draft(f"ages/{number}.dcm") as draft:
            draft.put(0x00101010, age)
            if age != "090Y":
                draft.hide(0x00101010, age[:3], "ages over 89")
    with planter.draft("ages/nested.dcm") as draft:
        draft.plant(0x00101010, "ages over 89", tags=NEST)
    for number, text in enumerate(("93 y.o. male, chest", "94-year-old", "aged 95", "F 96Y", "097Y CHEST")):
        for tag in (0x0008103E, 0x00081030, 0x00181030):
            with planter.draft(f"ages/text-{number}-{tag:08x}.dcm", "ct") as draft:
                draft.put(tag, text)
                draft.hide(tag, text[[c.isdigit() for c in text].index(True) :][:2], "ages over 89")


def dates(planter: Planter) -> None:
    """Dates that are none, dates with times and zones, and dates written into text."""
    if planter.keeps(expectations.FULL_DATES):
        return
    for number, value in enumerate(("1950", "195002", "00000000", "19500231", "1950.02.13", "19500213-19500214")):
        for tag in (0x00100030, 0x00080020, 0x00080022, 0x00181012):
            with planter.draft(f"dates/odd-{number}-{tag:08x}.dcm", "ct") as draft:
                if tag == 0x00100030:  # the answer of the patient's own birth date is of a value that is replaced here
                    draft.answers = [one for one in draft.answers if one.path != step(tag)]
                draft.put(tag, value)
                if value.strip("0"):
                    draft.hide(tag, value, "partial and impossible dates")
    for number, value in enumerate(
        ("19430412", "1943041203", "194304120317", "19430412031742", "19430412031742.137913",
         "19430412031742.137913+0230", "19430412031742-1130", "1943", "194304", "194304+0100")
    ):  # fmt: skip
        for tag in (0x0008002A, 0x00189074, 0x00189151, 0x0040A13A):
            with planter.draft(f"dates/dt-{number}-{tag:08x}.dcm", "ct") as draft:
                draft.put(tag, value)
                whole = len(value) >= 8 and value[6] not in "+-"
                moves = whole and planter.keeps(expectations.MODIFIED_DATES)
                action = Action.DATE_SHIFTED if moves else Action.TEXT_REMOVED
                draft.answer(action, step(tag), value[:8].split("+")[0], "DT with zones and parts")
    texts = (0x0008103E, 0x00081030, 0x00204000, 0x00181030, 0x00104000, 0x00102000)
    number = 0
    for own in (True, False):
        for number, place in enumerate(texts * 7):
            with planter.draft(f"dates/text-{own}-{number:02}.dcm", "ct") as draft:
                draft.answers = [one for one in draft.answers if one.path != "(0010,0030)"]
                date = draft.mint.date()
                draft.put(0x00100030, date.strftime("%Y%m%d") if own else "19500101")
                rendering = shown(date)[number % len(shown(date))]
                if not rendering.isascii():
                    draft.ds.SpecificCharacterSet = "ISO_IR 192"
                draft.put(place, f"CT CHEST {rendering}")
                where = "the birth date in text" if own else "a date in text that no header has"
                draft.answer(Action.TEXT_REMOVED, step(place), rendering, "dates in text", (), where)


def character_sets(planter: Planter) -> None:
    """Names in character sets with and without code extensions, in names and in text."""
    sets: tuple[tuple[object, str, tuple[str, ...]], ...] = (
        ("ISO_IR 100", "Größenwahnig^Björnulf", ("größenwahnig", "björnulf", "grossenwahnig", "groessenwahnig")),
        ("ISO_IR 101", "Wałęsowicz^Stanisłav", ("wałęsowicz",)),
        ("ISO_IR 144", "Люксембургов^Владислав", ("люксембургов", "владислав")),
        ("ISO_IR 126", "Διονυσιάδης^Αλέξανδρος", ("διονυσιάδης", "αλέξανδρος")),
        ("ISO_IR 138", "שרוןברג^דבורהלה", ("שרוןברג", "דבורהלה")),
        ("ISO_IR 166", "นามสมมุติ^สมชายเล", ("นามสมมุติ",)),
        ("ISO_IR 13", "ﾔﾏﾀﾞｻﾞｸ^ﾀﾛﾋﾄ", ("ﾔﾏﾀﾞｻﾞｸ",)),
        (["", "ISO 2022 IR 87"], "Yamadazaku^Taro=山田桜^太郎人=やまだざく^たろ", ("yamadazaku", "山田桜")),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞｻﾞｸ^ﾀﾛﾋﾄ=山田桜^太郎人", ("山田桜", "太郎人")),
        (["", "ISO 2022 IR 149"], "Hongkilsun^Gildonga=洪吉純^吉洞亜=홍길순^길동아", ("hongkilsun", "홍길순")),
        (["", "ISO 2022 IR 58"], "Zhangxiaobei^Xiaob=张小北^小北", ("zhangxiaobei", "张小北")),
        ("GB18030", "Wangxiaobei^Xiaob=王小贝^小贝", ("wangxiaobei", "王小贝")),
        ("GBK", "Wangxiaoben^Xiaob=王小贲^小贲", ("wangxiaoben", "王小贲")),
        ("ISO_IR 192", "Wangxiaobin^Xiaob=王小滨^小滨", ("wangxiaobin", "王小滨")),
        (["ISO 2022 IR 100", "ISO 2022 IR 144"], "Müllerhagn^Люксембург", ("müllerhagn", "люксембург")),
    )  # fmt: skip
    for number, (charset, name, distinct) in enumerate(sets):
        person = Person(name, distinct, charset)  # type: ignore[arg-type]
        for tag, vr in ((0x00100010, "PN"), (0x00104000, "LT"), (0x0008103E, "LO"), (0x00081070, "PN")):
            with planter.draft(f"charset/{number:02}-{tag:08x}.dcm", "ct", person) as draft:
                text = name if vr == "PN" else name.replace("^", " ").replace("=", " ")
                put(draft.ds, tag, vr, text)
                where = f"{'/'.join(charset) if isinstance(charset, list) else charset}"
                draft.answer(Action.TEXT_REMOVED, step(tag), text, "character sets", distinct, where)


def file_names(planter: Planter) -> None:
    """The name of the patient as the name of the file and of its folder. Tools that are told the name cannot fail."""
    for number in range(3):
        secret = planter.mint.secret()
        with planter.draft(f"names/{secret.token}/{secret.number}_{number}.dcm") as draft:
            draft.answer(Action.TEXT_REMOVED, "", secret.token, "file names", secret.everywhere, "path of the file")


def everything_else(planter: Planter) -> None:
    """Every attribute of the dictionary outside the table that can hold text, an address, an id or bytes."""
    texts = ("LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "UR")
    others: dict[str, list[int]] = {"text": [], "code strings": [], "numbers": [], "bytes": [], "ages": []}
    for tag, (vr, *_) in sorted(DicomDictionary.items()):
        vr = vr.split(" or ")[0]
        if tag >> 16 in (0, 2, 4) or tag in expectations.table_tags() or tag in _STRUCTURAL or tag >> 16 >= 0xFFF0:
            continue
        kinds = {"CS": "code strings", "DS": "numbers", "IS": "numbers", "AS": "ages"}
        kind = "text" if vr in texts else "bytes" if vr in ("OB", "UN", "OW") else kinds.get(vr, "")
        if kind:
            others[kind].append(tag)
    for kind, tags in others.items():
        per_file = 1 if kind == "numbers" else _PER_FILE  # one known number withholds the whole instance
        for start in range(0, len(tags), per_file):
            with planter.draft(f"outside-{kind.replace(' ', '-')}/{start:04}.dcm", "mr") as draft:
                for tag in tags[start : start + per_file]:
                    if kind == "numbers":  # the patient's own number: any other is a number like all
                        put(draft.ds, tag, expectations.vr_of(tag), draft.patient_id)
                        draft.hide(tag, draft.patient_id, "outside the table: numbers")
                    else:
                        name = DicomDictionary[tag][2]
                        draft.plant(tag, f"outside the table: {kind}", where=name)


_STRUCTURAL = frozenset(
    {
        0x00080005, 0x00080016, 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102,
        0x00280103, 0x00280004, 0x00280006, 0x7FE00010, 0x00080008, 0x00080060, 0x00280301, 0x00282110,
    }
)  # fmt: skip
"""What says how the rest is read; a wrong value there makes another instance."""

PLANTS: tuple[Callable[[Planter], None], ...] = (
    deep, repeating_groups, private, meta, padding, many_values, uids, codes, ages, dates, character_sets, file_names,
    everything_else,
)  # fmt: skip
