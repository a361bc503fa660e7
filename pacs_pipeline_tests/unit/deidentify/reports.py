"""Synthetic SR documents and presentation states, and an engine that releases them, for the tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from pacs_pipeline.deidentify import Deidentifier
from pacs_pipeline.deidentify.codec import Source
from pacs_pipeline.deidentify.keys import Keys
from pacs_pipeline.deidentify.profile import OPTIONS, Profile
from pacs_pipeline.deidentify.rewrite import Rewrite
from pacs_pipeline.deidentify.steps.work import Patient

from . import builder

STORAGE = "1.2.840.10008.5.1.4.1.1."
CLEAN = ("113100", "113104")
NAMES = {option.code: name for name, option in OPTIONS.items()}
# Never in a file that is released. Each is planted somewhere by `planted`.
PLANTS = [
    "Abernathy",
    "Josephine",
    "MRN-5550123",
    "Oyelaran",
    "Kowalczyk",
    "Marienhospital",
    "ACC-778812",
    "17.03.2020",
    "secret",
    "1.2.999",
    "X99-PRIVATE",
]


def nothing(_: str) -> str:
    return ""


class Told:
    """A cleaner that does as the test says."""

    def __init__(self, clean: Callable[[str], str], retain: Callable[[str], str]) -> None:
        self.clean, self.without_identifiers = clean, retain

    def names_somebody(self, text: str) -> bool:
        return False

    def is_somebodys_number(self, digits: str) -> bool:
        return False


class ReportEngine(Deidentifier):
    """The engine with a cleaner that does as the test says."""

    def __init__(
        self,
        profile: Profile,
        keys: Keys,
        clean: Callable[[str], str] = nothing,
        retain: Callable[[str], str] = nothing,
    ) -> None:
        super().__init__(profile, keys)
        self._told = Told(clean, retain)

    def _rewrite(self, sop_class: str, source: Source, patient: Patient) -> Rewrite:
        rewrite = super()._rewrite(sop_class, source, patient)
        rewrite.cleaner_of = lambda: self._told
        return rewrite


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    if len(value) > 16:
        item.LongCodeValue = value
    else:
        item.CodeValue = value
    item.CodingSchemeDesignator, item.CodeMeaning = scheme, meaning
    return item


FINDING = code("121071", "DCM", "Finding")
COMMENT = code("121106", "DCM", "Comment")
PRIVATE = code("X99-PRIVATE", "99SECRET", "secret concept")
MM = code("mm", "UCUM", "mm")


def content(
    value_type: str,
    concept: Dataset | None = None,
    children: Iterable[Dataset] = (),
    relationship: str = "CONTAINS",
    **values: object,
) -> Dataset:
    """One content item; ``values`` are attributes of its value type."""
    item = Dataset()
    if relationship:
        item.RelationshipType = relationship
    if value_type:
        item.ValueType = value_type
    if concept is not None:
        item.ConceptNameCodeSequence = Sequence([concept])
    if value_type == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for keyword, value in values.items():
        setattr(item, keyword, value)
    children = list(children)
    if children:
        item.ContentSequence = Sequence(children)
    return item


def text(concept: Dataset, value: str, **more: object) -> Dataset:
    return content("TEXT", concept, TextValue=value, **more)


def number(concept: Dataset, value: str, unit: Dataset = MM, **more: object) -> Dataset:
    measured = Dataset()
    measured.MeasurementUnitsCodeSequence = Sequence([unit])
    measured.NumericValue = value
    return content("NUM", concept, MeasuredValueSequence=Sequence([measured]), **more)


def coded(concept: Dataset, value: Dataset, **more: object) -> Dataset:
    return content("CODE", concept, ConceptCodeSequence=Sequence([value]), **more)


def reference(sop_instance: str = "1.2.999.1.2.3.4", sop_class: str = STORAGE + "2") -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def picture(concept: Dataset | None = None, value_type: str = "IMAGE", **more: object) -> Dataset:
    return content(value_type, concept, ReferencedSOPSequence=Sequence([reference()]), **more)


def by_reference(*position: int, relationship: str = "INFERRED FROM") -> Dataset:
    item = Dataset()
    item.RelationshipType = relationship
    item.ReferencedContentItemIdentifier = list(position)
    return item


def evidence() -> Dataset:
    study, series = Dataset(), Dataset()
    series.SeriesInstanceUID = "1.2.999.1.2.3"
    series.ReferencedSOPSequence = Sequence([reference()])
    study.StudyInstanceUID = "1.2.999.1.2"
    study.ReferencedSeriesSequence = Sequence([series])
    return study


def document(
    children: Iterable[Dataset],
    sop_class: str = "88.33",
    title: Dataset | None = None,
    template: str = "",
    **attributes: object,
) -> FileDataset:
    """An SR document of an invented person with everything in its header that can name somebody."""
    ds = builder.image()
    for keyword in [e.keyword for e in ds if e.tag.group in (0x0018, 0x0028, 0x7FE0) or e.tag == 0x00080008]:
        delattr(ds, keyword)
    del ds.FrameOfReferenceUID, ds.ImagePositionPatient, ds.AcquisitionDate
    ds.SOPClassUID, ds.Modality = STORAGE + sop_class, "SR"
    ds.SOPInstanceUID, ds.SeriesInstanceUID = "1.2.999.7.7.7", "1.2.999.7.7"
    ds.ContentTime = "101500"
    ds.ReferencedPerformedProcedureStepSequence = Sequence([])
    ds.PerformedProcedureCodeSequence = Sequence([])
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = Sequence([title or code("18748-4", "LN", "Diagnostic Imaging Report")])
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "VERIFIED"
    observer = Dataset()
    observer.VerifyingObserverName = "Kowalczyk^Zdzislaw"
    observer.VerifyingOrganization = "Marienhospital Nordstadt"
    observer.VerificationDateTime = "20200317101500"
    observer.VerifyingObserverIdentificationCodeSequence = Sequence([code("X99-PRIVATE", "99SECRET", "Kowalczyk")])
    ds.VerifyingObserverSequence = Sequence([observer])
    author = Dataset()
    author.ObserverType, author.PersonName = "PSN", "Kowalczyk^Zdzislaw"
    ds.AuthorObserverSequence = Sequence([author])
    request = Dataset()
    request.StudyInstanceUID = "1.2.999.1.2"
    request.ReferencedStudySequence = Sequence([])
    request.AccessionNumber = "ACC-778812"
    request.PlacerOrderNumberImagingServiceRequest = "secret-1"
    request.FillerOrderNumberImagingServiceRequest = "secret-2"
    request.RequestedProcedureID = "secret-3"
    request.RequestedProcedureDescription = "secret-4"
    request.RequestedProcedureCodeSequence = Sequence([])
    ds.ReferencedRequestSequence = Sequence([request])
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence([evidence()])
    if template:
        item = Dataset()
        item.MappingResource, item.TemplateIdentifier = "DCMR", template
        ds.ContentTemplateSequence = Sequence([item])
    ds.ContentSequence = Sequence(list(children))
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    del ds.StudyDescription  # a matter of the cleaner, which tests replace
    return ds


SENTENCE = "secret: Josephine Abernathy, MRN-5550123, seen 17.03.2020 by Dr. Kowalczyk at Marienhospital"


def planted() -> list[Dataset]:
    """Items of every value type with identifiers in every place that can hold text, at two depths."""
    odd = number(code("121206", "DCM", "Distance"), "12.5")
    odd.TextValue = SENTENCE  # an attribute that the value type has no place for
    odd.PersonName = "Kowalczyk^Zdzislaw"
    named = code("121071", "DCM", "Abernathy Josephine")
    one = [
        text(COMMENT, SENTENCE),
        text(code("121013", "DCM", "Device Observer Name"), "secret station"),
        text(code("112039", "DCM", "Tracking Identifier"), "Josephine Abernathy 1"),
        text(PRIVATE, SENTENCE),
        content("PNAME", code("121029", "DCM", "Subject Name"), PersonName="Abernathy^Josephine^M"),
        content("PNAME", code("121008", "DCM", "Person Observer Name"), PersonName="Kowalczyk^Zdzislaw"),
        content("DATE", code("121031", "DCM", "Subject Birth Date"), Date="19510704"),
        content("DATE", code("111060", "DCM", "Study Date"), Date="20200317"),
        content("DATETIME", code("111526", "DCM", "DateTime Started"), DateTime="20200317101500"),
        content("TIME", code("111061", "DCM", "Study Time"), Time="101500"),
        content("UIDREF", code("112040", "DCM", "Tracking Unique Identifier"), UID="1.2.999.4.4"),
        coded(named, code("X99-PRIVATE", "99SECRET", "secret finding")),
        coded(code("363698007", "SCT", "Finding Site"), code("39607008", "SCT", "Abernathy's lung")),
        number(code("121206", "DCM", "Distance"), "5550123", code("X99-PRIVATE", "99SECRET", "secret unit")),
        number(PRIVATE, "5550123"),
        odd,
        picture(),
        picture(code("121112", "DCM", "Source of Measurement"), ObservationDateTime="20200317101500"),
        content(
            "SCOORD",
            code("111030", "DCM", "Image Region"),
            [picture(relationship="SELECTED FROM")],
            GraphicData=[1.5, 2.5, 3.5, 4.5],
            GraphicType="POLYLINE",
        ),
    ]
    two = [
        content("CONTAINER", code("121070", "DCM", "Findings"), [text(FINDING, SENTENCE), text(COMMENT, SENTENCE)]),
        content("CONTAINER", PRIVATE, [content("CONTAINER", None, [text(PRIVATE, SENTENCE)])]),
    ]
    return one + two


_OF_REPORTS = [
    "AuthorObserverSequence",
    "CompletionFlag",
    "ConceptNameCodeSequence",
    "ContentDate",
    "ContentSequence",
    "ContentTime",
    "ContinuityOfContent",
    "CurrentRequestedProcedureEvidenceSequence",
    "PerformedProcedureCodeSequence",
    "ReferencedRequestSequence",
    "ValueType",
    "VerificationFlag",
    "VerifyingObserverSequence",
]


def presentation(sop_class: str = "11.1", **attributes: object) -> FileDataset:
    """A presentation state with texts wherever it has any."""
    ds = document([], sop_class)
    for keyword in _OF_REPORTS:
        delattr(ds, keyword)
    ds.Modality = "PR"
    ds.ContentLabel, ds.ContentDescription = "ABERNATHY", "secret view of Josephine"
    ds.ContentCreatorName = "Kowalczyk^Zdzislaw"
    ds.PresentationCreationDate, ds.PresentationCreationTime = "20200317", "101500"
    series = evidence().ReferencedSeriesSequence[0]
    del series.ReferencedSOPSequence
    series.ReferencedImageSequence = Sequence([reference()])
    ds.ReferencedSeriesSequence = Sequence([series])
    area = Dataset()
    area.ReferencedImageSequence = Sequence([reference()])
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [1, 1], [512, 512]
    area.PresentationSizeMode, area.PresentationPixelAspectRatio = "SCALE TO FIT", [1, 1]
    ds.DisplayedAreaSelectionSequence = Sequence([area])
    window = Dataset()
    window.WindowCenter, window.WindowWidth = "40", "400"
    window.WindowCenterWidthExplanation = "secret window"
    ds.SoftcopyVOILUTSequence = Sequence([window])
    ds.PresentationLUTShape = "IDENTITY"
    note, line = Dataset(), Dataset()
    note.AnchorPointAnnotationUnits, note.AnchorPoint, note.AnchorPointVisibility = "PIXEL", [10.0, 20.0], "N"
    note.UnformattedTextValue = SENTENCE
    line.GraphicAnnotationUnits, line.GraphicDimensions, line.NumberOfGraphicPoints = "PIXEL", 2, 2
    line.GraphicData, line.GraphicType, line.GraphicFilled = [1.0, 2.0, 3.0, 4.5], "POLYLINE", "N"
    annotation = Dataset()
    annotation.ReferencedImageSequence = Sequence([reference()])
    annotation.GraphicLayer = "DR KOWALCZYK"
    annotation.TextObjectSequence, annotation.GraphicObjectSequence = Sequence([note]), Sequence([line])
    ds.GraphicAnnotationSequence = Sequence([annotation])
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = "DR KOWALCZYK", 1
    layer.GraphicLayerDescription = "secret layer of Dr. Kowalczyk"
    ds.GraphicLayerSequence = Sequence([layer])
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def leaks(path: Path, plants: Iterable[str] = PLANTS) -> list[str]:
    """The planted strings that are anywhere in the bytes of a file, in any case and in UTF-16."""
    data = path.read_bytes().lower()
    encodings = itertools.product(plants, ("utf-8", "utf-16-le"))
    return [plant for plant, encoding in encodings if plant.lower().encode(encoding) in data]


def walk(item: Dataset) -> Iterable[Dataset]:
    """All content items below ``item``."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def concept_of(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""
