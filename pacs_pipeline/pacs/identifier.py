"""Builds the identifier of a request: the level and the keys of a C-FIND, C-GET or C-MOVE (PS3.4 C.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset


def identifier_of(level: str, keys: Mapping[str, str | Sequence[str]]) -> Dataset:
    """The identifier with ``keys`` by keyword.

    Values go out as the archive gave them: pydicom would write one that it finds invalid into the log.
    """
    ds = Dataset()
    for keyword, value in {"QueryRetrieveLevel": level, **keys}.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise ValueError(f"{keyword} is no DICOM keyword")
        plain = value if isinstance(value, str) else list(value)
        ds.add(DataElement(tag, dictionary_VR(tag), plain, validation_mode=config.IGNORE))
    return ds
