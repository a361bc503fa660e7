"""Small instances, encoded, for scripted peers to send."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from pacs_pipeline.pacs.landing import Delivery
from pacs_pipeline.records import InstanceRef, SeriesRef

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"  # a vendor's own, in no list

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
SYNTAXES = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, JPEG_2000)

STUDY = "1.2.3.10"
SERIES = SeriesRef(STUDY, "1.2.3.10.1", "CT", 4)
OTHER_SERIES = SeriesRef(STUDY, "1.2.3.10.2", "CT", 1)
PATIENT_NAME = "Findmich^Nirgends"


@dataclass(frozen=True)
class Sample:
    """An instance as it lies in an archive."""

    number: int
    series: SeriesRef = SERIES
    sop_class: str = CT
    syntax: str = EXPLICIT
    data: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if not self.data:
            object.__setattr__(self, "data", encode(self))

    @property
    def uid(self) -> str:
        return f"{self.series.SeriesInstanceUID}.{self.number}"

    @property
    def ref(self) -> InstanceRef:
        return InstanceRef(self.series.StudyInstanceUID, self.series.SeriesInstanceUID, self.uid, self.sop_class)

    def cut(self, count: int) -> Sample:
        """The same instance without its last ``count`` bytes."""
        return replace(self, data=self.data[:-count])

    def delivery(self, *, uid: str | None = None, solicited: bool = True) -> Delivery:
        return Delivery(self.sop_class, self.uid if uid is None else uid, self.syntax, solicited)


def encode(sample: Sample, pixels: bytes = bytes(range(256)) * 8) -> bytes:
    """The data set of a sample, with nested sequences, private elements and pixels, in its transfer syntax."""
    ds = Dataset()
    ds.SOPClassUID = sample.sop_class
    ds.SOPInstanceUID = sample.uid
    ds.StudyInstanceUID = sample.series.StudyInstanceUID
    ds.SeriesInstanceUID = sample.series.SeriesInstanceUID
    ds.Modality = sample.series.Modality
    ds.PatientName = PATIENT_NAME
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3.99"
    inner.is_undefined_length_sequence_item = True
    outer = Dataset()
    outer.ReferencedInstanceSequence = Sequence([inner, Dataset()])
    outer["ReferencedInstanceSequence"].is_undefined_length = True
    ds.ReferencedStudySequence = Sequence([outer])
    ds.private_block(0x0029, "ACME", create=True).add_new(0x01, "OB", b"\x01\x02\x03\x04")
    if sample.syntax == JPEG_2000:
        ds.PixelData = encapsulate([pixels])
        ds["PixelData"].is_undefined_length = True
    else:
        ds.PixelData = pixels
    ds["PixelData"].VR = "OB"
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = sample.syntax == IMPLICIT
    buffer.is_little_endian = sample.syntax != BIG_ENDIAN
    write_dataset(buffer, ds)
    data = buffer.getvalue()
    if sample.syntax == DEFLATED:
        data = deflate(data)
    return data


def deflate(data: bytes) -> bytes:
    """PS3.5 A.5: raw deflate, padded to an even length."""
    compress = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    stream = io.BytesIO()
    stream.write(compress.compress(data))
    stream.write(compress.flush())
    return stream.getvalue() + b"\0" * (stream.tell() % 2)


def samples(count: int, series: SeriesRef = SERIES, sop_class: str = CT, syntax: str = EXPLICIT) -> list[Sample]:
    """The first instances of a series."""
    return [Sample(number, series, sop_class, syntax) for number in range(1, count + 1)]
