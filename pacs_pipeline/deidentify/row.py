"""The row of the ``instances`` table, made from the de-identified data set and nothing else."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct

from pacs_pipeline.deidentify import dates
from pacs_pipeline.deidentify.codec import Element, Elements, Encoding, components
from pacs_pipeline.deidentify.number_lists import BULK_LISTS
from pacs_pipeline.deidentify.values import BULK, FORMATS, SINGLE, SIZES, TEXT, keyword_of, vrs_of

LONGEST_ARRAY = 4096  # bytes; longer arrays of numbers are bulk data

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def instance_row(dataset: Elements, encoding: Encoding, transfer_syntax: str) -> dict[str, object]:
    """The columns that come from the header; the caller adds size, digests and versions."""
    plain = header(dataset, encoding)

    def text(keyword: str) -> str | None:
        value = plain.get(keyword)
        if isinstance(value, list):
            value = "\\".join("" if part is None else str(part) for part in value)
        return str(value) if value not in (None, "") else None

    def number(keyword: str) -> int | None:
        value = plain.get(keyword)
        return value if isinstance(value, int) else None

    return {
        "SOPInstanceUID": text("SOPInstanceUID"),
        "SeriesInstanceUID": text("SeriesInstanceUID"),
        "StudyInstanceUID": text("StudyInstanceUID"),
        "PatientID": text("PatientID"),
        "SOPClassUID": text("SOPClassUID"),
        "TransferSyntaxUID": transfer_syntax,
        "Modality": text("Modality"),
        "StudyDate": _date(text("StudyDate")),
        "SeriesNumber": number("SeriesNumber"),
        "InstanceNumber": number("InstanceNumber"),
        "Rows": number("Rows"),
        "Columns": number("Columns"),
        "NumberOfFrames": number("NumberOfFrames"),
        "BitsAllocated": number("BitsAllocated"),
        "PhotometricInterpretation": text("PhotometricInterpretation"),
        "BodyPartExamined": text("BodyPartExamined"),
        "ImageType": text("ImageType"),
        "Manufacturer": text("Manufacturer"),
        "ManufacturerModelName": text("ManufacturerModelName"),
        "header": json.dumps(plain, ensure_ascii=True, separators=(",", ":"), allow_nan=False),
    }


def header(dataset: Elements, encoding: Encoding) -> dict[str, Json]:
    """The data set by DICOM keyword: scalars, lists where there are several values, objects for items; no bulk."""
    signed = _signed(dataset)
    result: dict[str, Json] = {}
    for tag in sorted(dataset):
        element = dataset[tag]
        keyword = keyword_of(tag)
        if not keyword:
            continue
        if element.items is not None:
            result[keyword] = [header(item, encoding) for item in element.items]
        elif isinstance(element.value, bytes) and tag not in BULK_LISTS:
            vr = element.vr
            if vr in ("US", "SS") and set(vrs_of(tag)) >= {"US", "SS"} and not encoding.explicit:
                vr = "SS" if signed else "US"  # implicit VR does not say; PixelRepresentation does
            if vr in ("DS", "IS") and len(element.value) > LONGEST_ARRAY:
                continue
            if vr in TEXT:
                result[keyword] = _text(vr, element.value)
            elif vr in SIZES and vr not in BULK and len(element.value) <= LONGEST_ARRAY:
                result[keyword] = _numbers(vr, element, encoding)
    return result


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
