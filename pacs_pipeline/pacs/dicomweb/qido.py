"""An answer to a query in the DICOM JSON model (PS3.18 F.2), as the answers of other protocols are."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

_CHARACTER_SET = Tag("SpecificCharacterSet")
_UTF_8 = b"ISO_IR 192"  # the encoding of JSON, whatever the service's own instances are in


def answer_of(item: object, keywords: Iterable[str]) -> Dataset:
    """The attributes with ``keywords`` of one answer, with their values as bytes, as they come in a C-FIND.

    What is no attribute as PS3.18 F.2.2 has it is taken for absent, so that what it stands for is missed.
    """
    answer = Dataset()
    answer[_CHARACTER_SET] = RawDataElement(_CHARACTER_SET, "CS", len(_UTF_8), _UTF_8, 0, False, True)
    attributes = {str(tag).upper(): value for tag, value in item.items()} if isinstance(item, dict) else {}
    for keyword in keywords:
        tag = Tag(keyword)
        attribute = attributes.get(f"{tag:08X}")
        if not isinstance(attribute, dict):
            continue
        values = attribute.get("Value")
        texts = [str(v) for v in (values if isinstance(values, list) else [values]) if isinstance(v, str | int | float)]
        raw = "\\".join(texts).encode("utf-8", "replace")
        answer[tag] = RawDataElement(tag, "UN", len(raw), raw, 0, False, True)
    return answer
