"""The row of the ``instances`` table, made from the de-identified data set and nothing else."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
from collections import Counter
from collections.abc import Mapping

from pacs_pipeline.deidentify import dates
from pacs_pipeline.deidentify.codec import Element, Elements, Encoding, components
from pacs_pipeline.deidentify.number_lists import BULK_LISTS
from pacs_pipeline.deidentify.series import Made
from pacs_pipeline.deidentify.values import BULK, FORMATS, SINGLE, SIZES, TEXT, keyword_of, vrs_of

LONGEST_ARRAY = 4096  # bytes; longer arrays of numbers are bulk data

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


Member = tuple[str, Json]
"""A value as it stands in the row, and as a member of a JSON object; an empty one is left out."""


def instance_row(
    dataset: Elements, encoding: Encoding, transfer_syntax: str, made: Made[Element, Member] | None = None
) -> dict[str, object]:
    """The columns that come from the header; the caller adds size, digests and versions.

    ``header`` is the data set by DICOM keyword, as JSON: scalars, lists of several values, objects for items; no
    bulk. ``made`` keeps the members of elements for the next instance.
    """
    signed = _signed(dataset)

    def member(element: Element) -> Member:
        named = _named(element, encoding, signed)
        return ("", None) if named is None else (f"{_dumped(named[0])}:{_dumped(named[1])}", named[1])

    tags = sorted(dataset)
    members = (made or Made()).of([dataset[tag] for tag in tags], member, (encoding, signed))
    values = {tag: value for tag, (_, value) in zip(tags, members, strict=True)}

    def text(tag: int) -> str | None:
        found = values.get(tag)
        if isinstance(found, list):
            found = "\\".join("" if part is None else str(part) for part in found)
        return str(found) if found not in (None, "") else None

    def number(tag: int) -> int | None:
        found = values.get(tag)
        return found if isinstance(found, int) else None

    return {
        "SOPInstanceUID": text(0x00080018),
        "SeriesInstanceUID": text(0x0020000E),
        "StudyInstanceUID": text(0x0020000D),
        "PatientID": text(0x00100020),
        "SOPClassUID": text(0x00080016),
        "TransferSyntaxUID": transfer_syntax,
        "Modality": text(0x00080060),
        "StudyDate": _date(text(0x00080020)),
        "SeriesNumber": number(0x00200011),
        "InstanceNumber": number(0x00200013),
        "Rows": number(0x00280010),
        "Columns": number(0x00280011),
        "NumberOfFrames": number(0x00280008),
        "BitsAllocated": number(0x00280100),
        "PhotometricInterpretation": text(0x00280004),
        "BodyPartExamined": text(0x00180015),
        "ImageType": text(0x00080008),
        "Manufacturer": text(0x00080070),
        "ManufacturerModelName": text(0x00081090),
        "header": "{" + ",".join(encoded for encoded, _ in members if encoded) + "}",
    }


def proof(
    counts: Mapping[tuple[int, str], int], *, regions_redacted: int, identifiers_sought: int
) -> dict[str, object]:
    """The columns that say what was done to an instance and that the residue scan has passed it.

    ``actions`` is how often each letter of PS3.15 E.1 was applied (and R, a region of pixels), as JSON.
    """
    letters: Counter[str] = Counter()
    for (_, letter), count in counts.items():
        letters[letter] += count
    return {
        "actions": json.dumps(dict(sorted(letters.items())), separators=(",", ":")),
        "regions_redacted": regions_redacted,
        "residue_scan": "clean",
        "identifiers_sought": identifiers_sought,
    }


_dumped = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


def _named(element: Element, encoding: Encoding, signed: bool) -> tuple[str, Json] | None:
    """Keyword and value of an element, None when the header does not show it."""
    keyword = keyword_of(element.tag)
    if not keyword:
        return None
    if element.items is not None:
        return keyword, [_item(item, encoding) for item in element.items]
    if not isinstance(element.value, bytes) or element.tag in BULK_LISTS:
        return None
    vr = element.vr
    if vr in ("US", "SS") and set(vrs_of(element.tag)) >= {"US", "SS"} and not encoding.explicit:
        vr = "SS" if signed else "US"  # implicit VR does not say; PixelRepresentation does
    if vr in ("DS", "IS") and len(element.value) > LONGEST_ARRAY:
        return None
    if vr in TEXT:
        return keyword, _text(vr, element.value)
    if vr in SIZES and vr not in BULK and len(element.value) <= LONGEST_ARRAY:
        return keyword, _numbers(vr, element, encoding)
    return None


def _item(item: Elements, encoding: Encoding) -> dict[str, Json]:
    signed = _signed(item)
    return dict(filter(None, (_named(item[tag], encoding, signed) for tag in sorted(item))))


def _signed(dataset: Elements) -> bool:
    element = dataset.get(0x00280103)
    return element is not None and isinstance(element.value, bytes) and any(element.value)


def _text(vr: str, value: bytes) -> Json:
    if vr in SINGLE:
        return value.decode("ascii").strip(" \0") or None
    values: list[Json] = [_scalar(vr, part) for part in components(value)]
    return values[0] if len(values) == 1 else values


def _scalar(vr: str, text: str) -> Json:
    if not text:
        return None
    if vr == "IS":
        return int(text)
    if vr == "DS":
        return _finite(float(text))
    return text


def _finite(value: float) -> Json:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _numbers(vr: str, element: Element, encoding: Encoding) -> Json:
    values: list[Json]
    if vr == "AT":
        pairs = struct.iter_unpack(encoding.order + "HH", element.data)
        values = [f"{group:04X}{number:04X}" for group, number in pairs]
    else:
        raw = [item for (item,) in struct.iter_unpack(encoding.order + FORMATS[vr], element.data)]
        values = [_finite(item) if isinstance(item, float) else item for item in raw]
    return values[0] if len(values) == 1 else (values or None)


def _date(text: str | None) -> dt.date | None:
    return dates.parsed(text) if text else None
