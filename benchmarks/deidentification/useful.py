"""What a researcher needs and the profile lets through: it must come out, or it counts as lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from benchmarks.deidentification import expectations
from benchmarks.deidentification.answers import Action, step
from benchmarks.deidentification.plant import BASES, Draft, Planter, put

_TECHNICAL = (
    "ImageType", "Modality", "Manufacturer", "ManufacturerModelName", "BodyPartExamined", "ScanningSequence",
    "SequenceVariant", "ScanOptions", "MRAcquisitionType", "SliceThickness", "KVP", "RepetitionTime",
    "EchoTime", "InversionTime", "NumberOfAverages", "ImagingFrequency", "MagneticFieldStrength",
    "SpacingBetweenSlices", "FlipAngle", "PatientPosition", "DataCollectionDiameter", "ReconstructionDiameter",
    "DistanceSourceToDetector", "GantryDetectorTilt", "TableHeight", "XRayTubeCurrent", "ExposureTime",
    "Exposure", "FilterType", "FocalSpots", "ConvolutionKernel", "ImagePositionPatient",
    "ImageOrientationPatient", "SliceLocation", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleIntercept", "RescaleSlope", "WindowCenter", "WindowWidth", "SeriesNumber", "InstanceNumber",
    "AcquisitionNumber", "ImagesInAcquisition", "SOPClassUID", "NumberOfFrames", "PlanarConfiguration",
    "EchoTrainLength", "PixelBandwidth", "ReceiveCoilName", "DoseUnits", "DoseType", "DoseGridScaling",
    "GridFrameOffsetVector", "RTPlanGeometry", "SegmentationType",
)  # fmt: skip

_DESCRIPTIONS = (
    "CT CHEST W CONTRAST", "MR BRAIN WO CONTRAST", "CT ABDOMEN PELVIS WITH CONTRAST", "XR HAND 2 VIEWS LEFT",
    "AX T1 POST GAD", "SAG T2 FLAIR", "COR STIR", "Thorax 5.0 B31f", "AXIAL 3mm LUNG", "DWI b1000", "ADC map",
    "T1 MPRAGE SAG ISO", "CT Head without IV contrast", "Chest PA and lateral", "MRI Lumbar Spine", "LOCALIZER",
    "Scout", "PET WB CTAC", "US ABDOMEN COMPLETE", "Screening mammogram bilateral", "Dynamic liver arterial phase",
    "CTA HEAD NECK", "Knee right coronal PD fat sat", "Portal venous 70s", "Perfusion",
)  # fmt: skip


def _keep(draft: Draft, keyword: str, category: str) -> None:
    """The value of a top-level attribute must stay."""
    element = draft.ds[keyword]
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    text = "\\".join(str(value) for value in values)
    draft.answer(Action.TEXT_RETAINED, step(element.tag), text, category)


def technical(planter: Planter) -> None:
    """Acquisition attributes and pixels of real files, every modality and transfer syntax."""
    for base in BASES:
        with planter.draft(f"useful/technical-{base}.dcm", base) as draft:
            for keyword in _TECHNICAL:
                if keyword in draft.ds and not draft.ds[keyword].is_empty:
                    _keep(draft, keyword, "useful: technical attributes")
            if "PixelData" in draft.ds:
                digest = hashlib.sha256(draft.ds.PixelData).hexdigest()
                draft.answer(Action.PIXELS_RETAINED, "", digest, "useful: pixels", (), base)


_TYPICAL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Manufacturer", ("GE MEDICAL SYSTEMS", "SIEMENS", "Siemens Healthineers", "Philips Medical Systems", "TOSHIBA",
                      "CANON_MEC", "Hologic, Inc.", "FUJIFILM Corporation", "Agfa", "Carestream Health", "UIH")),
    ("ManufacturerModelName", ("SOMATOM Definition AS+", "Discovery CT750 HD", "Ingenia", "Optima MR450w",
                               "Aquilion ONE", "MAGNETOM Skyra", "Biograph64_Vision",
                               "Selenia Dimensions", "Brilliance 64")),
    ("ConvolutionKernel", ("B31f", "Br40d\\3", "I31f\\3", "STANDARD", "BONE", "LUNG", "FC18", "YA", "Hr68h\\3")),
    ("ImageType", ("ORIGINAL\\PRIMARY\\M\\ND\\NORM", "DERIVED\\SECONDARY\\MPR", "ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI",
                   "DERIVED\\PRIMARY\\DIFFUSION\\ADC\\ND", "ORIGINAL\\PRIMARY\\LOCALIZER", "DERIVED\\PRIMARY\\MIP")),
    ("BodyPartExamined", ("BRAIN", "CHEST", "LSPINE", "TSPINE", "KNEE", "ABDOMEN", "HEADNECK", "BREAST", "WHOLEBODY")),
    ("SequenceName", ("*tfl3d1_16ns", "*epfid2d1_64", "*tse2d1_15", "ep_b1000#4", "*fl3d1", "SE", "FSE")),
    ("ScanOptions", ("HELICAL MODE", "SP", "PFP\\FS", "FAST_GEMS\\EDR_GEMS\\FILTERED_GEMS", "AXIAL MODE")),
    ("ReceiveCoilName", ("HeadNeck_20", "8HRBRAIN", "BODY", "SENSE-Head-8", "Spine_32")),
    ("TransmitCoilName", ("BODY", "Body")),
    ("FilterType", ("FLAT", "0", "BODY FILTER", "WEDGE_2", "LARGE BOWTIE FIL")),
    ("SoftwareVersions", ("syngo MR E11", "VB19A_P2", "5.7.1\\5.7.1.2", "27\\LX\\MR Software release:DV24.0_R01")),
    ("PhotometricInterpretation", ("MONOCHROME2",)),
    ("ViewPosition", ("AP", "PA", "LL", "MLO", "CC")),
    ("ImageLaterality", ("L", "R")),
    ("PatientOrientation", ("L\\F", "A\\H")),
    ("SeriesType", ("WHOLE BODY\\IMAGE", "STATIC\\IMAGE")),
    ("Units", ("BQML", "CNTS")),
    ("CountsSource", ("EMISSION",)),
    ("DecayCorrection", ("START", "ADMIN")),
    ("AttenuationCorrectionMethod", ("measured,AC_CT,,", "CT", "NONE")),
    ("ReconstructionMethod", ("OSEM3D 2i21s", "PSF+TOF 4i5s", "VUE Point FX", "BLOB-OS-TF")),
    ("ScatterCorrectionMethod", ("Model-based", "SS-SIMUL")),
    ("RandomsCorrectionMethod", ("DLYD", "SING")),
    ("CorrectedImage", ("NORM\\DTIM\\ATTN\\SCAT\\DECY\\RAN", "DECY\\ATTN")),
    ("ExposureModulationType", ("XYZ_EC", "AUTO_MA", "ANGULAR", "Z_EC")),
    ("Grid", ("NONE", "FOCUSED", "IN")),
    ("AnodeTargetMaterial", ("TUNGSTEN", "MOLYBDENUM", "RHODIUM")),
    ("FilterMaterial", ("ALUMINUM", "RHODIUM", "SILVER", "COPPER")),
    ("CollimatorGridName", ("LEHR", "MEGP")),
    ("CTDIPhantomTypeCodeSequence", ()),
    ("WindowCenterWidthExplanation", ("WINDOW1\\WINDOW2", "ABDOMEN", "LUNG", "NORMAL\\HARDER\\SOFTER", "Algo1")),
    ("InPlanePhaseEncodingDirection", ("ROW", "COL")),
    ("ImagedNucleus", ("1H", "31P")),
    ("AngioFlag", ("N", "Y")),
    ("PixelSpacingCalibrationType", ("FIDUCIAL", "GEOMETRY")),
    ("PresentationLUTShape", ("IDENTITY", "INVERSE")),
    ("DetectorType", ("SCINTILLATOR", "DIRECT")),
    ("RescaleType", ("HU", "US", "US\\US")),
    ("LossyImageCompression", ("00", "01")),
    ("PositionReferenceIndicator", ("SN", "XY", "OM")),
    ("AcquisitionType", ("SPIRAL", "SEQUENCED")),
    ("TableTopVerticalPosition", ("-120.5",)),
    ("SpiralPitchFactor", ("1.375",)),
    ("CTDIvol", ("12.5",)),
    ("DiffusionBValue", ("1000.0",)),
    ("PercentSampling", ("80",)),
    ("VariableFlipAngleFlag", ("N",)),
    ("SAR", ("0.0413",)),
    ("dBdt", ("0.0",)),
    ("ComplexImageComponent", ("MAGNITUDE",)),
    ("AcquisitionContrast", ("DIFFUSION", "T1", "FLUID_ATTENUATED")),
    ("PulseSequenceName", ("EPI",)),
    ("MultienergyCTAcquisition", ("YES",)),
    ("Laterality", ("L",)),
    ("RadiationSetting", ("GR",)),
    ("TypeOfFilters", ("NONE",)),
    ("QualityControlImage", ("NO",)),
)  # fmt: skip
"""Attributes as scanners of several makers write them."""


def typical(planter: Planter) -> None:
    """Values that are usual in routine images; those the profile takes away by the table are not expected."""
    taken = {row.tag for row in expectations.rows(planter.key.profile) if row.effect != "K"}
    for keyword, values in _TYPICAL:
        tag = tag_for_keyword(keyword)
        if tag is None or tag in taken:
            continue
        vr = expectations.vr_of(tag)
        for number, value in enumerate(values):
            with planter.draft(f"useful/typical-{keyword}-{number}.dcm", "ct" if number % 2 else "mr") as draft:
                parts: list[str] | list[float] = value.split("\\")
                if vr in ("FD", "FL"):
                    parts = [float(part) for part in parts]
                draft.put(tag, parts if len(parts) > 1 else parts[0])
                draft.answer(Action.TEXT_RETAINED, step(tag), value, "useful: typical values", (), keyword)


def coded(planter: Planter) -> None:
    """Published codes at places the table does not name."""
    codes = (
        (0x00082218, ("T-D3000", "SRT", "Chest")), (0x00082218, ("51185008", "SCT", "Chest")),
        (0x00082218, ("69536005", "SCT", "Head")), (0x00540220, ("R-10242", "SRT", "cranio-caudal")),
        (0x00089215, ("113076", "DCM", "Segmentation")), (0x00082228, ("T-A0100", "SRT", "Brain")),
        (0x00189346, ("113691", "DCM", "IEC Body Dosimetry Phantom")),
    )  # fmt: skip
    for number, (sequence, (value, scheme, meaning)) in enumerate(codes):
        with planter.draft(f"useful/code-{number}.dcm", "ct") as draft:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
            put(draft.ds, sequence, "SQ", Sequence([item]))
            for tag, text in ((0x00080100, value), (0x00080102, scheme)):
                draft.answer(Action.TEXT_RETAINED, step(sequence, 0) + step(tag), text, "useful: published codes")
            draft.answer(Action.TEXT_NOTNULL, step(sequence, 0) + step(0x00080104), meaning, "useful: published codes")


def descriptions(planter: Planter) -> None:
    """Ordinary descriptions, alone and with a name that has to go."""
    if not planter.keeps(expectations.DESCRIPTORS):
        return
    for number, text in enumerate(_DESCRIPTIONS):
        for tag in (0x00081030, 0x0008103E, 0x00181030):
            with planter.draft(f"useful/description-{number:02}-{tag:08x}.dcm", "ct") as draft:
                draft.put(tag, text)
                draft.answer(Action.TEXT_RETAINED, step(tag), text, "useful: descriptions")
        with planter.draft(f"useful/description-{number:02}-name.dcm", "ct") as draft:
            family = draft.mint.token()
            put(draft.ds, 0x00100010, "PN", f"{family}^Anna")
            draft.answers = [one for one in draft.answers if one.path != "(0010,0010)"]
            draft.put(0x00081030, f"{text} FOR {family.upper()}")
            draft.answer(Action.TEXT_REMOVED, step(0x00081030), family, "names in descriptions", (family,))
            draft.answer(Action.TEXT_RETAINED, step(0x00081030), text, "useful: descriptions beside a name")


def dates(planter: Planter) -> None:
    """Two studies of one person 37 days apart, at another moment of a year, with times."""
    first: Draft | None = None
    for number, (study, acquired) in enumerate((("19991125", "19991126"), ("20000101", "20000229"))):
        with planter.draft(f"useful/dates-{number}.dcm", "ct") as draft:
            if first is None:
                first = draft
            else:
                study_uid = [one for one in draft.answers if one.path == step(0x0020000D)]
                uid = draft.ds.StudyInstanceUID
                draft.belongs_to(first, same_series=False)
                draft.ds.StudyInstanceUID = uid
                draft.answers = [one for one in draft.answers if one.path != step(0x0020000D)] + study_uid
            values = {0x00080020: study, 0x00080021: study, 0x00080022: acquired, 0x00080023: acquired}
            values[0x0008002A] = f"{acquired}101112.000000"
            for tag, value in values.items():
                draft.put(tag, value)
                if planter.keeps(expectations.MODIFIED_DATES):
                    draft.answer(Action.DATE_SHIFTED, step(tag), value[:8], "dates of a patient")
                    draft.answer(Action.TEXT_NOTNULL, step(tag), value[:8], "useful: dates")
                elif planter.keeps(expectations.FULL_DATES):
                    draft.answer(Action.TEXT_RETAINED, step(tag), value, "useful: dates")
            if planter.keeps(expectations.MODIFIED_DATES) or planter.keeps(expectations.FULL_DATES):
                for tag in (0x00080030, 0x00080032):
                    draft.put(tag, "101112")
                    draft.answer(Action.TEXT_RETAINED, step(tag), "101112", "useful: times")


def references(planter: Planter) -> None:
    """Three instances of a study that name one another: UIDs and patients stay related."""
    first: Draft | None = None
    for number in range(3):
        with planter.draft(f"useful/reference-{number}.dcm", "ct") as draft:
            if first is None:
                first = draft
                put(draft.ds, 0x00200052, "UI", f"1.2.826.0.1.3680043.9.7777.4.{draft.mint.number()}")
            else:
                draft.belongs_to(first, same_series=number == 1)
            put(draft.ds, 0x00200052, "UI", first.ds.FrameOfReferenceUID)
            reference = Dataset()
            reference.ReferencedSOPClassUID = first.ds.SOPClassUID
            reference.ReferencedSOPInstanceUID = first.ds.SOPInstanceUID
            draft.ds.SourceImageSequence = Sequence([reference])
            series = Dataset()
            series.SeriesInstanceUID = first.ds.SeriesInstanceUID
            series.ReferencedInstanceSequence = Sequence([reference])
            draft.ds.ReferencedSeriesSequence = Sequence([series])
            source, related = step(0x00082112, 0), step(0x00081115, 0)
            for path, uid in (
                (step(0x00080018), draft.ds.SOPInstanceUID),
                (step(0x0020000D), draft.ds.StudyInstanceUID),
                (step(0x0020000E), draft.ds.SeriesInstanceUID),
                (step(0x00200052), draft.ds.FrameOfReferenceUID),
                (f"{source}{step(0x00081155)}", first.ds.SOPInstanceUID),
                (f"{related}{step(0x0020000E)}", first.ds.SeriesInstanceUID),
                (f"{related}{step(0x0008114A, 0)}{step(0x00081155)}", first.ds.SOPInstanceUID),
            ):
                draft.answer(Action.TAG_RETAINED, path, "", "useful: references")
                draft.answer(Action.UID_CONSISTENT, path, uid, "useful: references")
            draft.answer(Action.PATID_CONSISTENT, step(0x00100020), draft.patient_id, "useful: one patient")


def characteristics(planter: Planter) -> None:
    """Sex, age, size and weight, where the profile keeps them."""
    if not planter.keeps(expectations.PATIENT):
        return
    with planter.draft("useful/characteristics.dcm", "ct") as draft:
        for tag, value in (
            (0x00100040, "F"), (0x00101010, "045Y"), (0x00101020, "1.7"), (0x00101030, "72.5"), (0x001021A0, "NO")
        ):  # fmt: skip
            draft.put(tag, value)
            draft.answer(Action.TEXT_RETAINED, step(tag), value, "useful: patient characteristics")
    with planter.draft("useful/old.dcm", "ct") as draft:
        draft.put(0x00101010, "093Y")
        draft.hide(0x00101010, "093", "ages over 89")
        draft.answer(Action.TEXT_RETAINED, step(0x00101010), "090Y", "useful: patient characteristics")


def words(planter: Planter) -> None:
    """What is no name stays although a patient is called like it."""
    for name, tag, value in (
        ("Hand^Cordulinde", 0x00180015, "HAND"), ("Chest^Waldtraute", 0x00180015, "CHEST"),
        ("Axial^Ottokarine", 0x00080008, "ORIGINAL\\PRIMARY\\AXIAL"), ("Siemens^Wilhelmina", 0x00080070, "SIEMENS"),
        ("Standard^Agnesine", 0x00181210, "STANDARD"),
    ):  # fmt: skip
        with planter.draft(f"useful/word-{value[-4:]}-{tag:08x}.dcm", "ct") as draft:
            put(draft.ds, 0x00100010, "PN", name)
            draft.answers = [one for one in draft.answers if one.path != "(0010,0010)"]
            draft.hide(0x00100010, name, "patient", (name, name.split("^")[1]))
            draft.put(tag, value.split("\\") if "\\" in value else value)
            draft.answer(Action.TEXT_RETAINED, step(tag), value, "useful: words that are names")


def safe_private(planter: Planter) -> None:
    """Elements of Table E.3.10-1, in the usual block and in another."""
    if not planter.keeps(expectations.SAFE_PRIVATE):
        return
    for block in (0x10, 0x51):
        with planter.draft(f"useful/private-{block:02x}.dcm") as draft:
            draft.without_group(0x0019)
            put(draft.ds, 0x00190000 | block, "LO", "SIEMENS MR HEADER")
            for low, vr, value in ((0x0C, "IS", "1000"), (0x0D, "CS", "DIRECTIONAL"), (0x0E, "FD", [0.5, 0.25, 0.75])):
                put(draft.ds, 0x00190000 | block << 8 | low, vr, value)
                text = "\\".join(map(str, value)) if isinstance(value, list) else value
                path = f'(0019,"SIEMENS MR HEADER",{low:02X})'
                draft.answer(Action.TEXT_RETAINED, path, text, "useful: safe private elements")


def reports(planter: Planter) -> None:
    """The structure and the measurements of reports, where the profile cleans them."""
    if not planter.keeps(expectations.STRUCTURED):
        return
    with planter.draft("useful/report.dcm", "sr") as draft:
        item = Dataset()
        item.RelationshipType, item.ValueType = "CONTAINS", "NUM"
        concept, unit, value = Dataset(), Dataset(), Dataset()
        concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = "113830", "DCM", "Mean CTDIvol"
        unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "mGy", "UCUM", "mGy"
        item.ConceptNameCodeSequence = Sequence([concept])
        value.NumericValue, value.MeasurementUnitsCodeSequence = "12.5", Sequence([unit])
        item.MeasuredValueSequence = Sequence([value])
        draft.ds.ContentSequence = Sequence([item])
        path, category = step(0x0040A730, 0), "useful: reports"
        draft.answer(Action.TEXT_RETAINED, f"{path}{step(0x0040A300, 0)}{step(0x0040A30A)}", "12.5", category)
        concept_path = f"{path}{step(0x0040A043, 0)}{step(0x00080100)}"
        draft.answer(Action.TEXT_RETAINED, concept_path, "113830", category)


PLANTS: tuple[Callable[[Planter], None], ...] = (
    technical, typical, coded, descriptions, dates, references, characteristics, words, safe_private, reports,
)  # fmt: skip
