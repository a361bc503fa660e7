"""Which SOP classes of documents and presentation states can be cleaned, and the option of PS3.15 E.3 each needs."""

from __future__ import annotations

from enum import StrEnum

from pacs_pipeline.deidentify.content_rules import CLEAN_CONTENT, CLEAN_GRAPHICS

_STORAGE = "1.2.840.10008.5.1.4.1.1."


class Family(StrEnum):
    """How an instance without pixels of its own is cleaned."""

    REPORT = "report"  # a tree of content items
    SELECTION = "selection"  # key objects: a tree that refers to images
    PRESENTATION = "presentation"  # how images are shown, with annotations


_CLASSES = {
    Family.REPORT: {
        "88.11": "Basic Text SR",
        "88.22": "Enhanced SR",
        "88.33": "Comprehensive SR",
        "88.34": "Comprehensive 3D SR",
        "88.35": "Extensible SR",
        "88.40": "Procedure Log",
        "88.50": "Mammography CAD SR",
        "88.65": "Chest CAD SR",
        "88.67": "X-Ray Radiation Dose SR",
        "88.68": "Radiopharmaceutical Radiation Dose SR",
        "88.69": "Colon CAD SR",
        "88.70": "Implantation Plan SR",
        "88.71": "Acquisition Context SR",
        "88.72": "Simplified Adult Echo SR",
        "88.73": "Patient Radiation Dose SR",
        "88.74": "Planned Imaging Agent Administration SR",
        "88.75": "Performed Imaging Agent Administration SR",
        "88.76": "Enhanced X-Ray Radiation Dose SR",
    },
    Family.SELECTION: {"88.59": "Key Object Selection Document"},
    Family.PRESENTATION: {
        "11.1": "Grayscale Softcopy Presentation State",
        "11.2": "Color Softcopy Presentation State",
        "11.3": "Pseudo-Color Softcopy Presentation State",
        "11.4": "Blending Softcopy Presentation State",
        "11.5": "XA/XRF Grayscale Softcopy Presentation State",
        "11.8": "Advanced Blending Presentation State",
    },
}
_FAMILY_OF = {_STORAGE + suffix: family for family, classes in _CLASSES.items() for suffix in classes}
_OPTION_OF = {
    Family.REPORT: CLEAN_CONTENT,
    Family.SELECTION: CLEAN_CONTENT,
    Family.PRESENTATION: CLEAN_GRAPHICS,
}


def family_of(sop_class: str) -> Family | None:
    """The family of a SOP class, None when its instances stay withheld.

    Withheld are, with the reason: encapsulated documents (104.*: a PDF, CDA, STL, OBJ or MTL is a file of its
    own that may say anything); the retired trial SRs (88.1 to 88.4: attributes the standard took back); the
    waveform annotation SR (88.77: its waveforms are withheld, too); volumetric and volume rendering
    presentation states (11.6, 11.7, 11.9 to 11.11: pictures and segmentations inside) and the variable
    modality LUT state (11.12); structured displays (131: text and an order of screens, no result); spectacle
    prescriptions, measurements of eyes and content assessments (78.*, 90.1: no rules yet); the hanging
    protocols and templates that are about no patient (38.1, 39.1, 43.1, 44.1, 45.1).
    """
    return _FAMILY_OF.get(sop_class)


def option_for(family: Family) -> str:
    """The option a profile must apply for the family to be released, as its code of CID 7050.

    Without it Table E.1-1 asks for a dummy of ContentSequence or GraphicAnnotationSequence as a whole; a
    document of dummies serves nobody, so the instance is withheld.
    """
    return _OPTION_OF[family]
