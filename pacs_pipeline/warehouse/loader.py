"""Writes partitions: all rows of one are replaced in one transaction, and only behind a PASS verdict."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pacs_pipeline.errors import NotAllowed
from pacs_pipeline.records import Manifest, Verdict, VerdictStatus
from pacs_pipeline.warehouse.database import WRITER_WAIT_SECONDS, sql, transaction, writing

TABLES = ("instances", "series", "studies")
_WRONG = {  # columns of check.sql, in words
    "repeated_instances": "instances stand twice in the table",
    "without_object": "instances have no verified object with their content in the bucket",
    "with_several_objects": "instances have several objects in the table of published objects",
    "repeated_series": "series stand twice in the table",
    "repeated_studies": "studies stand twice in the table",
}


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """What a partition holds after a load, and the instances it held before."""

    studies: int
    series: int
    instances: int
    bytes: int
    replaced: int


def prepare(path: Path, *, wait_seconds: float = WRITER_WAIT_SECONDS) -> None:
    """Create the database or bring its schema up to date; raises what stands in the way of writing."""
    with writing(path, wait_seconds=wait_seconds):
        pass


def replace_partition(
    path: Path,
    partition_id: str,
    site: str,
    tables: Mapping[str, Path],
    published: Path,
    manifest: Manifest,
    verdict: Verdict,
    now: dt.datetime,
    *,
    wait_seconds: float = WRITER_WAIT_SECONDS,
) -> LoadCounts:
    """Replace the rows of one partition by those of its Parquet ``tables``; doing it again changes nothing.

    ``partition_id`` is opaque (the original study date is not stored), ``tables`` has the paths of
    ``instances``, ``series`` and ``studies``, ``published`` that of the objects that were put and verified.

    Raises NotAllowed, with nothing changed, unless ``verdict`` is a PASS on exactly ``manifest``, the tables are
    byte for byte those of the manifest, and every instance has an object of the same SHA-256 and size.
    Raises Busy when another process keeps the database for longer than ``wait_seconds``.
    """
    _gate(manifest, verdict, tables)
    with writing(path, wait_seconds=wait_seconds) as connection:
        _set_variables(
            connection,
            partition_id=partition_id,
            site=site,
            published=str(published),
            manifest_digest=manifest.digest,
            contracts_fingerprint=verdict.contracts_fingerprint,
            profile_fingerprint=manifest.inputs.get("profile"),
            published_at=now,
            **{name: str(tables[name]) for name in TABLES},
        )
        with transaction(connection):
            before = _counts(connection)
            connection.execute(sql("withdraw"))
            connection.execute(sql("load"))
            _check(connection, manifest)
            after = _counts(connection)
    studies, series, instances, size = after
    return LoadCounts(studies, series, instances, size, replaced=before[2])


def withdraw_partition(path: Path, partition_id: str, *, wait_seconds: float = WRITER_WAIT_SECONDS) -> LoadCounts:
    """Remove all rows of a partition; nothing happens when it has none. ``replaced`` counts the instances."""
    with writing(path, wait_seconds=wait_seconds) as connection:
        _set_variables(connection, partition_id=partition_id)
        with transaction(connection):
            before = _counts(connection)
            connection.execute(sql("withdraw"))
    return LoadCounts(0, 0, 0, 0, replaced=before[2])


def _gate(manifest: Manifest, verdict: Verdict, tables: Mapping[str, Path]) -> None:
    """The verdict binds the manifest, the manifest binds the tables; a break anywhere withholds the partition."""
    nothing = f"{manifest.partition}: nothing was published"
    if verdict.status is not VerdictStatus.PASSED:
        raise NotAllowed(
            f"{nothing}, the verdict is {verdict.status.value}", fix="see the failing rules in the Data Docs"
        )
    if verdict.manifest_digest != manifest.digest:
        raise NotAllowed(f"{nothing}, the verdict is about other data", fix="validate the partition again")
    for name in TABLES:
        reference = manifest.tables.get(name)
        if reference is None or name not in tables:
            raise NotAllowed(f"{nothing}, there is no table '{name}'", fix="run the partition again from deidentify")
        try:
            with tables[name].open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise NotAllowed(
                f"{nothing}, the table '{name}' cannot be read ({error.strerror})",
                fix="run the partition again from deidentify",
            ) from error
        if actual != reference.sha256:
            raise NotAllowed(
                f"{nothing}, the table '{name}' is not the one that was judged",
                fix="run the partition again from deidentify",
            )


def _check(connection: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
    answer = connection.execute(sql("check"))
    names = [column[0] for column in answer.description or ()]
    found = dict(zip(names, answer.fetchone() or (), strict=True))
    wrong = [f"{found[column]} {words}" for column, words in _WRONG.items() if found[column]]
    if wrong:
        raise NotAllowed(
            f"{manifest.partition}: nothing was published, {'; '.join(wrong)}",
            fix="publish the partition again; if it stays, run it from deidentify",
        )


def _counts(connection: duckdb.DuckDBPyConnection) -> tuple[int, int, int, int]:
    row = connection.execute(sql("counts")).fetchone()
    return (row[0], row[1], row[2], row[3]) if row else (0, 0, 0, 0)


def _set_variables(connection: duckdb.DuckDBPyConnection, **values: str | dt.datetime | None) -> None:
    for name, value in values.items():
        connection.execute(f"SET VARIABLE {name} = ?", [value])
