"""Writes a sample population to disk, instance by instance, with a table of what was planted where."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.filewriter import dcmwrite

from pacs_pipeline.demo.atomic import write_text
from pacs_pipeline.demo.instances import instances
from pacs_pipeline.demo.plan import Population
from pacs_pipeline.errors import SettingsError

FORMAT = 1
"""Raised whenever equal parameters would give other bytes than before."""
TABLE = "population.csv"
PARAMETERS = "population.json"
COLUMNS = (
    "site",
    "path",
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "StudyInstanceUID",
    "StudyDate",
    "AccessionNumber",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "Modality",
    "SOPClassUID",
    "TransferSyntaxUID",
    "SpecificCharacterSet",
    "burned_in",
    "identifiers",
)


@dataclass(frozen=True, slots=True)
class WrittenInstance:
    """One file of the population; ``path`` is relative to its folder and ``identifiers`` is what names the patient."""

    site: str
    path: str
    PatientID: str
    IssuerOfPatientID: str
    PatientName: str
    StudyInstanceUID: str
    StudyDate: str
    AccessionNumber: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    Modality: str
    SOPClassUID: str
    TransferSyntaxUID: str
    SpecificCharacterSet: str
    burned_in: bool
    identifiers: tuple[str, ...]
    size: int

    def row(self) -> list[str]:
        """The instance as a row of ``population.csv``."""
        values = [getattr(self, column) for column in COLUMNS[:-2]]
        return [*values, "yes" if self.burned_in else "no", json.dumps(self.identifiers, ensure_ascii=False)]


@dataclass(frozen=True, slots=True)
class PopulationSummary:
    """What a population came to."""

    patients: int
    studies: int
    series: int
    instances: int
    bytes: int
    folder: Path


def is_complete(out: Path, population: Population | None = None) -> bool:
    """Whether ``out`` holds all of exactly this population (by default of any): the table is written last."""
    found = _read_parameters(out)
    wanted = found if population is None else _parameters(population)
    return found is not None and found == wanted and (out / TABLE).is_file()


def generate(
    out: Path, population: Population, on_progress: Callable[[WrittenInstance], None] | None = None
) -> PopulationSummary:
    """Write ``population`` below ``out`` and say what it came to; ``on_progress`` hears of every instance.

    Running it again writes the same bytes over the same files, so an interrupted run is simply repeated.
    Raises SettingsError when ``out`` holds anything else.
    """
    patients = studies = series = count = size = 0
    last: WrittenInstance | None = None
    for written in write_population(out, population):
        # patients, their studies and the series of those come one after the other, never mixed
        patients += last is None or written.PatientID != last.PatientID
        studies += last is None or written.StudyInstanceUID != last.StudyInstanceUID
        series += last is None or written.SeriesInstanceUID != last.SeriesInstanceUID
        last = written
        count += 1
        size += written.size
        if on_progress:
            on_progress(written)
    return PopulationSummary(patients, studies, series, count, size, out)


def write_population(out: Path, population: Population) -> Iterator[WrittenInstance]:
    """Write ``population`` as ``out/<site>/<study>/<series>/<instance>.dcm`` and ``out/population.csv``, lazily.

    Nothing is written before the first item is asked for; the table gets its name when the last one was.
    Raises SettingsError when ``out`` holds another population or other files.
    """
    _claim(out, population)
    partial = out / f"{TABLE}.partial"
    with partial.open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(COLUMNS)
        for written in _write_instances(out, population):
            rows.writerow(written.row())
            yield written
        table.flush()
        os.fsync(table.fileno())
    partial.replace(out / TABLE)


def _write_instances(out: Path, population: Population) -> Iterator[WrittenInstance]:
    for series in population.series():
        study, patient = series.study, series.study.patient
        folder = Path(study.site, study.StudyInstanceUID, series.SeriesInstanceUID)
        (out / folder).mkdir(parents=True, exist_ok=True)
        for ds, identifiers in instances(series):
            buffer = io.BytesIO()
            dcmwrite(buffer, ds, enforce_file_format=True)
            path = folder / f"{ds.SOPInstanceUID}.dcm"
            (out / path).write_bytes(buffer.getvalue())
            yield WrittenInstance(
                site=study.site,
                path=path.as_posix(),
                PatientID=patient.PatientID,
                IssuerOfPatientID=patient.IssuerOfPatientID,
                PatientName=patient.PatientName,
                StudyInstanceUID=study.StudyInstanceUID,
                StudyDate=f"{study.when:%Y%m%d}",
                AccessionNumber=study.AccessionNumber,
                SeriesInstanceUID=series.SeriesInstanceUID,
                SOPInstanceUID=ds.SOPInstanceUID,
                Modality=ds.Modality,
                SOPClassUID=ds.SOPClassUID,
                TransferSyntaxUID=ds.file_meta.TransferSyntaxUID,
                SpecificCharacterSet="\\".join(patient.script.SpecificCharacterSet),
                burned_in=any(text.startswith("pixels: ") for text in identifiers),
                identifiers=tuple(dict.fromkeys(identifiers)),
                size=buffer.tell(),
            )


def _claim(out: Path, population: Population) -> None:
    """Take the folder for this population, or refuse: two populations in one folder would be neither."""
    out.mkdir(parents=True, exist_ok=True)
    found = _read_parameters(out)
    if found == _parameters(population):
        return
    leftover = out / f"{PARAMETERS}.partial"
    if found is not None or any(entry != leftover for entry in out.iterdir()):
        content = "another sample population" if found is not None else "other files"
        raise SettingsError(f"the folder {out} holds {content}", fix="name an empty or new folder with --out")
    write_text(out / PARAMETERS, json.dumps(_parameters(population), indent=1, sort_keys=True) + "\n")


def _parameters(population: Population) -> dict[str, object]:
    return {
        "format": FORMAT,
        "patients": population.patients,
        "seed": population.seed,
        "sites": list(population.sites),
        "instances": population.instances,
        "days": population.days,
        "base_date": population.base_date.isoformat(),
    }


def _read_parameters(out: Path) -> object:
    try:
        return json.loads((out / PARAMETERS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
