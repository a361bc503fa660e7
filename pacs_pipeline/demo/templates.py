"""The real DICOM files that pydicom ships, as starting points: one per kind of series the population has."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    DigitalXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)

from pacs_pipeline.demo.names import to_ascii

_TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
# what the donors' own de-identification left behind would contradict the invented people
_NOT_OURS = (
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "OtherPatientIDs",
    "OtherPatientNames",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "TimezoneOffsetFromUTC",
)
_CT_ONLY = (
    "ScanOptions",
    "KVP",
    "ContrastBolusAgent",
    "ContrastBolusRoute",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "ExposureTime",
    "XRayTubeCurrent",
    "Exposure",
    "FilterType",
    "FocalSpots",
)


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of series: the file it comes from and what makes it that kind."""

    file: str
    adapt: Callable[[Dataset], None] = lambda _: None


def template(name: str) -> Dataset:
    """A fresh copy of the data set called ``name`` (a key of ``TEMPLATES``), with its ``file_meta``."""
    return copy.deepcopy(_load(name))


def file_meta(ds: Dataset) -> FileMetaDataset:
    """The file meta information of ``ds`` as this module writes it, in the transfer syntax it has."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ds.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = UID("1.2.826.0.1.3680043.8.498.1")
    meta.ImplementationVersionName = "SAMPLE_1"
    return meta


@cache
def _load(name: str) -> Dataset:
    source = TEMPLATES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the files are as odd as real life; what we write is checked by the tests
        ds = pydicom.dcmread(_TEST_FILES / source.file)
        ds.walk(_decode_and_fold)
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        ds["PixelData"].VR = "OB"  # PS3.5 A.4; some of the files say OW
    for keyword in _NOT_OURS:
        if keyword in ds:
            delattr(ds, keyword)
    source.adapt(ds)
    return ds


def _decode_and_fold(_: Dataset, element: pydicom.DataElement) -> None:
    """Reduce the donor's own text to ASCII, which every character set of the population can encode."""
    if element.VR in _TEXT_VRS and element.value and not element.is_empty:
        values = element.value if element.VM > 1 else [element.value]
        folded = [to_ascii(str(value)) for value in values]
        element.value = folded if element.VM > 1 else folded[0]


def _positron_emission(ds: Dataset) -> None:
    for keyword in _CT_ONLY:
        delattr(ds, keyword)
    ds.SOPClassUID = PositronEmissionTomographyImageStorage
    ds.Modality = "PT"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SeriesType = ["STATIC", "IMAGE"]
    ds.Units = "BQML"
    ds.CountsSource = "EMISSION"
    ds.CorrectedImage = ["DECY", "ATTN", "SCAT", "NORM"]
    ds.DecayCorrection = "START"
    ds.RescaleIntercept = "0"
    ds.RescaleSlope = "1.25"
    ds.FrameReferenceTime = "60000"
    ds.ActualFrameDuration = "120000"
    dose = Dataset()
    dose.Radiopharmaceutical = "Fluorodeoxyglucose F^18^"
    dose.RadiopharmaceuticalStartTime = "070500"
    dose.RadiopharmaceuticalStartDateTime = "20040119070500"
    dose.RadionuclideTotalDose = "310000000"
    dose.RadionuclideHalfLife = "6586.2"
    dose.RadionuclidePositronFraction = "0.967"
    ds.RadiopharmaceuticalInformationSequence = Sequence([dose])


def _nuclear_medicine(ds: Dataset) -> None:
    ds.SOPClassUID = NuclearMedicineImageStorage
    del ds.ConversionType
    ds.PatientOrientationCodeSequence = Sequence()
    ds.RadiopharmaceuticalInformationSequence = Sequence()
    ds.EnergyWindowInformationSequence = Sequence()
    ds.DetectorInformationSequence = Sequence()


def _enlarge(ds: Dataset, factor: int) -> None:
    """Repeat every pixel of a 16-bit image ``factor`` times in both directions: the files are only thumbnails."""
    rows, columns, pixels = ds.Rows, ds.Columns, ds.PixelData
    lines = []
    for row in range(rows):
        line = pixels[row * columns * 2 : (row + 1) * columns * 2]
        lines.append(b"".join(line[i : i + 2] * factor for i in range(0, len(line), 2)) * factor)
    ds.Rows, ds.Columns, ds.PixelData = rows * factor, columns * factor, b"".join(lines)


def _computed_radiography(ds: Dataset) -> None:
    _enlarge(ds, 8)


def _digital_radiography(ds: Dataset) -> None:
    _enlarge(ds, 16)
    for keyword in ("PlateType", "CassetteOrientation", "CassetteSize", "Sensitivity"):
        delattr(ds, keyword)
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.Modality = "DX"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.DetectorType = "SCINTILLATOR"
    ds.ImageLaterality = "L"
    ds.PatientOrientation = ["L", "F"]
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"


def _portable_document(ds: Dataset) -> None:
    """Keeps the header of a report; the document itself is written per patient."""
    for keyword in [element.keyword for element in ds if element.tag.group == 0x0040]:
        delattr(ds, keyword)
    ds.SOPClassUID = EncapsulatedPDFStorage
    ds.Modality = "DOC"
    ds.ConversionType = "WSD"
    ds.BurnedInAnnotation = "YES"
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _comprehensive_report(ds: Dataset) -> None:
    ds.SOPClassUID = ComprehensiveSRStorage


def _simple_report(ds: Dataset) -> None:
    del ds.ContentSequence[4:]  # placeholders that refer to no image


TEMPLATES = {
    "ct": Template("CT_small.dcm"),
    "ct-jpeg2000": Template("J2K_pixelrep_mismatch.dcm"),
    "mr": Template("MR_small.dcm"),
    "mr-implicit": Template("MR_small_implicit.dcm"),
    "mr-rle": Template("MR_small_RLE.dcm"),
    "mr-jpeg2000": Template("MR_small_jp2klossless.dcm"),
    "mr-jpegls": Template("MR_small_jpeg_ls_lossless.dcm"),
    "cr": Template("dicomdirtests/77654033/CR1/6154", _computed_radiography),
    "dx": Template("dicomdirtests/77654033/CR2/6247", _digital_radiography),
    "us": Template("examples_rgb_color.dcm"),
    "us-jpeg2000": Template("examples_jpeg2k.dcm"),
    "us-cine": Template("examples_ybr_color.dcm"),
    "nm": Template("JPEG2000.dcm", _nuclear_medicine),
    "pt": Template("CT_small.dcm", _positron_emission),
    "sr": Template("reportsi.dcm", _simple_report),
    "sr-comprehensive": Template("test-SR.dcm", _comprehensive_report),
    "pdf": Template("test-SR.dcm", _portable_document),
}
"""Every kind of series by name. The names' suffix says how the pixels are stored when it is not plain."""
