"""Rows of a DataFrame in memory (pandas, Spark, polars, Arrow) to batches of rows, without an import of their packages.

Relative paths start at the working folder. Knows nothing of what the rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hybridspeech.errors import ManifestError
from hybridspeech.manifest.columns.text_columns import CHUNK
from hybridspeech.manifest.tables.arrow_batches import arrow_batches, columns_of
from hybridspeech.manifest.tables.source_rows import RowsBuilder, SourceRows
from hybridspeech.manifest.tables.table_batch import TableBatch, add_batch
from hybridspeech.manifest.tables.table_layout import TableLayout

NAME = "the DataFrame"


def is_location(source: Any) -> bool:
    """Tell whether a source is a path or a URL, and no DataFrame."""
    return isinstance(source, (str, Path))


def column_names(frame: Any) -> list[str]:
    """Return the columns of a DataFrame.

    Raises
    ------
    ManifestError: it is none.
    """
    names = getattr(frame, "column_names", None)  # of Arrow
    names = getattr(frame, "columns", None) if names is None else names
    if names is None:
        raise ManifestError(
            f"SOURCE is a {type(frame).__name__}; expected a path, a URL, or a DataFrame of pandas, Spark, polars or Arrow"
        )
    return [str(name) for name in names]


def read_frame(frame: Any, layout: TableLayout) -> SourceRows:
    """Read all rows of a DataFrame; a Spark one comes a partition at a time.

    Raises
    ------
    ManifestError: a column is missing, or a row is incomplete. ValueError: a text is not valid.
    """
    rows = RowsBuilder(layout.root, "row", [NAME])
    for batch in _batches(frame, layout):
        add_batch(rows, batch)
    return rows.finish()


def _batches(frame: Any, layout: TableLayout) -> Iterator[TableBatch]:
    import pyarrow

    if isinstance(frame, pyarrow.Table):
        yield from arrow_batches(layout, frame)
    elif hasattr(frame, "to_arrow"):
        yield from arrow_batches(layout, frame.to_arrow())
    elif hasattr(frame, "toLocalIterator"):
        yield from _spark_batches(frame, layout)
    else:
        wanted = list(dict.fromkeys(columns_of(layout, column_names(frame)).values()))
        yield from arrow_batches(layout, pyarrow.Table.from_pandas(frame[wanted], preserve_index=False))


def _spark_batches(frame: Any, layout: TableLayout) -> Iterator[TableBatch]:
    import pyarrow

    found: Sequence[str] = list(dict.fromkeys(columns_of(layout, column_names(frame)).values()))
    rows, first = frame.select(*(frame[name] for name in found)).toLocalIterator(prefetchPartitions=True), 1
    while chunk := list(islice(rows, CHUNK)):
        columns = dict(zip(found, map(list, zip(*chunk, strict=True)), strict=True))
        yield from arrow_batches(layout, pyarrow.table(columns), first)
        first += len(chunk)
