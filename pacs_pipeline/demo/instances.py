"""Turns a planned series into data sets: a template with the identity of an invented patient planted all over."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from random import Random

from pydicom import DataElement, dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import UID

from pacs_pipeline.demo.documents import burn_in, pdf_letter, write_report
from pacs_pipeline.demo.names import staff
from pacs_pipeline.demo.plan import Series, Study, uid
from pacs_pipeline.demo.templates import file_meta, template

_DICOM_UIDS = "1.2.840.10008."
_UTC_OFFSETS = {"north": "+0100", "south": "-0500"}


def instances(series: Series) -> Iterator[tuple[Dataset, list[str]]]:
    """The data sets of ``series`` in order, each with the identifiers planted in it.

    One data set object is reused for the whole series: write it before asking for the next.
    """
    ds = template(series.kind.template)
    study = series.study
    _bring_into_study(ds, study)
    identifiers = _identify(ds, series)
    identifiers += _mention(ds, series)
    if series.kind.template.startswith("sr"):
        observer = str(ds.NameOfPhysiciansReadingStudy)
        write_report(
            ds,
            study.patient,
            observer=observer,
            organization=ds.InstitutionName,
            when=study.when + dt.timedelta(hours=1),
        )
        ds.SeriesDescription = series.kind.description
    if series.kind.template == "pdf":
        _enclose_letter(ds, study)
    origin, step = _geometry(ds)
    _number(ds, series, 1)
    ds = _encoded(ds)
    pixels = ds.get("PixelData")
    for number in range(1, series.length + 1):
        _number(ds, series, number)
        if origin is not None:
            position = [start + (number - 1) * delta for start, delta in zip(origin, step, strict=True)]
            ds.ImagePositionPatient = [_decimal(value) for value in position]
            ds.SliceLocation = _decimal(sum(p * n for p, n in zip(position, _unit(step), strict=True)))
        if pixels is not None and series.kind.is_stack and not UID(ds.file_meta.TransferSyntaxUID).is_compressed:
            # the slices of a stack differ: each is its neighbour moved down by two rows
            cut = (number - 1) * 2 * ds.Columns * ds.BitsAllocated // 8 % len(pixels)
            ds.PixelData = pixels[cut:] + pixels[:cut]
        planted = identifiers
        if series.kind.template == "us":
            planted = identifiers + _screen_text(ds, study, number, pixels)
        yield ds, planted


def _bring_into_study(ds: Dataset, study: Study) -> None:
    """Give every UID of the template a new one (references stay consistent) and every date the study's."""

    def renew(_: Dataset, element: DataElement) -> None:
        if element.is_empty:
            return
        if element.VR == "UI":
            values = element.value if element.VM > 1 else [element.value]
            new = [v if v.startswith(_DICOM_UIDS) else uid(study.StudyInstanceUID, v) for v in map(str, values)]
            element.value = new if element.VM > 1 else new[0]
        elif element.VR == "DA":
            element.value = f"{study.when:%Y%m%d}"
        elif element.VR == "DT":
            element.value = f"{study.when:%Y%m%d}" + str(element.value)[8:]

    ds.walk(renew)


def _identify(ds: Dataset, series: Series) -> list[str]:
    """Set the attributes that say who, where, when and by whom; returns the identifying values among them."""
    study, patient = series.study, series.study.patient
    random = Random(f"{study.StudyInstanceUID}/staff")  # noqa: S311 - reproducible on purpose
    begun = study.when + dt.timedelta(minutes=5 * (series.number - 1))
    script = patient.script
    charset = list(script.SpecificCharacterSet)
    ds.SpecificCharacterSet = charset if len(charset) > 1 else charset[0]
    ds.StudyInstanceUID = study.StudyInstanceUID
    ds.SeriesInstanceUID = series.SeriesInstanceUID
    if "ImagePositionPatient" in ds:
        ds.FrameOfReferenceUID = uid(study.StudyInstanceUID, "frame")
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(ds, keyword, f"{study.when if keyword == 'StudyDate' else begun:%Y%m%d}")
    ds.StudyTime = f"{study.when:%H%M%S}"
    ds.SeriesTime = f"{begun:%H%M%S}"
    if study.site in _UTC_OFFSETS:
        ds.TimezoneOffsetFromUTC = _UTC_OFFSETS[study.site]
    ds.SeriesNumber = series.number
    ds.StudyID = f"S{study.patient.index}-{study.number}"
    ds.AccessionNumber = study.AccessionNumber
    ds.InstitutionName = f"{study.site.title()} General Hospital"
    ds.InstitutionAddress = f"12 Harbour Road, {study.site.title()}ville"
    ds.InstitutionalDepartmentName = "Radiology"
    ds.StationName = f"{study.site[:4].upper()}{ds.Modality}01"
    ds.DeviceSerialNumber = f"SN{study.site[:1].upper()}{ds.Modality}4711"

    ds.PatientName = patient.PatientName
    ds.PatientID = patient.PatientID
    ds.IssuerOfPatientID = patient.IssuerOfPatientID
    ds.PatientBirthDate = f"{patient.PatientBirthDate:%Y%m%d}"
    ds.PatientSex = patient.PatientSex
    ds.PatientAge = f"{(study.when.date() - patient.PatientBirthDate).days // 365:03d}Y"
    ds.PatientAddress = patient.address
    ds.PatientTelephoneNumbers = patient.phone
    other = Dataset()
    other.PatientID = patient.insurance_number
    other.IssuerOfPatientID = "HEALTH-INSURANCE"
    other.TypeOfPatientID = "TEXT"
    ds.OtherPatientIDsSequence = Sequence([other])

    people = {
        "ReferringPhysicianName": staff("referring", random, script),
        "PerformingPhysicianName": staff("performing", random, script),
        "OperatorsName": staff("operator", random, script),
        "NameOfPhysiciansReadingStudy": staff("reading", random, script),
        "RequestingPhysician": staff("requesting", random, script),
    }
    for keyword, name in people.items():
        setattr(ds, keyword, name)
    return [
        *patient.PatientName.split("="),
        patient.PatientID,
        patient.insurance_number,
        patient.address,
        patient.phone,
        ds.PatientBirthDate,
        ds.AccessionNumber,
        ds.InstitutionName,
        ds.InstitutionAddress,
        *people.values(),
    ]


def _mention(ds: Dataset, series: Series) -> list[str]:
    """Plant the patient in free text, private elements and nested items, differently from series to series."""
    study, patient = series.study, series.study.patient
    random = Random(f"{series.SeriesInstanceUID}/mentions")  # noqa: S311 - reproducible on purpose
    note, noted = patient.note(), False
    ds.BodyPartExamined = study.kind.body_part
    named = study.patient.index % 3 == 0  # of the whole study, whose series must agree on its description
    ds.StudyDescription = f"{study.kind.description} {patient.spoken}" if named else study.kind.description
    ds.SeriesDescription = series.kind.description
    ds.ProtocolName = study.kind.description
    if random.random() < 0.3:
        ds.SeriesDescription = f"{series.kind.description} {patient.spoken}"
    if random.random() < 0.5:
        ds.PatientComments = note
        noted = True
    if random.random() < 0.5:
        ds.ImageComments = f"{note}; {study.AccessionNumber}"
        noted = True
    if random.random() < 0.4:
        ds.AdditionalPatientHistory = f"{patient.spoken}: st. p. fall {study.when - dt.timedelta(days=9):%d.%m.%Y}"

    request = Dataset()
    request.RequestedProcedureID = study.AccessionNumber
    request.ScheduledProcedureStepID = study.AccessionNumber
    request.RequestedProcedureDescription = study.kind.description
    request.ReasonForTheRequestedProcedure = f"{patient.spoken}, control"
    request.ScheduledProcedureStepDescription = study.kind.description
    ds.RequestAttributesSequence = Sequence([request])
    if random.random() < 0.5:
        former = Dataset()
        former.PatientName = f"{patient.PatientName.split('=')[0]}^^^"
        former.PatientID = patient.insurance_number
        change = Dataset()
        change.ModifiedAttributesSequence = Sequence([former])
        change.AttributeModificationDateTime = f"{study.when:%Y%m%d%H%M%S}"
        change.ModifyingSystem = "RIS"
        change.SourceOfPreviousValues = "WORKLIST"
        change.ReasonForTheAttributeModification = "CORRECT"
        ds.OriginalAttributesSequence = Sequence([change])
    if random.random() < 0.6:
        block = ds.private_block(0x0099, "SAMPLE RIS 1.0", create=True)
        block.add_new(0x01, "PN", patient.PatientName)
        block.add_new(0x02, "LO", patient.PatientID)
        block.add_new(0x03, "DA", f"{patient.PatientBirthDate:%Y%m%d}")
        block.add_new(0x04, "LT", note)
        noted = True
        item = Dataset()
        item.PatientName = patient.PatientName
        item.PatientID = patient.PatientID
        block.add_new(0x10, "SQ", Sequence([item]))
    return [patient.spoken, f"{patient.PatientBirthDate:%d.%m.%Y}"] if noted else [patient.spoken]


def _enclose_letter(ds: Dataset, study: Study) -> None:
    patient = study.patient
    document = pdf_letter(
        [
            f"{ds.InstitutionName}, {ds.InstitutionAddress}",
            f"Re: {patient.alphabetic}, born {patient.PatientBirthDate:%d.%m.%Y}, ID {patient.PatientID}",
            f"{study.kind.description} of {study.when:%d.%m.%Y}, order {study.AccessionNumber}",
            f"Dear {str(ds.ReferringPhysicianName).replace('^', ' ').strip()}, no suspicious finding.",
        ]
    )
    ds.DocumentTitle = f"Letter {study.AccessionNumber}"
    ds.ConceptNameCodeSequence = Sequence()
    ds.EncapsulatedDocument = document + b"\x00" * (len(document) % 2)
    ds.EncapsulatedDocumentLength = len(document)


def _number(ds: Dataset, series: Series, number: int) -> None:
    """Set what differs between the instances of a series: UID, number, and the seconds they were taken at."""
    taken = series.study.when + dt.timedelta(minutes=5 * (series.number - 1), seconds=2 * number)
    ds.SOPInstanceUID = series.instance_uid(number)
    ds.InstanceNumber = number
    for keyword in ("Acquisition", "Content", "InstanceCreation"):
        setattr(ds, f"{keyword}Date", f"{taken:%Y%m%d}")
        setattr(ds, f"{keyword}Time", f"{taken:%H%M%S}.{number % 100:02d}0000")
    if "ImageIndex" in ds or ds.Modality == "PT":
        ds.ImageIndex = number
        ds.NumberOfSlices = series.length
    ds.file_meta = file_meta(ds)


def _encoded(ds: Dataset) -> Dataset:
    """The same data set with every element in its encoded form, so that writing it again and again only copies them."""
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def _screen_text(ds: Dataset, study: Study, number: int, pixels: bytes) -> list[str]:
    """Burn the patient into every odd ultrasound frame; only every other of those admits it in the header."""
    ds.PixelData = pixels
    if number % 2 == 0:
        ds.BurnedInAnnotation = "NO"
        return []
    patient = study.patient
    lines = [
        patient.alphabetic,
        f"{patient.PatientID}  *{patient.PatientBirthDate:%d.%m.%Y}",
        f"{ds.InstitutionName}  {study.when:%d.%m.%Y %H:%M}",
    ]
    burn_in(ds, lines)
    if number % 4 == 1:
        ds.BurnedInAnnotation = "YES"
    elif "BurnedInAnnotation" in ds:
        del ds.BurnedInAnnotation
    return [f"pixels: {line}" for line in lines]


def _geometry(ds: Dataset) -> tuple[list[float] | None, list[float]]:
    """Where the first slice lies and the way to the next, in mm (PS3.3 C.7.6.2)."""
    if "ImagePositionPatient" not in ds:
        return None, []
    row, column = [float(v) for v in ds.ImageOrientationPatient[:3]], [float(v) for v in ds.ImageOrientationPatient[3:]]
    normal = [
        row[1] * column[2] - row[2] * column[1],
        row[2] * column[0] - row[0] * column[2],
        row[0] * column[1] - row[1] * column[0],
    ]
    spacing = float(ds.get("SpacingBetweenSlices") or ds.get("SliceThickness") or 1)
    return [float(value) for value in ds.ImagePositionPatient], [spacing * component for component in normal]


def _unit(vector: list[float]) -> list[float]:
    length = sum(component**2 for component in vector) ** 0.5
    return [component / length for component in vector]


def _decimal(value: float) -> str:
    """A DS of at most 16 bytes."""
    return f"{value:.4f}"
