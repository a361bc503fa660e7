"""Large sets of CT slices for measurements: 525 KB each, written as fast as the disk takes them."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from pacs_pipeline.demo.plan import BASE_DATE, UID_ROOT, uid
from pacs_pipeline.demo.templates import file_meta, template

_SIZE = 512
_UID_LENGTH = 62  # an even number of characters, so that one UID takes the place of another byte by byte
_PICTURES = 4


@dataclass(frozen=True, slots=True)
class WrittenSlice:
    """One slice of the set, as it was written."""

    path: Path
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    size: int


def ct_set(
    out: Path,
    n: int,
    *,
    seed: int = 1,
    study_date: dt.date = BASE_DATE,
    series_length: int = 200,
    series_per_study: int = 2,
    size: int = _SIZE,
) -> Iterator[WrittenSlice]:
    """Write ``n`` CT slices as ``out/<study>/<series>/<instance>.dcm``, lazily; equal arguments give equal bytes.

    Each is ``size`` x ``size`` pixels of 16 bits (512 makes about 525 KB): a body of soft tissue with the noise of
    a scanner, so that it compresses as badly as the real thing. The header is that of a real scanner with an
    invented patient per study.
    """
    pictures = [_picture(size, Random(f"{seed}/picture/{k}")) for k in range(_PICTURES)]  # noqa: S311
    for first in range(0, n, series_length):
        number = first // series_length
        study, series = number // series_per_study, number % series_per_study
        study_uid, series_uid = _fixed_uid(seed, study), _fixed_uid(seed, study, series)
        folder = out / study_uid / series_uid
        folder.mkdir(parents=True, exist_ok=True)
        header = _Header(_series(seed, study, series, study_uid, series_uid, study_date, size), pictures[0])
        for index in range(min(series_length, n - first)):
            instance_uid = _fixed_uid(seed, study, series, index)
            picture = pictures[index % _PICTURES]
            cut = 2 * size * (index // _PICTURES % size)
            path = folder / f"{instance_uid}.dcm"
            with path.open("wb", buffering=0) as file:
                written = file.write(header.of(instance_uid, index) + picture[cut:] + picture[:cut])
            yield WrittenSlice(path, study_uid, series_uid, instance_uid, written)


class _Header:
    """The encoded bytes before the pixels of a series, in which the few values that differ are replaced in place.

    Encoding a header takes pydicom longer than writing the file; the values have fixed lengths for this.
    """

    def __init__(self, ds: Dataset, pixels: bytes) -> None:
        self._uid = str(ds.SOPInstanceUID)
        buffer = io.BytesIO()
        ds.PixelData = pixels
        dcmwrite(buffer, ds, enforce_file_format=True)
        self._bytes = buffer.getvalue()[: -len(pixels)]

    def of(self, instance_uid: str, index: int) -> bytes:
        header = self._bytes.replace(self._uid.encode("ascii"), instance_uid.encode("ascii"))
        for placeholder, value in zip(_placeholders(), _values(index), strict=True):
            header = header.replace(placeholder, value)
        return header


def _placeholders() -> tuple[bytes, ...]:
    return b"999999", b"-9999.00", b"235959.9"


def _values(index: int) -> tuple[bytes, ...]:
    """InstanceNumber, the table position in mm and the time of acquisition, as long as their placeholders."""
    taken = dt.datetime(2000, 1, 1, 8) + dt.timedelta(seconds=index // 4)
    return (
        f"{index + 1:<6d}".encode("ascii"),
        f"{-index * 1.25:<8.2f}".encode("ascii"),
        f"{taken:%H%M%S}.{index % 4}".encode("ascii"),
    )


def _series(
    seed: int, study: int, series: int, study_uid: str, series_uid: str, study_date: dt.date, size: int
) -> Dataset:
    ds = template("ct")
    number, position, time = (placeholder.decode("ascii") for placeholder in _placeholders())
    ds.SpecificCharacterSet = "ISO_IR 100"
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(ds, keyword, f"{study_date:%Y%m%d}")
    ds.StudyTime = "080000"
    ds.SeriesTime = "080000"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
    ds.FrameOfReferenceUID = uid(seed, study, "frame")
    ds.SOPInstanceUID = _fixed_uid(seed, study, series, "placeholder")
    ds.PatientName = f"Benchmark^Patient {study}"
    ds.PatientID = f"BENCH{seed}-{study}"
    ds.PatientBirthDate = "19500101"
    ds.AccessionNumber = f"B{seed}-{study}"
    ds.SeriesNumber = series + 1
    ds.InstanceNumber = number
    ds.ImagePositionPatient = ["-180.0", "-180.0", position]
    ds.SliceLocation = position
    for keyword in ("AcquisitionTime", "ContentTime", "InstanceCreationTime"):
        setattr(ds, keyword, time)
    ds.SliceThickness = ds.SpacingBetweenSlices = "1.25"
    ds.PixelSpacing = [f"{360 / size:.6f}"] * 2
    ds.Rows = ds.Columns = size
    ds.BitsStored, ds.HighBit = 12, 11
    ds.PixelRepresentation = 0
    ds.RescaleIntercept = "-1024"
    del ds.PixelPaddingValue
    del ds.DataSetTrailingPadding  # the pixels must come last
    ds.file_meta = file_meta(ds)
    return ds


def _picture(size: int, random: Random) -> bytes:
    """An ellipse of soft tissue in air, 12 bits deep, with about 5 bits of noise in every pixel."""
    import numpy as np

    noise = np.frombuffer(random.randbytes(size * size), dtype=np.uint8).reshape(size, size).astype(np.uint16) >> 3
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    spine = x**2 + (y - 0.35) ** 2 < 0.01
    tissue = np.where(spine, 1800, np.where(body, 1060, 20)).astype(np.uint16)
    return (tissue + noise).astype("<u2").tobytes()


def _fixed_uid(*parts: object) -> str:
    """A UID like ``uid``'s that always has the same length."""
    digits = uid("ct", *parts).removeprefix(f"{UID_ROOT}.").rjust(40, "7")
    return f"{UID_ROOT}.{digits}"[:_UID_LENGTH]
