"""A small partition as Parquet tables with its manifest and a PASS verdict, and ways to spoil it."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pacs_pipeline import warehouse
from pacs_pipeline.records import ContractResult, Manifest, Partition, Stage, TableRef, Verdict, VerdictStatus

NOW = dt.datetime(2024, 5, 1, 2, 30, tzinfo=dt.UTC)


@dataclass
class Staged:
    """One partition: change its rows, then ``load`` it."""

    folder: Path
    partition_id: str = "p1"
    site: str = "north"
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.fill()

    def fill(self, instances: int = 6, patient: str = "P1", day: int = 1, salt: str = "") -> Staged:
        """Two series in one study."""
        study = f"2.25.1{day}{patient[1:]}"
        rows = [
            {
                "SOPInstanceUID": f"{study}.{i}",
                "SeriesInstanceUID": f"{study}.9{i % 2}",
                "StudyInstanceUID": study,
                "PatientID": patient,
                "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
                "TransferSyntaxUID": "1.2.840.10008.1.2.1",
                "Modality": "CT",
                "StudyDate": dt.date(2019, 3, day),
                "Rows": 512,
                "Columns": 512,
                "ManufacturerModelName": "Scanner",
                "size": 1000 + i,
                "sha256": hashlib.sha256(f"{salt}{study}{i}".encode()).hexdigest(),
                "path": f"instances/{i}.dcm",
                "header": '{"KVP": 120, "SliceThickness": "1.5", "ImageType": ["ORIGINAL", "PRIMARY"]}',
                "profile_fingerprint": "f" * 64,
                "code_version": "1",
                "actions": '{"X":3}',
                "regions_redacted": 0,
                "residue_scan": "clean",
                "identifiers_sought": 21,
            }
            for i in range(instances)
        ]
        common = {"StudyInstanceUID": study, "PatientID": patient}
        series = sorted({row["SeriesInstanceUID"] for row in rows})
        self.rows = {
            "instances": rows,
            "series": [common | {"SeriesInstanceUID": s, "Modality": "CT", "instances": 1, "size": 1} for s in series],
            "studies": [
                common
                | {
                    "StudyDate": dt.date(2019, 3, day),
                    "ModalitiesInStudy": "CT\\SEG",
                    "series": len(series),
                    "instances": instances,
                    "size": sum(row["size"] for row in rows),
                }
            ]
            if rows
            else [],
            "published": [
                {k: row[k] for k in ("SOPInstanceUID", "SeriesInstanceUID", "sha256", "size")}
                | {"key": row["SOPInstanceUID"], "uri": f"s3://research/{row['SOPInstanceUID']}.dcm"}
                for row in rows
            ],
        }
        return self

    def paths(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.parquet" for name in ("instances", "series", "studies")}

    def write(self) -> Manifest:
        """Write the tables; the manifest speaks of exactly these."""
        for name, rows in self.rows.items():
            schema = SCHEMAS[name]
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), self.folder / f"{name}.parquet")
        tables = {
            name: TableRef(path.name, len(self.rows[name]), hashlib.sha256(path.read_bytes()).hexdigest())
            for name, path in self.paths().items()
        }
        partition = Partition(self.site, dt.date(2024, 3, 31))
        return Manifest(Stage.DEIDENTIFY, partition, {"profile": "f" * 64}, tables)

    def load(self, database: Path, **changes: Any) -> warehouse.LoadCounts:
        manifest = self.write()
        arguments: dict[str, Any] = {
            "tables": self.paths(),
            "published": self.folder / "published.parquet",
            "manifest": manifest,
            "verdict": passed(manifest),
            "now": NOW,
        }
        return warehouse.replace_partition(database, self.partition_id, self.site, **(arguments | changes))


def passed(manifest: Manifest) -> Verdict:
    return Verdict(manifest.digest, "c" * 64, (ContractResult("instances", "1.0.0", VerdictStatus.PASSED, ()),))


def with_status(verdict: Verdict, status: VerdictStatus) -> Verdict:
    return replace(verdict, results=tuple(replace(result, status=status) for result in verdict.results))


def _schema(text: str, numbers: str, dates: str = "") -> pa.Schema:
    return pa.schema(
        [(n, pa.string()) for n in text.split()]
        + [(n, pa.int64()) for n in numbers.split()]
        + [(n, pa.date32()) for n in dates.split()]
    )


# the loader names its columns, so their order does not matter; that they are those of storage is an integration test
SCHEMAS = {
    "instances": _schema(
        "SOPInstanceUID SeriesInstanceUID StudyInstanceUID PatientID SOPClassUID TransferSyntaxUID Modality "
        "PhotometricInterpretation BodyPartExamined ImageType Manufacturer ManufacturerModelName sha256 path header "
        "profile_fingerprint code_version actions residue_scan",
        "SeriesNumber InstanceNumber Rows Columns NumberOfFrames BitsAllocated size regions_redacted "
        "identifiers_sought",
        "StudyDate",
    ),
    "series": _schema(
        "SeriesInstanceUID StudyInstanceUID PatientID Modality BodyPartExamined SOPClassUID",
        "SeriesNumber instances size",
    ),
    "studies": _schema("StudyInstanceUID PatientID ModalitiesInStudy", "series instances size", "StudyDate"),
    "published": _schema("SOPInstanceUID SeriesInstanceUID key uri sha256", "size"),
}
