"""Reads a Parquet table to rows, a batch of columns at a time.

Most rows need no change: their path is normalised and below the table's folder, and their texts are complete. They stay in
Arrow memory. Any other row is checked by itself, as a line of a CSV table is. Knows nothing of what the rows mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.manifest.columns.coded_texts import CodedTexts
from hybridspeech.manifest.columns.text_columns import binary_column, concat_columns, rows_at, text_bytes
from hybridspeech.manifest.tables.source_rows import TEXTS, RowsBuilder, SourceRows
from hybridspeech.manifest.tables.table_row import (
    COLUMNS,
    NOT_UTF8,
    REQUIRED,
    TableRow,
    check_columns,
    checked_row,
    is_utf8,
)
from hybridspeech.storage.locations import parent_and_name

BATCH_ROWS = 1 << 18


def read_parquet(table: str, local: Path) -> SourceRows:
    """Read all rows.

    Parameters
    ----------
    table, local : location of the table, and the file with its content

    Raises
    ------
    ManifestError: see `checked_row`. ValueError: the file is damaged, or not UTF-8.
    """
    import pyarrow.parquet

    root = parent_and_name(table)[0]
    rows, first = RowsBuilder(root, "row"), 1
    try:
        names = pyarrow.parquet.read_schema(local).names
        check_columns(names)
        columns = [name for name in names if name in COLUMNS] or names
        coded = [name for name in columns if name in TEXTS]
        with pyarrow.parquet.ParquetFile(local, read_dictionary=coded) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                _add(rows, _Batch(table, root, batch, first))
                first += batch.num_rows
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    return rows.finish()


class _Batch:
    """Some rows of the table; the first one has number `first`."""

    def __init__(self, table: str, root: str, batch: Any, first: int) -> None:
        self.table, self.root, self.batch, self.first = table, root, batch, first

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def column(self, name: str) -> Any:
        """Return a column of texts; nulls if it is absent; None if it has values of another kind."""
        import pyarrow
        from pyarrow import types

        if name not in self.batch.schema.names:
            return pyarrow.nulls(len(self), pyarrow.large_string())
        column = self.batch.column(name)
        try:
            column.validate(full=True)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(NOT_UTF8) from error
        if types.is_dictionary(column.type):
            return column if types.is_string(column.type.value_type) and name in TEXTS else None
        known = (types.is_string, types.is_large_string, types.is_integer, types.is_null)
        return column.cast(pyarrow.large_string()) if any(is_kind(column.type) for is_kind in known) else None

    def checked(self, place: int) -> TableRow:
        """Check one row by itself."""
        (fields,) = self.batch.slice(place, 1).to_pylist()
        return checked_row(self.table, f"row {self.first + place}", fields)


def _add(rows: RowsBuilder, batch: _Batch) -> None:
    given: dict[str, Any] = {name: batch.column(name) for name in COLUMNS}
    if any(column is None for column in given.values()) or not set(REQUIRED) <= set(batch.batch.schema.names):
        for place in range(len(batch)):
            rows.add(batch.checked(place))
        return
    texts = {name: CodedTexts.of_arrow(given[name]) for name in TEXTS}
    clip_ids, paths, is_plain = _plain_paths(given["path"].fill_null(""), batch.root)
    unusual = np.flatnonzero(~is_plain | _has_unusual(texts))
    rows.extend(*_exchanged(clip_ids, paths, unusual, batch), texts)


def _has_unusual(texts: Mapping[str, CodedTexts]) -> np.ndarray:
    """Return where a label is empty, or a text has a NUL."""
    has_nul = [column.is_in([name for name in column.names if "\0" in name]) for column in texts.values()]
    label = texts["label"]
    is_blank = label.is_in([name for name in label.names if not name.strip()])
    unusual: np.ndarray = np.any([*has_nul, is_blank], axis=0)
    return unusual


def _plain_paths(given: Any, root: str) -> tuple[Any, Any, np.ndarray]:
    """Return ids, paths and, for each row, whether they are right: the path is normalised as it is.

    A path below `root` is stored as its id alone; another absolute one as it is.
    """
    import pyarrow
    import pyarrow.compute as pc

    is_below = pc.starts_with(given, f"{root}/" if is_utf8(root) else "//")
    ids = given
    if pc.any(is_below).as_py():
        ids = pc.if_else(is_below, pc.utf8_slice_codeunits(given, len(root) + 1), given)
    is_absolute = pc.and_not(pc.starts_with(given, "/"), is_below)
    paths = None
    if pc.any(is_absolute).as_py():
        paths = pc.if_else(is_absolute, given, pyarrow.scalar(None, given.type)).cast(pyarrow.large_binary())
    is_plain = _is_plain(ids, is_absolute.to_numpy(zero_copy_only=False))
    return ids.cast(pyarrow.large_binary()), paths, is_plain


def _is_plain(column: Any, may_begin_with_slash: np.ndarray) -> np.ndarray:
    """Tell of each path whether it has no part that is empty, '.' or '..'; some plain ones are taken for not plain."""
    content, ends = text_bytes(column)
    begins, is_slash, is_dot = ends[:-1], content == ord("/"), content == ord(".")
    is_bad = content == 0
    is_bad[:-1] |= is_slash[:-1] & (is_slash[1:] | is_dot[1:])
    is_bad[:-1] |= (content[:-1] == ord(":")) & is_slash[1:]  # a URL
    is_plain = np.ones(len(column), bool)
    is_plain[rows_at(np.flatnonzero(is_bad), ends)] = False
    has_dot = np.zeros(len(column), bool)
    has_dot[rows_at(np.flatnonzero(is_dot), ends)] = True  # neither empty nor white space alone
    padded = np.append(content, np.uint8(0))
    head, tail = padded.take(begins), padded.take(np.maximum(ends[1:] - 1, begins))
    begins_plain = (head != ord(".")) & ((head != ord("/")) | may_begin_with_slash)
    plain: np.ndarray = is_plain & has_dot & begins_plain & (tail != ord("/"))
    return plain


def _exchanged(clip_ids: Any, paths: Any, unusual: np.ndarray, batch: _Batch) -> tuple[Any, Any]:
    """Return ids and paths with those of the unusual rows from `checked_row`, which raises if one is incomplete."""
    import pyarrow

    if not len(unusual):
        return clip_ids, paths
    kind = pyarrow.large_binary()
    checked = [batch.checked(place) for place in unusual.tolist()]
    own_ids = binary_column(row.clip_id for row in checked)
    own_paths = binary_column(None if row.path == f"{batch.root}/{row.clip_id}" else row.path for row in checked)
    places = np.arange(len(batch))
    places[unusual] = len(batch) + np.arange(len(unusual))
    before = pyarrow.nulls(len(batch), kind) if paths is None else paths
    return (
        concat_columns([clip_ids, own_ids], kind).take(places),
        concat_columns([before, own_paths], kind).take(places),
    )
