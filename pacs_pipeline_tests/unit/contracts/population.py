"""Small tables that keep every rule of the project's contracts, and how to write them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pacs_pipeline.contracts import Contract

CONTRACTS = Path(__file__).parents[3] / "data_contracts"

Row = dict[str, Any]
Tables = dict[str, list[Row]]

_ARROW = {
    "string": pa.string(),
    "date32": pa.date32(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp[us]": pa.timestamp("us"),
}
SERIES_PER_STUDY, INSTANCES_PER_SERIES = 3, 4


def uid(*parts: object) -> str:
    return f"2.25.{int.from_bytes(_digest(parts)[:15], 'big')}"


def _digest(parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def pseudonym(patient: int) -> str:
    return "P" + _digest(patient)[:10].hex().upper()


def good_tables(studies: int = 2) -> Tables:
    """Two patients with a study each; every second series is no image, as an RT plan is none."""
    tables: Tables = {"census": [], "instances": [], "series": [], "studies": []}
    for study in range(studies):
        for series in range(SERIES_PER_STUDY):
            names = {
                "SeriesInstanceUID": uid(study, series),
                "StudyInstanceUID": uid(study),
                "PatientID": pseudonym(study),
            }
            for instance in range(INSTANCES_PER_SERIES):
                tables["instances"].append(_instance(names, study, series, instance))
            tables["series"].append(
                {
                    **names,
                    "Modality": "CT",
                    "SeriesNumber": series,
                    "BodyPartExamined": "CHEST",
                    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
                    "instances": INSTANCES_PER_SERIES,
                    "size": 4096,
                }
            )
            tables["census"].append(
                {
                    "StudyInstanceUID": f"1.2.3.{study}",
                    "StudyDate": dt.date(2026, 3, 1),
                    "StudyTime": "101112.5",
                    "ModalitiesInStudy": "CT\\SR",
                    "NumberOfStudyRelatedInstances": SERIES_PER_STUDY * INSTANCES_PER_SERIES,
                    "SeriesInstanceUID": f"1.2.3.{study}.{series}",
                    "Modality": "CT",
                    "NumberOfSeriesRelatedInstances": INSTANCES_PER_SERIES,
                    "excluded": "" if series else "exclude_modalities",
                }
            )
        tables["studies"].append(
            {
                "StudyInstanceUID": uid(study),
                "PatientID": pseudonym(study),
                "StudyDate": dt.date(2019, 5, 7),
                "ModalitiesInStudy": "CT",
                "series": SERIES_PER_STUDY,
                "instances": SERIES_PER_STUDY * INSTANCES_PER_SERIES,
                "size": 4096,
            }
        )
    return tables


def _instance(names: Row, study: int, series: int, instance: int) -> Row:
    image = series % 2 == 0
    return {
        "SOPInstanceUID": uid(study, series, instance),
        **names,
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "TransferSyntaxUID": "1.2.840.10008.1.2.1",
        "Modality": "CT",
        "StudyDate": dt.date(2019, 5, 7),
        "SeriesNumber": series,
        "InstanceNumber": instance,
        "Rows": 512 if image else None,
        "Columns": 512 if image else None,
        "NumberOfFrames": 1 if instance == 0 else None,
        "BitsAllocated": 16 if image else None,
        "PhotometricInterpretation": "MONOCHROME2" if image else None,
        "BodyPartExamined": "CHEST" if image else None,
        "ImageType": "ORIGINAL\\PRIMARY\\AXIAL" if image else None,
        "Manufacturer": "ACME",
        "ManufacturerModelName": None,
        "size": 1024,
        "sha256": _digest((study, series, instance)).hex(),
        "path": f"instances/{uid(study, series)}/{uid(study, series, instance)}.dcm",
        "header": '{"00080060": {"vr": "CS", "Value": ["CT"]}}',
        "profile_fingerprint": "a" * 64,
        "code_version": "1.0",
        "actions": '{"C":2,"U":5,"X":41}',
        "regions_redacted": 0,
        "residue_scan": "clean",
        "identifiers_sought": 37,
    }


def write(contracts: tuple[Contract, ...], tables: Mapping[str, list[Row]], folder: Path) -> dict[str, Path]:
    """One Parquet file per table that has a contract, below a hive-style folder as the stages have it."""
    place = folder / "site=hamburg" / "study_date=2026-03-01"
    place.mkdir(parents=True, exist_ok=True)
    paths = {}
    for contract in contracts:
        schema = pa.schema([(column.name, _ARROW[column.physical_type]) for column in contract.columns])
        table = pa.Table.from_pylist(tables[contract.name], schema=schema)
        paths[contract.name] = place / f"{contract.name}.parquet"
        pq.write_table(table, paths[contract.name])
    return paths
