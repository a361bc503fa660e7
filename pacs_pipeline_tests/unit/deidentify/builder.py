"""Synthetic instances for the tests of the engine, and ways to look at what came out."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"


def image(**attributes: object) -> FileDataset:
    """A small CT instance of an invented person; ``attributes`` override or, with None, remove."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CT
    ds.SOPInstanceUID = "1.2.999.1.2.3.4"
    ds.StudyInstanceUID = "1.2.999.1.2"
    ds.SeriesInstanceUID = "1.2.999.1.2.3"
    ds.FrameOfReferenceUID = "1.2.999.1.9"
    ds.StudyDate, ds.SeriesDate, ds.AcquisitionDate, ds.ContentDate = "20200317", "20200317", "20200318", "20200318"
    ds.StudyTime, ds.SeriesTime = "101500", "102000.5"
    ds.AccessionNumber = "ACC-778812"
    ds.Modality = "CT"
    ds.Manufacturer = "SIEMENS"
    ds.InstitutionName = "Marienhospital Nordstadt"
    ds.ReferringPhysicianName = "Oyelaran^Adaeze"
    ds.StudyDescription = "CT CHEST FOR ABERNATHY"
    ds.PatientName = "Abernathy^Josephine^M"
    ds.PatientID = "MRN-5550123"
    ds.PatientBirthDate = "19510704"
    ds.PatientSex = "F"
    ds.PatientAge = "068Y"
    ds.SliceThickness = "2.5"
    ds.KVP = "120"
    ds.ConvolutionKernel = "B30f"
    ds.BodyPartExamined = "CHEST"
    ds.StudyID = "ST-4411"
    ds.SeriesNumber, ds.InstanceNumber = 2, 17
    ds.ImagePositionPatient = ["-10.5", "20", "3e1"]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = 16, 12
    ds.PixelSpacing = ["0.5", "0.5"]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = np.arange(16 * 12, dtype="<u2").tobytes()
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def save(ds: FileDataset, path: Path) -> Path:
    """Write ``ds`` as it is, however odd."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.file_meta.MediaStorageSOPClassUID = str(ds.get("SOPClassUID") or CT)
        ds.file_meta.MediaStorageSOPInstanceUID = str(ds.get("SOPInstanceUID") or "1.2.3")
        ds.save_as(path, enforce_file_format=True)
    return path


def load(path: Path) -> FileDataset:
    """Read a file that must not give rise to any warning."""
    return dcmread(path)


def put(ds: Dataset, tag: int, vr: str, value: object) -> None:
    """Add an element without pydicom's opinion on its value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds[tag] = DataElement(tag, vr, value, validation_mode=0)


def nested(ds: Dataset, depth: int = 3) -> Dataset:
    """The item ``depth`` sequences below ``ds``, through sequences that no rule removes."""
    for keyword in ("ReferencedSeriesSequence", "ReferencedSOPSequence", "PurposeOfReferenceCodeSequence")[:depth]:
        item = Dataset()
        setattr(ds, keyword, Sequence([item]))
        ds = item
    return ds


def everything(ds: Dataset) -> list[DataElement]:
    """All elements at every depth."""
    return list(ds.iterall())
