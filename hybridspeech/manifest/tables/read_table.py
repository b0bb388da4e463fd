"""Reads tables (CSV, TSV, JSON lines or Parquet) to rows of text: path, label, speaker, split. An incomplete row is an error.

Knows nothing of what the rows mean: labels and splits are decided in the manifest.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from hybridspeech.errors import ManifestError, reason_of
from hybridspeech.manifest.tables.arrow_batches import parquet_batches
from hybridspeech.manifest.tables.source_rows import TABLE_BITS, RowsBuilder, SourceRows
from hybridspeech.manifest.tables.table_batch import TableBatch, add_batch
from hybridspeech.manifest.tables.table_layout import TableLayout
from hybridspeech.manifest.tables.table_row import NOT_UTF8
from hybridspeech.manifest.tables.text_batches import csv_batches, json_batches
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import parent_and_name
from hybridspeech.storage.objects import exists

Reader = Callable[[TableLayout, Path], Iterator[TableBatch]]
NUM_PROBED = 100


def read_tables(layouts: Sequence[TableLayout], readers: Mapping[str, Reader] | None = None) -> SourceRows:
    """Read all rows of some tables with the same root, in the order of the tables.

    Parameters
    ----------
    readers : reader of each file name ending; None: READERS

    Raises
    ------
    ManifestError: a table is of an unknown kind, damaged or empty; a row has no path or label; no file exists.
    """
    kinds = {_reader(layout.table, readers or READERS)[1] for layout in layouts}
    shared = min((parent_and_name(layout.table)[0] for layout in layouts), key=len)
    names = [layout.table.removeprefix(f"{shared}/") for layout in layouts]
    rows = RowsBuilder(layouts[0].root, "row" if kinds == {parquet_batches} else "line", names)
    for number, layout in enumerate(layouts):
        add_table(rows, layout, readers or READERS, number << TABLE_BITS)
    return checked_rows(rows.finish(), layouts[0].table)


def add_table(rows: RowsBuilder, layout: TableLayout, readers: Mapping[str, Reader], table_bits: int) -> None:
    """Add the rows of one table.

    Raises
    ------
    ManifestError: as `read_tables`.
    """
    suffix, reader = _reader(layout.table, readers)
    try:
        parent, name = parent_and_name(layout.table)
        with fetched(parent, name) as folder:
            for batch in reader(layout, folder / name):
                add_batch(rows, batch, table_bits)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{layout.table}: not a readable {suffix[1:]} table ({NOT_UTF8})") from error
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise ManifestError(f"{layout.table}: not a readable {suffix[1:]} table ({reason_of(error)})") from error


def checked_rows(rows: SourceRows, name: str) -> SourceRows:
    """Return the rows of a table, or of several.

    Raises
    ------
    ManifestError: there are none; or none of the first files exists.
    """
    if not len(rows):
        left_out = "; ".join(f"{count:,} rows were left out: {reason}" for reason, count in rows.left_out.items())
        raise ManifestError(
            f"{name}: the table has no rows{' to use' if left_out else ''}{left_out and f' ({left_out})'}"
        )
    if not any(exists(rows.path_of(place)) for place in range(min(NUM_PROBED, len(rows)))):
        raise ManifestError(f"{name}: {rows.path_of(0)} does not exist; a relative path starts at {_start(rows, name)}")
    return rows


def _start(rows: SourceRows, name: str) -> str:
    return "the table's folder" if parent_and_name(name)[0] == rows.root else rows.root


def _reader(table: str, readers: Mapping[str, Reader]) -> tuple[str, Reader]:
    suffix = PurePosixPath(table).suffix
    reader = readers.get(suffix.lower())
    if reader is None:
        raise ManifestError(
            f"{table}: unknown kind of file; expected a folder with one folder per word, or a table "
            f"({' '.join(readers)}). Unpack an archive first"
        )
    return suffix, reader


READERS: Mapping[str, Reader] = {
    ".csv": csv_batches,
    ".tsv": partial(csv_batches, delimiter="\t"),
    ".jsonl": json_batches,
    ".ndjson": json_batches,
    ".json": json_batches,
    ".parquet": parquet_batches,
}
"""Reader of each file name ending."""
