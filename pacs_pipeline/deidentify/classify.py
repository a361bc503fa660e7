"""Which instances may be released at all: risk classes by SOP class and by what the header says of the pixels.

An allow-list. A class is on it when its header can be cleaned by the table and its pixels are, by the
standard's own account, an image of the inside of a body without text. Everything else is set aside with
the reason, until a rule says how to prove it clean.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from pacs_pipeline.deidentify.codec import PIXEL_DATA, Element, Elements, components
from pacs_pipeline.deidentify.content_rules import CLEAN_PIXELS
from pacs_pipeline.deidentify.document_classes import Family, family_of, option_for
from pacs_pipeline.deidentify.object_classes import RT_IMAGE, VOICES, content_of
from pacs_pipeline.deidentify.values import registered_name
from pacs_pipeline.errors import Quarantine
from pacs_pipeline.records import Reason

_STORAGE = "1.2.840.10008.5.1.4.1.1."


class Treatment(StrEnum):
    """What is done with an instance of a class that can be released."""

    HEADER = "header"  # the pixels stay as they are
    LOOK = "look"  # every frame is looked at for text
    OBJECT = "object"  # numbers: what is proven of them depends on the class
    DOCUMENT = "document"
    PRESENTATION = "presentation"


class Risk(StrEnum):
    """What the pixels of a SOP class may show."""

    ANATOMY = "anatomy"  # released unless the header says that text is burned in
    ANNOTATED = "annotated"  # released only when BurnedInAnnotation is NO
    TEXT = "text"  # usually carries burned-in text
    REPORT = "report"
    DOCUMENT = "document"


def _classes(suffixes: str) -> frozenset[str]:
    return frozenset(_STORAGE + suffix for suffix in suffixes.split())


_RISKS = {
    # CT, MR, CR, DX, MG, intra-oral, NM, PET; enhanced and legacy converted; breast tomosynthesis
    Risk.ANATOMY: _classes("1 1.1 1.1.1 1.2 1.2.1 1.3 1.3.1 2 2.1 2.2 4 4.1 4.4 13.1.3 13.1.4 13.1.5 20 128 128.1 130"),
    # XA and XRF, enhanced and 3D; enhanced colour MR; RT Image, which is often labelled by the imager
    Risk.ANNOTATED: _classes("12.1 12.1.1 12.2 12.2.1 12.3 13.1.1 13.1.2 4.3 481.1"),
    # ultrasound with its retired classes, secondary capture
    Risk.TEXT: _classes("3 3.1 6 6.1 6.2 6.3 7 7.1 7.2 7.3 7.4"),
    Risk.DOCUMENT: _classes("104.1 104.2 104.3 104.4 104.5"),
}
_REPORTS = (_STORAGE + "88.",)  # the SR family, key object selection, dose reports …
_BY_CLASS = {uid: risk for risk, uids in _RISKS.items() for uid in uids}

# Values of ImageType that mean a picture of a screen or a table of text.
_CAPTURED = frozenset(("SCREEN SAVE", "DOSE_INFO", "REPORT", "TEXT", "SECONDARY CAPTURE", "PRINT", "FILMED"))
_DOCUMENT_MODALITIES = frozenset(("DOC", "SR", "PR", "KO", "AU", "HC"))
_PAPER = frozenset(("DI", "DF", "SD", "SI", "DRW"))  # digitised and scanned film and documents, drawings
_SCANNED = frozenset(("DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"))  # ConversionType, PS3.3 C.8.6.1
_GREY = frozenset(("MONOCHROME1", "MONOCHROME2"))
_RADIOGRAPHS = _classes("1 1.1 1.1.1 1.2 1.2.1 1.3 1.3.1")  # markers and patient data are often exposed or drawn in
# PS3.3 C.8.8.2: a portal imager's digital interface, and the workstation that computes a radiograph
_OWN_CONVERSIONS = {RT_IMAGE: frozenset(("DI", "WSD"))}
_COLOURED_CLASSES = _classes("20 128 128.1 130 4.3")  # NM, PET may be stored as pseudo-colour

_MODALITY, _IMAGE_TYPE, _CONVERSION = 0x00080060, 0x00080008, 0x00080064
_SOP_CLASS, _BURNED_IN, _PHOTOMETRIC = 0x00080016, 0x00280301, 0x00280004


@dataclass(frozen=True, slots=True)
class Header:
    """What the decision needs, as plain values."""

    sop_class: str
    modality: str
    image_type: tuple[str, ...]
    conversion: str
    burned_in: str
    photometric: str


def header_of(dataset: Elements) -> Header:
    """The values that decide, empty where they are absent."""
    return Header(
        sop_class=_value(dataset.get(_SOP_CLASS)),
        modality=_value(dataset.get(_MODALITY)).upper(),
        image_type=tuple(part.upper() for part in _values(dataset.get(_IMAGE_TYPE))),
        conversion=_value(dataset.get(_CONVERSION)).upper(),
        burned_in=_value(dataset.get(_BURNED_IN)).upper(),
        photometric=_value(dataset.get(_PHOTOMETRIC)).upper(),
    )


def treatment_of(dataset: Elements, options: Collection[str]) -> Treatment:
    """How an instance is made clean under ``options`` (codes of CID 7050).

    Raises Quarantine when its class cannot be proven clean under them.
    """
    header = header_of(dataset)
    if not header.sop_class:
        raise Quarantine(Reason.UNREADABLE, "the data set has no SOPClassUID")
    family = family_of(header.sop_class)
    if family is not None and option_for(family) in options:
        return Treatment.PRESENTATION if family is Family.PRESENTATION else Treatment.DOCUMENT
    if content_of(header.sop_class) is not None and 0x00420011 not in dataset:
        if header.burned_in not in ("", "NO") or header.modality in _DOCUMENT_MODALITIES:
            raise Quarantine(Reason.BURNED_IN_TEXT, f"{name_of(header.sop_class)}: it says that it shows text")
        return Treatment.OBJECT
    risk = _BY_CLASS.get(header.sop_class)
    if header.sop_class.startswith(_REPORTS):
        raise Quarantine(Reason.STRUCTURED_REPORT, name_of(header.sop_class))
    if risk is Risk.DOCUMENT or 0x00420011 in dataset:
        raise Quarantine(Reason.ENCAPSULATED_DOCUMENT, name_of(header.sop_class))
    if header.sop_class in VOICES:
        raise Quarantine(Reason.UNSUPPORTED, f"{name_of(header.sop_class)}: a voice is known by its sound")
    if risk is None:
        raise Quarantine(Reason.UNSUPPORTED, name_of(header.sop_class))
    looked_at = CLEAN_PIXELS in options
    if PIXEL_DATA not in dataset and (looked_at or risk is not Risk.TEXT):
        raise Quarantine(Reason.TRUNCATED, "PixelData is missing")
    problem = _handwriting(header) or ("" if looked_at else _burned_in(header, risk))
    if problem:
        raise Quarantine(Reason.BURNED_IN_TEXT, f"{name_of(header.sop_class)}: {problem}")
    if looked_at and (header.sop_class in _RADIOGRAPHS or _burned_in(header, risk)):
        return Treatment.LOOK
    return Treatment.HEADER


def name_of(sop_class: str) -> str:
    """The standard's name of a SOP class; a class nobody registered is not named."""
    return registered_name(sop_class) or "a private SOP class"


def _handwriting(header: Header) -> str:
    """Why the pixels may show what no detector of printed text finds, or an empty string."""
    if header.modality in _DOCUMENT_MODALITIES:
        return "Modality says it is no acquisition"
    if header.conversion in _PAPER - _OWN_CONVERSIONS.get(header.sop_class, frozenset()):
        return "ConversionType says that paper or film was scanned"
    return ""


def _burned_in(header: Header, risk: Risk) -> str:
    """Why the pixels may carry text, or an empty string."""
    if risk is Risk.TEXT:
        return "this class usually shows text"
    if header.burned_in not in ("", "NO"):
        return "BurnedInAnnotation is not NO"
    if risk is Risk.ANNOTATED and header.burned_in != "NO":
        return "BurnedInAnnotation is not NO"
    if any(value in _CAPTURED for value in header.image_type):
        return "ImageType says it is a screen"
    if header.modality == "OT":
        return "Modality says it is no acquisition"
    if header.conversion in _SCANNED - _OWN_CONVERSIONS.get(header.sop_class, frozenset()):
        return "ConversionType says it was captured or scanned"
    if header.photometric not in _GREY and header.sop_class not in _COLOURED_CLASSES:
        return "PhotometricInterpretation is not greyscale"
    return ""


def _value(element: Element | None) -> str:
    values = _values(element)
    return values[0] if values else ""


def _values(element: Element | None) -> list[str]:
    if element is None or not isinstance(element.value, bytes):
        return []
    return components(element.value)
