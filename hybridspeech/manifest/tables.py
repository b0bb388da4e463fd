"""Reads a table (CSV, JSON lines or Parquet) to rows of text: path, label, speaker, split. An incomplete row is an error.

Knows nothing of what the rows mean: labels and splits are decided in the manifest.
"""

from __future__ import annotations

import csv
import json
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hybridspeech.errors import ManifestError, reason_of
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import is_url, normalized, parent_and_name
from hybridspeech.storage.objects import exists

COLUMNS = ("path", "label", "speaker", "split")
REQUIRED = ("path", "label")
NOT_UTF8 = "it is not UTF-8; save it as UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row of a table; `row` names its line or row; `speaker` and `split` are '' if they are not given.

    `path` is a URL, or absolute and normalised; `clip_id` is relative to the table's folder for files below it, else as given.
    """

    clip_id: str
    path: str
    label: str
    speaker: str
    split: str
    row: str


def read_table(table: str) -> list[TableRow]:
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
            rows = [_row(table, row, values) for row, values in reader(folder / name)]
    except UnicodeDecodeError as error:
        raise ManifestError(f"{table}: not a readable {suffix[1:]} table ({NOT_UTF8})") from error
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise ManifestError(f"{table}: not a readable {suffix[1:]} table ({reason_of(error)})") from error
    if not rows:
        raise ManifestError(f"{table}: the table has no rows")
    if not any(exists(row.path) for row in rows[:100]):
        raise ManifestError(f"{table}: {rows[0].path} does not exist; a relative path starts at the table's folder")
    return rows


def _csv_rows(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a CSV file; all values stay text: a label may be 01, null or NA."""
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        _check_columns(reader.fieldnames or ())
        for row in reader:
            if None in row:
                raise ValueError(f"line {reader.line_num} has more fields than the header; put commas in quotes")
            yield f"line {reader.line_num}", row


def _json_rows(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with table.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = json.loads(line, object_pairs_hook=_unique_columns)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number}: expected one JSON object a line")
                yield f"line {number}", row


def _parquet_rows(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            _check_columns(file.schema_arrow.names)
            columns = [name for name in file.schema_arrow.names if name in COLUMNS]
            rows = file.read(columns=columns or None).to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))


def _check_columns(names: Sequence[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        raise ValueError(f"column {twice[0]!r} is there twice; remove one")
    if any(not _is_utf8(name) for name in names):
        raise ValueError(NOT_UTF8)


def _unique_columns(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _check_columns([name for name, _ in pairs])
    return dict(pairs)


def _is_utf8(text: str) -> bool:
    """Whether a text that was read with surrogateescape came from valid UTF-8."""
    return text.isascii() or not any("\udc80" <= char <= "\udcff" for char in text)


READERS: dict[str, Callable[[Path], Iterator[tuple[str, dict[str, Any]]]]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".json": _json_rows,
    ".parquet": _parquet_rows,
}
"""Reader of (line or row, values by column) for each file name ending."""


def _row(table: str, row: str, fields: dict[str, Any]) -> TableRow:
    for column in REQUIRED:
        if column not in fields:
            names = ", ".join(map(str, fields)) or "none"
            raise ManifestError(f"{table}, {row}: no column {column!r}; it has {names}")
    values = {name: _text(table, row, name, fields.get(name)) for name in COLUMNS}
    for column in REQUIRED:
        if not values[column].strip():
            raise ManifestError(f"{table}, {row}: {column} is empty; every clip needs one")
    root = parent_and_name(table)[0] + "/"
    path = _absolute(root, values["path"])
    clip_id = path.removeprefix(root) if path.startswith(root) else values["path"]
    if not _is_utf8(path) and not exists(path):  # a file name may have any bytes
        raise ValueError(f"{row}: {NOT_UTF8}")
    return TableRow(clip_id=clip_id, row=row, **{**values, "path": path})


def _absolute(root: str, path: str) -> str:
    if is_url(path):
        return normalized(path)
    if not is_url(root) or path.startswith("/"):
        return os.path.normpath(os.path.join(root, path))  # noqa: PTH118 - text in, text out
    scheme, _, place = root.partition("://")
    return f"{scheme}://{posixpath.normpath(posixpath.join(place, path))}"


def _text(table: str, row: str, column: str, value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    if not isinstance(value, (str, int)) or isinstance(value, bool) or "\0" in text:
        raise ManifestError(f"{table}, {row}: {column} is {value!r}; expected text")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ManifestError(f"{table}, {row}: {column} is {value!r}, which is not valid Unicode") from error
    if column != "path" and not _is_utf8(text):
        raise ValueError(f"{row}: {NOT_UTF8}")
    return text
