"""Parquet tables: written as a stream, atomically and with the same bytes for the same rows; read in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pacs_pipeline.errors import Permanent
from pacs_pipeline.records import TableRef
from pacs_pipeline.storage.atomic import file_sha256, replacing


def write_table(
    path: Path,
    rows: Iterable[Mapping[str, object]],
    schema: pa.Schema,
    batch: int = 1000,
    *,
    below: Path | None = None,
) -> TableRef:
    """Write ``rows`` to ``path``, holding ``batch`` rows in memory, and say what was written.

    A column that a row lacks is null; a column the schema lacks, or a value of another type, raises
    Permanent naming the column, never the value. The reference's path is relative to ``below``, by
    default to the folder of ``path``.
    """
    count = 0
    with replacing(path) as file, pq.ParquetWriter(file, schema, compression="zstd", compression_level=3) as writer:
        for chunk in _batches(rows, batch):
            writer.write_batch(_record_batch(chunk, schema, path.name))
            count += len(chunk)
    return TableRef(path=path.relative_to(below or path.parent).as_posix(), rows=count, sha256=file_sha256(path))


def read_rows(path: Path, columns: Sequence[str] | None = None, batch: int = 1000) -> Iterator[dict[str, Any]]:
    """The rows of the table at ``path`` in the order written, ``batch`` of them in memory at a time.

    Raises Permanent when the file is missing or not a table, or lacks one of ``columns``.
    """
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns or () if name not in file.schema_arrow.names]
            if missing:
                raise Permanent(
                    f"the table {path} has no column {', '.join(missing)}",
                    fix="run the stage that wrote it again with this version",
                )
            for chunk in file.iter_batches(batch_size=batch, columns=columns):
                yield from chunk.to_pylist()
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or "it is not a whole Parquet file"
        raise Permanent(
            f"the table {path} cannot be read ({reason})", fix="run the stage that wrote it again"
        ) from error


def _batches(rows: Iterable[Mapping[str, object]], size: int) -> Iterator[list[Mapping[str, object]]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _record_batch(rows: list[Mapping[str, object]], schema: pa.Schema, table: str) -> pa.RecordBatch:
    known = frozenset(schema.names)
    for row in rows:
        if not known.issuperset(row):
            raise Permanent(f"{table}: there is no column {', '.join(sorted(set(row) - known))}", fix="report this bug")
    columns = []
    for field in schema:
        try:
            columns.append(pa.array([row.get(field.name) for row in rows], type=field.type))
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            # the library's message quotes the value, which may be PHI: neither shown nor chained
            raise Permanent(
                f"{table}: a value of column {field.name} is no {field.type}", fix="report this bug"
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)
