"""The columns of a table and its first rows, to recognise its format. A table on an object store is not fetched.

Knows nothing of formats.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

from hybridspeech.storage.locations import is_url
from hybridspeech.storage.ranges import RangeFile

NUM_ROWS = 20


class TabSeparated(csv.excel_tab):
    """A TSV file in which quotes are characters like others, as in Common Voice."""

    quoting = csv.QUOTE_NONE


class SemicolonSeparated(csv.excel):
    """A CSV file of a spreadsheet in a language with decimal commas."""

    delimiter = ";"


def dialect_of(header: str, delimiter: str, has_quotes: bool = True) -> type[csv.Dialect]:
    """Return the dialect of a table from its first line.

    Parameters
    ----------
    delimiter : "," or a tab; it counts unless the header has no comma
    has_quotes : whether fields of a TSV file may be quoted
    """
    if delimiter == "," and "," not in header:
        if ";" in header:
            return SemicolonSeparated
        if "\t" in header:
            return csv.excel_tab
    if delimiter == ",":
        return csv.excel
    return csv.excel_tab if has_quotes else TabSeparated


@dataclass(frozen=True, kw_only=True)
class FirstRows:
    """Names of the columns, and some rows by column."""

    columns: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()


def first_rows(table: str) -> FirstRows:
    """Return the columns and the first rows of a table; nothing if it can't be read: its reader says why."""
    suffix = PurePosixPath(table).suffix.lower()
    with suppress(OSError, ValueError, RecursionError, csv.Error):
        file = RangeFile(table) if is_url(table) else Path(table).open("rb", buffering=0)  # noqa: SIM115
        with io.BufferedReader(file) as buffered:
            if suffix == ".parquet":
                return _of_parquet(buffered)
            lines = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
            if suffix in (".csv", ".tsv"):
                return _of_csv(lines, "\t" if suffix == ".tsv" else ",")
            return _of_json(lines)
    return FirstRows()


def _of_csv(lines: io.TextIOWrapper, delimiter: str) -> FirstRows:
    header = lines.readline()
    dialect = dialect_of(header, delimiter, has_quotes=False)
    reader: csv.DictReader[str] = csv.DictReader(chain([header], lines), dialect=dialect)
    rows = tuple(islice(reader, NUM_ROWS))
    return FirstRows(columns=tuple(reader.fieldnames or ()), rows=rows)


def _of_json(lines: io.TextIOWrapper) -> FirstRows:
    found = [json.loads(line) for line in islice((line for line in lines if line.strip()), NUM_ROWS)]
    rows = tuple(row for row in found if isinstance(row, dict))
    return FirstRows(columns=tuple(dict.fromkeys(name for row in rows for name in row)), rows=rows)


def _of_parquet(file: Any) -> FirstRows:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            names = table.schema_arrow.names
            texts = [name for name in names if pyarrow.types.is_string(table.schema_arrow.field(name).type)]
            batches = table.iter_batches(NUM_ROWS, columns=texts) if texts else ()
            rows: list[dict[str, Any]] = next((batch.to_pylist() for batch in batches), [])
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    return FirstRows(columns=tuple(names), rows=tuple(rows))
