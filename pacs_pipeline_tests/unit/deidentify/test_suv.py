"""Times and dates that are computed with together: the SUV factor of a PET image by body weight stays the same."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from pacs_pipeline.deidentify import Deidentifier, Keys, load_profile

from . import builder

PET = "1.2.840.10008.5.1.4.1.1.128"


def moment(date: str, time: str) -> dt.datetime:
    whole, _, fraction = time.partition(".")
    return dt.datetime.strptime(f"{date}{whole}", "%Y%m%d%H%M%S") + dt.timedelta(seconds=float(f"0.{fraction or 0}"))


def suv_factor(ds: FileDataset) -> float:
    """Grams over the dose that is left when the scan starts, in Bq."""
    (tracer,) = ds.RadiopharmaceuticalInformationSequence
    injected = str(tracer.RadiopharmaceuticalStartDateTime)
    elapsed = moment(ds.SeriesDate, str(ds.SeriesTime)) - moment(injected[:8], injected[8:])
    left = float(tracer.RadionuclideTotalDose) * 2 ** (-elapsed.total_seconds() / float(tracer.RadionuclideHalfLife))
    return float(ds.PatientWeight) * 1000 / left


@pytest.mark.parametrize("profile", ["research", "limited"])
@pytest.mark.parametrize(
    ("injected", "date", "time"),
    [("20200317101500.25", "20200317", "111530.5"), ("20200317235900", "20200318", "005900")],
    ids=["one day", "over midnight"],
)
def test_the_suv_factor_is_unchanged(
    keys: Keys, tmp_path: Path, profile: str, injected: str, date: str, time: str
) -> None:
    tracer = Dataset()
    tracer.RadiopharmaceuticalStartDateTime = injected
    tracer.RadiopharmaceuticalStartTime = injected[8:]
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = "370000000", "6586.2"
    ds = builder.image(SOPClassUID=PET, Modality="PT", SeriesDate=date, SeriesTime=time, PatientWeight="81.5")
    ds.Units, ds.DecayCorrection, ds.CorrectedImage = "BQML", "START", ["DECY", "ATTN"]
    ds.RadiopharmaceuticalInformationSequence = Sequence([tracer])
    engine = Deidentifier(load_profile(profile), keys)
    outcome = engine.deidentify(builder.save(ds, tmp_path / "in.dcm"), tmp_path / "out")
    assert outcome.output is not None, outcome.detail
    clean = builder.load(outcome.output)
    assert suv_factor(clean) == pytest.approx(suv_factor(ds), rel=1e-12)
    assert (clean.Units, clean.DecayCorrection, list(clean.CorrectedImage)) == ("BQML", "START", ["DECY", "ATTN"])
    moved = clean.SeriesDate != date
    assert moved is (profile == "research")
