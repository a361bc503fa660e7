from __future__ import annotations

import datetime as dt
from pathlib import Path

import pydicom

from pacs_pipeline.demo.ct_set import ct_set


def test_slices_are_valid_and_of_the_size_of_real_ones(tmp_path: Path) -> None:
    written = list(ct_set(tmp_path, 6, series_length=2, study_date=dt.date(2024, 5, 17)))
    assert len({w.SOPInstanceUID for w in written}) == 6
    assert len({w.SeriesInstanceUID for w in written}) == 3
    assert len({w.StudyInstanceUID for w in written}) == 2
    for number, slice_ in enumerate(written):
        ds = pydicom.dcmread(slice_.path)
        assert 520_000 < slice_.size == slice_.path.stat().st_size < 535_000
        assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID == slice_.SOPInstanceUID
        assert (ds.StudyInstanceUID, ds.SeriesInstanceUID) == (slice_.StudyInstanceUID, slice_.SeriesInstanceUID)
        assert ds.StudyDate == "20240517"
        assert ds.InstanceNumber == number % 2 + 1
        assert float(ds.ImagePositionPatient[2]) == float(ds.SliceLocation) == -1.25 * (number % 2)
        assert ds.AcquisitionTime == ds.ContentTime == f"080000.{number % 2}"
        assert ds.pixel_array.shape == (512, 512)
        assert ds.pixel_array.std() > 100
        assert all(element.value is not None for element in ds.iterall())  # every element can be parsed


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    one = [w.path.read_bytes() for w in ct_set(tmp_path / "1", 3, size=32)]
    two = [w.path.read_bytes() for w in ct_set(tmp_path / "2", 3, size=32)]
    assert one == two
    assert len(set(one)) == 3


def test_slices_are_written_one_by_one(tmp_path: Path) -> None:
    slices = ct_set(tmp_path, 100, size=16)
    next(slices)
    assert len(list(tmp_path.rglob("*.dcm"))) == 1
    slices.close()
