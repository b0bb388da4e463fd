"""Lines of a CSV, TSV or JSON lines file to batches of rows. Knows nothing of what the rows mean."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.manifest.columns.text_columns import CHUNK
from hybridspeech.manifest.tables.arrow_batches import columns_of
from hybridspeech.manifest.tables.first_rows import dialect_of
from hybridspeech.manifest.tables.table_batch import TableBatch
from hybridspeech.manifest.tables.table_layout import FIELDS, SECOND_FIELDS, TEXT_FIELDS, TableLayout
from hybridspeech.manifest.tables.table_row import check_columns

LARGEST_FIELD = 1 << 24
"""Characters of one field; the default of the csv module refuses long extra columns."""


def csv_batches(
    layout: TableLayout, local: Path, *, delimiter: str = ",", has_quotes: bool = True
) -> Iterator[TableBatch]:
    """Yield the rows of a CSV or TSV file; all values stay text: a label may be 01, null or NA.

    Semicolons or tabs separate the fields of a CSV file whose header has no comma.

    Raises
    ------
    ManifestError: a column is missing. ValueError, csv.Error: a line is damaged.
    """
    csv.field_size_limit(LARGEST_FIELD)
    with local.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        dialect = dialect_of(file.readline(), delimiter, has_quotes)
        file.seek(0)
        reader = csv.reader(file, dialect, strict=has_quotes)
        header = next((row for row in reader if row), None)
        if header is None:
            return
        check_columns(header)
        found, numbered = None, ((reader.line_num, row) for row in reader if row)
        while chunk := list(islice(numbered, CHUNK)):
            numbers, lines = zip(*chunk, strict=True)
            found = found or columns_of(layout, header)
            if len(too_long := next((row for row in lines if len(row) > len(header)), ())):
                number = numbers[lines.index(too_long)]
                raise ValueError(f"line {number} has more fields than the header; put commas in quotes")
            places = {name: header.index(column) for name, column in found.items()}
            values = {
                name: [row[place] if place < len(row) else None for row in lines] for name, place in places.items()
            }
            yield _batch(layout, values, found, numbers)


def json_batches(layout: TableLayout, local: Path) -> Iterator[TableBatch]:
    """Yield the rows of a JSON lines file. The columns of each line count: a later one may have more than the first.

    Raises
    ------
    ManifestError: a column is missing. ValueError: a line is no JSON object.
    """
    with local.open(encoding="utf-8-sig") as file:
        parsed = ((number, _parsed(number, line)) for number, line in enumerate(file, 1) if line.strip())
        while chunk := list(islice(parsed, CHUNK)):
            numbers, rows = zip(*chunk, strict=True)
            present = list(dict.fromkeys(name for row in rows for name in row))
            found = columns_of(layout, present)
            others = {name: _others(layout, name, present, column) for name, column in found.items()}
            values = {name: [_first(row, names) for row in rows] for name, names in others.items()}
            yield _batch(layout, values, found, numbers)


def _parsed(number: int, line: str) -> dict[str, Any]:
    if line.lstrip().startswith("["):
        raise ValueError(f"line {number}: expected one JSON object a line, and no array around them")
    try:
        row = json.loads(line, object_pairs_hook=_unique_columns)
    except RecursionError:
        raise
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"line {number}: expected one JSON object a line")
    return row


def _unique_columns(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_columns([name for name, _ in pairs])
    return dict(pairs)


def _others(layout: TableLayout, name: str, present: Sequence[str], column: str) -> tuple[str, ...]:
    """Return all columns that may hold a field, in order of preference."""
    exact = [each for each in layout.columns[name] if each in present]
    return tuple(exact) if exact else (column,)


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _batch(
    layout: TableLayout, values: Mapping[str, Sequence[Any]], found: Mapping[str, str], numbers: Sequence[int]
) -> TableBatch:
    texts = {name: _text_column(values.get(name), len(numbers)) for name in TEXT_FIELDS}
    seconds = {name: _second_column(values.get(name), len(numbers)) for name in SECOND_FIELDS}
    return TableBatch(
        layout=layout,
        columns=None if any(column is None for column in texts.values()) else texts,
        seconds=None if any(column is None for column in seconds.values()) else seconds,  # type: ignore[arg-type]
        fields_of=lambda place: {name: values[name][place] for name in FIELDS if name in values},
        names=found,
        row_kind="line",
        numbers=np.array(numbers, np.int64),
    )


def _text_column(values: Sequence[Any] | None, count: int) -> Any:
    """Return a column of texts; nulls if it is absent; None if a value is no text, or not Unicode."""
    import pyarrow

    kind = pyarrow.large_string()
    if values is None:
        return pyarrow.nulls(count, kind)
    try:
        if not all(isinstance(value, str) for value in values):
            values = [str(value) if type(value) is int else value for value in values]
        return pyarrow.array(values, kind)
    except (pyarrow.ArrowException, UnicodeEncodeError):
        return None


def _second_column(values: Sequence[Any] | None, count: int) -> np.ndarray | None:
    """Return a column of seconds, NaN where there is none; None if a value is no number."""
    if values is None:
        return np.full(count, np.nan)
    try:
        return np.array([math.nan if value in (None, "") else float(value) for value in values], np.float64)
    except (TypeError, ValueError):
        return None
