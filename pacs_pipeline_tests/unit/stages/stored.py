"""Partitions as the stages leave them, written straight into the zones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from pacs_pipeline import storage
from pacs_pipeline.records import ContractResult, Manifest, Partition, Stage, Verdict, VerdictStatus
from pacs_pipeline.settings import BucketSettings, PacsSettings, Settings, SiteSettings, WarehouseSettings, ZoneSettings
from pacs_pipeline.stages.project import Project

DAY = Partition("north", dt.date(2024, 3, 4))


def project(folder: Path, *sites: str, start: dt.date = dt.date(2024, 3, 1)) -> Project:
    """A project of ``sites`` whose zones and warehouse lie in ``folder``."""
    return Project(
        Settings(
            project="test",
            sites=tuple(
                SiteSettings(
                    name=name,
                    timezone="Europe/Berlin",
                    start_date=start,
                    pacs=PacsSettings(ae_title="PACS", host="127.0.0.1", port=104),
                )
                for name in sites or ("north",)
            ),
            bucket=BucketSettings(name="research"),
            zones=ZoneSettings(root=folder / "zones"),
            warehouse=WarehouseSettings(path=folder / "warehouse.duckdb"),
            secret="s" * 32,
        )
    )


def take_census(of: Project, partition: Partition = DAY, instances: int = 0) -> Manifest:
    series = 1 if instances else 0
    return of.commit(
        Manifest(Stage.CENSUS, partition, {}, counts={"studies": series, "series": series, "instances": instances})
    )


def harvest(of: Project, census: Manifest, rows: Iterable[Mapping[str, object]]) -> Manifest:
    partition = census.partition
    defaults = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "detail": ""}
    table = of.write_table(
        of.zones.landing.make_partition(partition) / "harvest.parquet",
        [{**defaults, **row} for row in rows],
        storage.HARVEST,
    )
    return of.commit(Manifest(Stage.HARVEST, partition, {"census": census.digest}, {"harvest": table}))


def deidentify(of: Project, harvested: Manifest, rows: Iterable[Mapping[str, object]]) -> Manifest:
    partition = harvested.partition
    defaults = {"reason": "", "detail": "", "sha256": "", "outcome": "released"}
    table = of.write_table(
        of.zones.vault.make_partition(partition) / "outcomes.parquet",
        [{**defaults, **row} for row in rows],
        storage.OUTCOMES,
    )
    return of.commit(Manifest(Stage.DEIDENTIFY, partition, {"harvest": harvested.digest}, {"outcomes": table}))


def judge(of: Project, deidentified: Manifest, status: VerdictStatus = VerdictStatus.PASSED) -> Verdict:
    verdict = Verdict(deidentified.digest, "k", (ContractResult("instances", "1.0.0", status, ()),))
    storage.write_verdict(of.zones.state.make_partition(deidentified.partition), verdict)
    return verdict


def publish(of: Project, deidentified: Manifest) -> Manifest:
    return of.commit(Manifest(Stage.PUBLISH, deidentified.partition, {"deidentify": deidentified.digest}))


def in_warehouse(of: Project, rows: Mapping[str, str], partition: Partition = DAY) -> None:
    """Have the warehouse hold exactly ``rows`` (SOPInstanceUID to SHA-256) of the partition."""
    with duckdb.connect(str(of.settings.warehouse.path)) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS instance (partition_id VARCHAR, SOPInstanceUID VARCHAR, sha256 VARCHAR)"
        )
        name = of.partition_id(partition)
        connection.execute("DELETE FROM instance WHERE partition_id = ?", [name])
        found = pa.table(  # noqa: F841 - the query reads it
            {"p": [name] * len(rows), "u": list(rows), "s": list(rows.values())},
            schema=pa.schema([("p", pa.string()), ("u", pa.string()), ("s", pa.string())]),
        )
        connection.execute("INSERT INTO instance SELECT * FROM found")
