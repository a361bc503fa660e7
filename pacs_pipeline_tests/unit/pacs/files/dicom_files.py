"""Small DICOM files on the disk, as exports hold them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite

from pacs_pipeline_tests.unit.pacs.samples import BIG_ENDIAN, CT, DEFLATED, EXPLICIT, IMPLICIT

DAY = dt.date(2024, 3, 9)
NAME = "Findmich^Nirgends"


@dataclass(frozen=True)
class Made:
    """One instance that can be written in several ways."""

    number: int = 1
    study: str = "1.2.3.10"
    series: str = "1.2.3.10.1"
    date: str = "20240309"
    uid: str = ""
    syntax: str = EXPLICIT
    pixels: bytes = bytes(range(256)) * 4
    preamble: bool = True
    before: bytes = b""  # a private element that lies before the identifying ones

    @property
    def SOPInstanceUID(self) -> str:
        return self.uid or f"{self.series}.{self.number}"

    def write(self, path: Path) -> Path:
        """Write the file; returns its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SOPClassUID = CT
        ds.SOPInstanceUID = self.SOPInstanceUID
        ds.add(DataElement(0x00080020, "DA", self.date, validation_mode=config.IGNORE))
        ds.StudyTime = "101112.5"
        ds.Modality = "CT"
        ds.StudyDescription = "Schädel nativ"
        ds.InstitutionName = "Haus Ö"
        ds.PatientName = NAME
        ds.PatientBirthDate = "19700310"
        if self.before:
            ds.private_block(0x0009, "ACME", create=True).add_new(0x01, "OB", self.before)
        ds.StudyInstanceUID = self.study
        ds.SeriesInstanceUID = self.series
        ds.PixelData = self.pixels
        ds["PixelData"].VR = "OB"
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = self.syntax
        options = {"implicit_vr": self.syntax == IMPLICIT, "little_endian": self.syntax != BIG_ENDIAN}
        if self.preamble:
            dcmwrite(path, ds, enforce_file_format=True)
        else:
            del ds.file_meta
            dcmwrite(path, ds, **options)
        return path


SYNTAXES = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)
