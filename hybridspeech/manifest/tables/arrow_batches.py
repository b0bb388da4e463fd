"""Columns of Arrow, of a Parquet file or of a DataFrame, to batches of rows. Knows nothing of what the rows mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.tables.source_rows import TEXTS
from hybridspeech.manifest.tables.table_batch import TableBatch
from hybridspeech.manifest.tables.table_layout import FIELDS, REQUIRED, SECOND_FIELDS, TEXT_FIELDS, TableLayout
from hybridspeech.manifest.tables.table_row import NOT_UTF8, check_columns

BATCH_ROWS = 1 << 18


def columns_of(layout: TableLayout, present: list[str]) -> dict[str, str]:
    """Return the table's column of each field that it has.

    Raises
    ------
    ManifestError: there is no column for paths or labels, or for another field that needs one.
    """
    found = {name: column for name in FIELDS if (column := layout.column_of(name, present)) is not None}
    for name in (*REQUIRED, *layout.required):
        if name not in found:
            wanted = layout.columns.get(name, (name,))
            raise ManifestError(
                f"{layout.table}: no column {wanted[0]!r}; it has {', '.join(map(str, present)) or 'none'}. Name the one to "
                f"use: --columns {name}=NAME"
            )
    return found


def parquet_batches(layout: TableLayout, local: Path) -> Iterator[TableBatch]:
    """Yield the rows of a Parquet file.

    Raises
    ------
    ManifestError: a column is missing. ValueError: the file is damaged, or not UTF-8.
    """
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(local).names
        check_columns(names)
        found = columns_of(layout, names)
        coded = [column for name, column in found.items() if name in TEXTS]
        with pyarrow.parquet.ParquetFile(local, read_dictionary=coded) as file:
            wanted = list(dict.fromkeys(found.values()))
            yield from _batches(layout, file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False), found)
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error


def arrow_batches(layout: TableLayout, table: Any, first: int = 1) -> Iterator[TableBatch]:
    """Yield the rows of an Arrow table, whose first row has number `first`.

    Raises
    ------
    ManifestError: a column is missing. ValueError: a text is not UTF-8.
    """
    check_columns(table.column_names)
    found = columns_of(layout, table.column_names)
    chosen = table.select(list(dict.fromkeys(found.values())))
    yield from _batches(layout, chosen.to_batches(BATCH_ROWS), found, first)


def _batches(layout: TableLayout, batches: Any, found: Mapping[str, str], first: int = 1) -> Iterator[TableBatch]:
    for batch in batches:
        texts = {name: _text_column(batch, found.get(name), name in TEXTS) for name in TEXT_FIELDS}
        seconds = {name: _second_column(batch, found.get(name)) for name in SECOND_FIELDS}
        yield TableBatch(
            layout=layout,
            columns=None if any(column is None for column in texts.values()) else texts,
            seconds=None if any(column is None for column in seconds.values()) else seconds,  # type: ignore[arg-type]
            fields_of=_Fields(batch, found),
            names=found,
            row_kind="row",
            numbers=np.arange(first, first + batch.num_rows),
        )
        first += batch.num_rows


class _Fields:
    """Returns the values of one row of a batch."""

    def __init__(self, batch: Any, found: Mapping[str, str]) -> None:
        self._batch, self._found = batch, found

    def __call__(self, place: int) -> dict[str, Any]:
        (values,) = self._batch.slice(place, 1).to_pylist()
        return {name: values[column] for name, column in self._found.items()}


def _text_column(batch: Any, name: str | None, is_coded: bool) -> Any:
    """Return a column of texts; nulls if it is absent; None if it has values of another kind."""
    import pyarrow
    from pyarrow import types

    if name is None:
        return pyarrow.nulls(batch.num_rows, pyarrow.large_string())
    column = batch.column(name)
    try:
        column.validate(full=True)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(NOT_UTF8) from error
    if types.is_dictionary(column.type):
        kind = column.type.value_type
        if not (types.is_string(kind) or types.is_large_string(kind)):
            return None
        return column if is_coded else column.cast(pyarrow.large_string())
    if name and types.is_boolean(column.type):
        return None
    known = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_null)
    return column.cast(pyarrow.large_string()) if any(is_kind(column.type) for is_kind in known) else None


def _second_column(batch: Any, name: str | None) -> np.ndarray | None:
    """Return a column of seconds, NaN where there is none; None if it has values of another kind."""
    import pyarrow
    from pyarrow import types

    if name is None:
        return np.full(batch.num_rows, np.nan)
    column = batch.column(name)
    if not any(
        is_kind(column.type) for is_kind in (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    ):
        return None
    numbers: np.ndarray = column.cast(pyarrow.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    return numbers
