"""Opens the DuckDB file: one writer at a time, readers that change nothing; the schema and its migrations."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import duckdb

from pacs_pipeline.errors import Busy, Permanent, PipelineError, Transient

MEMORY_LIMIT = "1GB"
WRITER_WAIT_SECONDS = 60.0
READER_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.1
_SQL = files("pacs_pipeline.warehouse") / "sql"
_MIGRATION = re.compile(r"(\d{4})_(\w+)\.sql")
_OF_THE_DATA = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, duckdb.ConversionException)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; applied once, in order, in a transaction of its own."""

    version: int
    name: str
    sql: str


@contextmanager
def writing(path: Path, *, wait_seconds: float = WRITER_WAIT_SECONDS) -> Iterator[duckdb.DuckDBPyConnection]:
    """The database at ``path``, created when missing and at the newest schema, open for writing.

    Raises Busy when another process keeps it open for longer than ``wait_seconds``, Permanent when the file
    cannot be used.
    """
    _make_folder(path)
    if not path.exists():
        _create(path)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "preserve_insertion_order": "false",  # or a large load is held in memory to keep its order
        "python_enable_replacements": "false",
        "temp_directory": str(_spill_folder(path)),
    }
    connection = _patiently(lambda: duckdb.connect(str(path), config=config), path, wait_seconds)
    try:
        with duckdb_errors(path):
            migrate(connection)
            yield connection
    finally:
        connection.close()


@contextmanager
def reading(path: Path, *, wait_seconds: float = READER_WAIT_SECONDS) -> Iterator[duckdb.DuckDBPyConnection]:
    """The database at ``path``, read-only and cut off from files and the network, its settings locked.

    Raises Permanent when nothing was published yet, Busy while a load holds the file.
    """
    if not path.exists():
        raise Permanent(
            f"nothing is published yet: there is no warehouse at {path}",
            fix="run 'pacs-pipeline run --site … --from … --to …' or materialise a partition first",
        )
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "enable_external_access": "false",
        "python_enable_replacements": "false",  # or SELECT * FROM x finds Python variables called x
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "lock_configuration": "true",
    }
    connection = _patiently(lambda: duckdb.connect(str(path), read_only=True, config=config), path, wait_seconds)
    try:
        yield connection
    finally:
        connection.close()


def migrations() -> tuple[Migration, ...]:
    """All steps of the schema, oldest first."""
    found = []
    for file in (_SQL / "migrations").iterdir():
        match = _MIGRATION.fullmatch(file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda step: step.version))


def migrate(connection: duckdb.DuckDBPyConnection, steps: tuple[Migration, ...] | None = None) -> int:
    """Bring the schema to the newest of ``steps`` and return its version.

    Raises Permanent when the database is newer than this code.
    """
    steps = migrations() if steps is None else steps
    connection.execute(sql("schema_version"))
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    present = int(row[0]) if row else 0
    newest = steps[-1].version
    if present > newest:
        raise Permanent(
            f"the warehouse has schema version {present}, this pacs_pipeline knows {newest}",
            fix="upgrade pacs_pipeline, or point warehouse.path at another file",
        )
    for step in steps:
        if step.version > present:
            with transaction(connection):
                connection.execute(step.sql)
                connection.execute(
                    "INSERT INTO schema_version VALUES (?, ?, current_timestamp)", [step.version, step.name]
                )
    return newest


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block or nothing of it."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # a COMMIT that failed has already ended the transaction; the error on its way says why
        if _in_transaction(connection):
            connection.execute("ROLLBACK")
        raise


def sql(name: str) -> str:
    """The text of ``sql/<name>.sql``."""
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")


def sql_files(folder: str) -> dict[str, str]:
    """Name and text of every file in ``sql/<folder>``, by name."""
    found = {file.name.removesuffix(".sql"): file for file in (_SQL / folder).iterdir() if file.name.endswith(".sql")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


@contextmanager
def duckdb_errors(path: Path) -> Iterator[None]:
    """Turn DuckDB's errors inside the block into the project's; values of rows are never shown."""
    try:
        yield
    except _OF_THE_DATA as error:
        raise Permanent(
            f"the warehouse refused the rows ({type(error).__name__}); nothing was changed",
            fix="validate the partition again: its tables break a rule that no contract names",
        ) from None  # the message of DuckDB quotes the value
    except duckdb.Error as error:
        raise _project_error(error, path) from error


def _project_error(error: duckdb.Error, path: Path) -> PipelineError:
    text = str(error).partition("\n")[0]
    if "No space left" in text or "Disk quota" in text:
        return Transient(f"the disk of the warehouse {path} is full", fix="free space there, then run again")
    if isinstance(error, duckdb.OutOfMemoryException):
        return Permanent(
            f"the warehouse {path} needs more memory than it may use ({MEMORY_LIMIT}) or its disk has no room to spill",
            fix="free space beside the warehouse; report it if that does not help",
        )
    if isinstance(error, duckdb.TransactionException):
        return Busy(f"the warehouse {path} was changed by another load at the same time", fix="run again")
    return Permanent(f"the warehouse {path} cannot be used ({text})", fix="restore it from a backup, or move it away")


def _patiently(
    connect: Callable[[], duckdb.DuckDBPyConnection], path: Path, wait_seconds: float
) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return connect()
        except duckdb.Error as error:
            if not _held_elsewhere(error):
                raise _project_error(error, path) from error
            if time.monotonic() >= deadline:
                raise Busy(
                    f"the warehouse {path} is open in another process",
                    fix="wait until that load or session has ended, then run again; close DuckDB shells on the file",
                ) from error
        time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def _held_elsewhere(error: duckdb.Error) -> bool:
    """Another process holds the lock, or this one has it open with other rights; DuckDB has no code for either."""
    text = str(error)
    return "Could not set lock" in text or "different configuration" in text


def _in_transaction(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("BEGIN")
    except duckdb.TransactionException:
        return True
    connection.execute("ROLLBACK")
    return False


def _create(path: Path) -> None:
    """Make the database elsewhere and link it into place: a run killed meanwhile leaves no half-made file."""
    new = _spill_folder(path) / f"new-{secrets.token_hex(8)}.duckdb"
    try:
        with duckdb_errors(path), duckdb.connect(str(new)) as connection:
            migrate(connection)
        path.hardlink_to(new)
    except FileExistsError:
        pass  # another process was faster; its database is as good
    except OSError:
        new.replace(path)  # a file system without hard links
    finally:
        new.unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _spill_folder(path).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Permanent(
            f"the folder of the warehouse {path} cannot be made ({error.strerror})",
            fix="let this user write there, or change warehouse.path",
        ) from error


def _spill_folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.spill")
