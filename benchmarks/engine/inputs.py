"""What the engine is measured on: CT slices of 525 KB, a multi-frame with many small elements, a very large one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from pacs_pipeline.demo.ct_set import ct_set
from pacs_pipeline.demo.plan import uid
from pacs_pipeline.demo.templates import file_meta, template

_ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
_FRAME = 512 * 512 * 2


def slices(folder: Path, number: int) -> list[Path]:
    """CT slices of series of 200, in the order of the series."""
    return [written.path for written in ct_set(folder, number)]


def many_elements(path: Path, frames: int = 500) -> int:
    """An Enhanced CT with functional groups for each frame, 36 elements each; how many elements it has."""
    ds = _multi_frame(frames, rows=16)
    ds.PerFrameFunctionalGroupsSequence = _sequence(*(_groups(number) for number in range(frames)))
    ds.PixelData = np.zeros((frames, 16, 16), "<u2").tobytes()
    ds.save_as(path, enforce_file_format=True)
    return sum(1 for _ in ds.iterall())


def large(path: Path, gigabytes: float = 2) -> None:
    """A multi-frame object of so many GiB; its pixels are a hole in the file, which reads as zeros."""
    frames = int(gigabytes * 2**30) // _FRAME
    ds = _multi_frame(frames, rows=512)
    ds.PixelData = b"\0" * 4
    ds.save_as(path, enforce_file_format=True)
    header = path.read_bytes()[:-8]  # without the length of the pixels and what there is of them
    with path.open("wb") as file:
        file.write(header + (frames * _FRAME).to_bytes(4, "little"))
        file.truncate(len(header) + 4 + frames * _FRAME)


def _multi_frame(frames: int, rows: int) -> FileDataset:
    source = template("ct")
    ds = FileDataset("", {}, preamble=bytes(128))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyTime", "Manufacturer"):
        setattr(ds, keyword, source.get(keyword, ""))
    ds.SOPClassUID, ds.SOPInstanceUID = _ENHANCED_CT, uid("engine", frames)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid("engine", "study"), uid("engine", "series")
    ds.Modality, ds.InstanceNumber, ds.NumberOfFrames = "CT", 1, frames
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", rows, rows
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = file_meta(ds)
    return ds


def _groups(number: int) -> Dataset:
    """The functional groups of one frame, as the Enhanced CT IOD has them (PS3.3 A.38)."""
    content = {
        "FrameAcquisitionNumber": number,
        "FrameAcquisitionDateTime": f"2020031710{number // 60 % 60:02d}{number % 60:02d}",
        "FrameReferenceDateTime": f"2020031710{number // 60 % 60:02d}{number % 60:02d}",
        "FrameAcquisitionDuration": 5.5,
        "DimensionIndexValues": [1, number + 1],
        "InStackPositionNumber": number + 1,
    }
    groups = {
        "FrameContentSequence": content,
        "PlanePositionSequence": {"ImagePositionPatient": ["-180", "-180", f"{number * 1.25}"]},
        "PlaneOrientationSequence": {"ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"]},
        "PixelMeasuresSequence": {"PixelSpacing": ["0.7", "0.7"], "SliceThickness": "1.25"},
        "CTAcquisitionTypeSequence": {"AcquisitionType": "SPIRAL", "TubeAngle": 0.0, "ConstantVolumeFlag": "NO"},
        "CTTableDynamicsSequence": {"TableSpeed": 38.4, "TableFeedPerRotation": 19.2, "SpiralPitchFactor": 1.0},
        "CTGeometrySequence": {"DistanceSourceToDetector": 1085.6},
        "CTExposureSequence": {"ExposureTimeInms": 500.0, "XRayTubeCurrentInmA": 200.0 + number, "CTDIvol": 7.5},
        "PixelValueTransformationSequence": {"RescaleIntercept": "-1024", "RescaleSlope": "1", "RescaleType": "HU"},
        "FrameVOILUTSequence": {"WindowCenter": "40", "WindowWidth": "400"},
    }
    frame = Dataset()
    for keyword, attributes in groups.items():
        item = Dataset()
        for name, value in attributes.items():
            setattr(item, name, value)
        setattr(frame, keyword, _sequence(item))
    return frame


def _sequence(*items: Dataset) -> Sequence:
    """Of undefined length, as most scanners write theirs; pydicom reads it to its end then."""
    sequence = Sequence(items)
    sequence.is_undefined_length = True
    for item in items:
        item.is_undefined_length_sequence_item = True
    return sequence
