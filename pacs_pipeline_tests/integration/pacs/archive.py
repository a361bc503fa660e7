"""A small archive with one instance of each kind that travels differently, built on pydicom's shipped files."""

from __future__ import annotations

import datetime as dt
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.filereader import read_file_meta_info

from pacs_pipeline_tests.integration.servers import program

STUDY_DATE = dt.date(2024, 3, 9)
STUDY = "1.2.826.0.1.3680043.10.1451.1"

SERIES = {
    "CT": ("CT_small.dcm", "CT_small.dcm", "CT_small.dcm"),
    "MR": (
        "MR_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
    ),
    "EMR": ("emri_small.dcm", "emri_small_RLE.dcm"),
    "SR": ("reportsi.dcm", "test-SR.dcm"),
    "US": ("US1_J2KR.dcm", "examples_ybr_color.dcm"),
    "OT": ("image_dfl.dcm",),
}


@dataclass(frozen=True)
class Stored:
    """One file of the archive."""

    path: Path
    series: str
    SOPInstanceUID: str
    TransferSyntaxUID: str
    sha256: str  # over the data set, as a landed instance has it


def build(folder: Path) -> tuple[Stored, ...]:
    """Write the archive's files: one study, a series for each kind."""
    folder.mkdir(parents=True)
    return tuple(
        _write(folder, kind, f"{STUDY}.{number}", f"{STUDY}.{number}.{index}", name)
        for number, (kind, names) in enumerate(SERIES.items(), 1)
        for index, name in enumerate(names, 1)
    )


def _write(folder: Path, kind: str, series: str, instance: str, name: str) -> Stored:
    source = get_testdata_file(name)
    assert isinstance(source, str)
    ds = pydicom.dcmread(source)
    ds.StudyInstanceUID = STUDY
    ds.SeriesInstanceUID = series
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = instance
    ds.StudyDate = STUDY_DATE.strftime("%Y%m%d")
    ds.StudyTime = "101500"
    ds.PatientID, ds.PatientName, ds.StudyID, ds.AccessionNumber = "TEST-1", "Test^Archive", "1", ""
    ds.ReferringPhysicianName, ds.PatientBirthDate, ds.PatientSex, ds.SeriesNumber = "", "", "", "1"
    source_path = folder / f"{kind}-{instance}.source"
    ds.save_as(source_path, enforce_file_format=True)
    path = source_path.with_suffix(".dcm")
    # Orthanc and dcmqrscp send what DCMTK writes: explicit lengths, no group lengths, no trailing padding
    subprocess.run([program("dcmconv", "dcmtk"), "+e", "-g", "-p", str(source_path), str(path)], check=True)
    return Stored(path, series, instance, str(ds.file_meta.TransferSyntaxUID), data_set_digest(path))


def data_set_digest(path: Path) -> str:
    """SHA-256 over the data set of a DICOM file, found by pydicom's own reading of the file meta."""
    meta = read_file_meta_info(path)
    head = 128 + 4 + 12 + int(meta.FileMetaInformationGroupLength)
    return hashlib.sha256(path.read_bytes()[head:]).hexdigest()
