"""Which classes are released, and the reason for each that is not."""

from __future__ import annotations

import pytest
from pydicom import uid
from pydicom._uid_dict import UID_dictionary

from pacs_pipeline.deidentify.classify import name_of
from pacs_pipeline.records import Reason

from . import builder
from .conftest import Bench

BURNED_IN = Reason.BURNED_IN_TEXT


@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        (uid.CTImageStorage, None),
        (uid.EnhancedCTImageStorage, None),
        (uid.MRImageStorage, None),
        (uid.EnhancedMRImageStorage, None),
        (uid.ComputedRadiographyImageStorage, None),
        (uid.DigitalXRayImageStorageForPresentation, None),
        (uid.DigitalXRayImageStorageForProcessing, None),
        (uid.DigitalMammographyXRayImageStorageForPresentation, None),
        (uid.NuclearMedicineImageStorage, None),
        (uid.PositronEmissionTomographyImageStorage, None),
        (uid.UltrasoundImageStorage, BURNED_IN),
        (uid.UltrasoundMultiFrameImageStorage, BURNED_IN),
        (uid.SecondaryCaptureImageStorage, BURNED_IN),
        (uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage, BURNED_IN),
        (uid.XRayAngiographicImageStorage, BURNED_IN),
        (uid.XRayRadiofluoroscopicImageStorage, BURNED_IN),
        (uid.BasicTextSRStorage, Reason.STRUCTURED_REPORT),
        (uid.Comprehensive3DSRStorage, Reason.STRUCTURED_REPORT),
        (uid.KeyObjectSelectionDocumentStorage, Reason.STRUCTURED_REPORT),
        (uid.XRayRadiationDoseSRStorage, Reason.STRUCTURED_REPORT),
        (uid.EncapsulatedPDFStorage, Reason.ENCAPSULATED_DOCUMENT),
        (uid.EncapsulatedCDAStorage, Reason.ENCAPSULATED_DOCUMENT),
        (uid.EncapsulatedSTLStorage, Reason.ENCAPSULATED_DOCUMENT),
        (uid.VLPhotographicImageStorage, Reason.UNSUPPORTED),
        (uid.SegmentationStorage, None),
        (uid.RTDoseStorage, None),
        (uid.RTStructureSetStorage, Reason.HIDDEN_CONTENT),  # it has no pixels of its own
        (uid.RTImageStorage, BURNED_IN),
        (uid.RTPhysicianIntentStorage, Reason.UNSUPPORTED),
        (uid.GrayscaleSoftcopyPresentationStateStorage, Reason.UNSUPPORTED),
        (uid.TwelveLeadECGWaveformStorage, Reason.HIDDEN_CONTENT),
        (uid.BasicVoiceAudioWaveformStorage, Reason.UNSUPPORTED),
        (uid.GeneralAudioWaveformStorage, Reason.UNSUPPORTED),
        (uid.RawDataStorage, Reason.UNSUPPORTED),
        ("1.3.12.2.1107.5.9.1", Reason.UNSUPPORTED),
        ("", Reason.UNREADABLE),
    ],
)
def test_the_class_decides(bench: Bench, sop_class: str, reason: Reason | None) -> None:
    outcome = bench.run(builder.image(SOPClassUID=sop_class))
    assert outcome.reason is reason, outcome.detail


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, BURNED_IN),
        ({"BurnedInAnnotation": "MAYBE"}, BURNED_IN),
        ({"BurnedInAnnotation": "NO"}, None),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, BURNED_IN),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, None),
        ({"Modality": "DOC"}, BURNED_IN),
        ({"Modality": "OT"}, BURNED_IN),
        ({"ConversionType": "DF"}, BURNED_IN),
        ({"SOPClassUID": uid.XRayAngiographicImageStorage, "BurnedInAnnotation": "NO"}, None),
        ({"SOPClassUID": uid.XRayRadiofluoroscopicImageStorage, "BurnedInAnnotation": "YES"}, BURNED_IN),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, BURNED_IN),
        ({"SOPClassUID": uid.RTImageStorage, "BurnedInAnnotation": "NO", "ConversionType": "DI"}, None),
        ({"SOPClassUID": uid.RTImageStorage, "BurnedInAnnotation": "NO", "ConversionType": "DF"}, BURNED_IN),
        ({"SOPClassUID": uid.RTImageStorage, "BurnedInAnnotation": "YES", "ConversionType": "DI"}, BURNED_IN),
        ({"SOPClassUID": uid.SegmentationStorage, "BurnedInAnnotation": "YES"}, BURNED_IN),
        ({"SOPClassUID": uid.RTDoseStorage, "BurnedInAnnotation": "YES"}, BURNED_IN),
    ],
)
def test_the_header_decides_too(bench: Bench, values: dict[str, object], reason: Reason | None) -> None:
    assert bench.run(builder.image(**values)).reason is reason


def test_only_classes_on_the_list_are_released(bench: Bench) -> None:
    """Every storage class the standard knows, with a header that says nothing against it."""
    classes = [
        known
        for known, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and "Storage" in name and known.startswith("1.2.840.10008.5.1.4.1.1.")
    ]
    released = {known for known in classes if bench.run(builder.image(SOPClassUID=known)).released}
    assert len(released) < 30
    assert all(
        any(
            word in name_of(known)
            for word in (
                "CT",
                "MR",
                "Radiography",
                "X-Ray",
                "Nuclear",
                "Positron",
                "PET",
                "Tomo",
                "Segmentation",
                "Parametric",
                "Dose",
            )
        )
        for known in released
    ), [name_of(known) for known in released]


def test_a_private_class_is_not_named() -> None:
    assert name_of("1.3.12.2.1107.5.9.1") == "a private SOP class"
