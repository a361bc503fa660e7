"""Reads from a Parquet table exactly what the rules of its contract need, and nothing wider into memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pacs_pipeline.contracts.checks import CheckSpec, Contract, Kind

if TYPE_CHECKING:
    import pandas as pd

#: What Arrow calls the types of a contract; a dictionary or a large string is still a string.
_ARROW_NAMES = {
    "string": {"string", "large_string", "string_view"},
    "date32": {"date32[day]"},
}


class Unreadable(Exception):
    """A table is missing or is no Parquet file; the text says which, without a value."""


class Table:
    """One Parquet file: its footer at once, its columns on demand. Raises Unreadable."""

    def __init__(self, path: Path | None) -> None:
        if path is None or not path.is_file():
            raise Unreadable("the table is missing")
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise Unreadable(f"the table cannot be read as Parquet ({type(error).__name__})") from None
        self.rows: int = self._file.metadata.num_rows
        self._types: Mapping[str, pa.DataType] = {field.name: field.type for field in self._file.schema_arrow}

    def has(self, columns: Iterable[str]) -> bool:
        """Whether all of ``columns`` are there."""
        return all(name in self._types for name in columns)

    def departures(self, contract: Contract) -> Mapping[str, str]:
        """Columns that are not as agreed, each with what is wrong."""
        wrong = {}
        for column in contract.columns:
            if column.name not in self._types:
                wrong[column.name] = "is missing"
            elif not _is(self._types[column.name], column.physical_type):
                wrong[column.name] = f"is {self._types[column.name]} instead of {column.physical_type}"
        for name in self._types:
            if contract.column(name) is None:
                wrong[name if name.isidentifier() else "a column"] = "is not in the contract"
        names = self._file.schema_arrow.names
        for name in {name for name in names if names.count(name) > 1}:
            wrong[name if name.isidentifier() else "a column"] = "is there twice"
        return wrong

    def frame(self, checks: Iterable[CheckSpec]) -> pd.DataFrame:
        """The columns that ``checks`` look at. Of a column that only must be present, only whether it is."""
        import pandas as pd

        checks = list(checks)
        needed = dict.fromkeys(name for check in checks for name in check.columns)
        full = [name for name in needed if any(name in c.columns and c.kind is not Kind.NOT_NULL for c in checks)]
        try:
            frame: pd.DataFrame = self._arrow(full).to_pandas(types_mapper=_pandas_types().get, date_as_object=True)
            for name in needed:
                if name not in full:
                    frame[name] = self._presence(name)
        except (pa.ArrowException, OSError) as error:
            raise Unreadable(f"the table cannot be read ({type(error).__name__})") from None
        if not needed:
            return pd.DataFrame(index=range(self.rows))
        return frame

    def keys(self, columns: Iterable[str]) -> pd.MultiIndex:
        """The distinct values of ``columns`` together."""
        import pandas as pd

        columns = list(columns)
        return pd.MultiIndex.from_frame(self._arrow(columns).to_pandas(types_mapper=_pandas_types().get))

    def _arrow(self, columns: list[str]) -> pa.Table:
        table = self._file.read(columns=columns)
        for position, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):
                table = table.set_column(position, field.name, table.column(position).cast(field.type.value_type))
        return table

    def _presence(self, name: str) -> pd.Series[Any]:
        """1 where the column has a value, missing elsewhere; read in batches, for wide columns stay on disk."""
        import numpy as np
        import pandas as pd

        batches = self._file.iter_batches(batch_size=4096, columns=[name])
        valid = [batch.column(0).is_valid().to_numpy(zero_copy_only=False) for batch in batches]
        present = np.concatenate(valid) if valid else np.zeros(0, dtype=bool)
        return pd.Series(pd.arrays.IntegerArray(np.ones(len(present), dtype="int64"), ~present))


def _is(actual: pa.DataType, agreed: str) -> bool:
    if pa.types.is_dictionary(actual):
        actual = actual.value_type
    return str(actual) in _ARROW_NAMES.get(agreed, {agreed})


def _pandas_types() -> dict[pa.DataType, Any]:
    """Nullable integers: a missing count must not turn its column into floats."""
    import pandas as pd

    return {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}


def usable(check: CheckSpec, departures: Mapping[str, str]) -> str:
    """Empty when the check's columns are as agreed, otherwise what is wrong with the first that is not."""
    return next((f"{name} {departures[name]}" for name in check.columns if name in departures), "")
