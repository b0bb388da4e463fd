"""Reads a table (CSV, JSON lines or Parquet) to rows of text: path, label, speaker, split. An incomplete row is an error.

Knows nothing of what the rows mean: labels and splits are decided in the manifest.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from hybridspeech.errors import ManifestError, reason_of
from hybridspeech.manifest.tables.parquet_table import read_parquet
from hybridspeech.manifest.tables.source_rows import RowsBuilder, SourceRows
from hybridspeech.manifest.tables.table_row import NOT_UTF8, check_columns, checked_row
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import parent_and_name
from hybridspeech.storage.objects import exists


def read_table(table: str) -> SourceRows:
    """Read all rows, in the order of the table. A relative path starts at the table's folder.

    Raises
    ------
    ManifestError: the table is of an unknown kind, damaged or empty; a row has no path or label; no file exists.
    """
    suffix = PurePosixPath(table).suffix
    reader = READERS.get(suffix.lower())
    if reader is None:
        raise ManifestError(
            f"{table}: unknown kind of file; expected a folder with one folder per word, or a table "
            f"({' '.join(READERS)}). Unpack an archive first"
        )
    try:
        parent, name = parent_and_name(table)
        with fetched(parent, name) as folder:
            rows = reader(table, folder / name)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{table}: not a readable {suffix[1:]} table ({NOT_UTF8})") from error
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise ManifestError(f"{table}: not a readable {suffix[1:]} table ({reason_of(error)})") from error
    if not len(rows):
        raise ManifestError(f"{table}: the table has no rows")
    if not any(exists(rows.path_of(place)) for place in range(min(100, len(rows)))):
        raise ManifestError(f"{table}: {rows.path_of(0)} does not exist; a relative path starts at the table's folder")
    return rows


def _from_lines(read: Callable[[Path], Iterator[tuple[int, dict[str, Any]]]], table: str, local: Path) -> SourceRows:
    rows = RowsBuilder(parent_and_name(table)[0], "line")
    for number, values in read(local):
        rows.add(checked_row(table, f"line {number}", values), number)
    return rows.finish()


def _csv_rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a CSV file; all values stay text: a label may be 01, null or NA."""
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        check_columns(reader.fieldnames or ())
        for row in reader:
            if None in row:
                raise ValueError(f"line {reader.line_num} has more fields than the header; put commas in quotes")
            yield reader.line_num, row


def _json_rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with table.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = json.loads(line, object_pairs_hook=_unique_columns)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number}: expected one JSON object a line")
                yield number, row


def _unique_columns(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_columns([name for name, _ in pairs])
    return dict(pairs)


READERS: Mapping[str, Callable[[str, Path], SourceRows]] = {
    ".csv": partial(_from_lines, _csv_rows),
    ".jsonl": partial(_from_lines, _json_rows),
    ".ndjson": partial(_from_lines, _json_rows),
    ".json": partial(_from_lines, _json_rows),
    ".parquet": read_parquet,
}
"""Reader of (location of the table, local file) for each file name ending."""
