"""Columns of many different texts, such as ids and paths, in Arrow memory. Bytes that are not UTF-8 are kept.

A column is a ``large_string`` or ``large_binary`` array of pyarrow. NumPy reads its bytes where they are: a loop over the
texts in Python takes ten times as long. Knows nothing of clips and tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

CHUNK = 1 << 16
"""Texts that are Python objects at the same time."""
FILE_NAME = ("utf-8", "surrogateescape")
"""Encoding of paths, which may have any bytes."""


def binary_column(texts: Iterable[str | None]) -> Any:
    """Return a column of paths; None gives null."""
    import pyarrow

    encoded = [None if text is None else text.encode(*FILE_NAME) for text in texts]
    return pyarrow.array(encoded, pyarrow.large_binary())


def concat_columns(columns: Iterable[Any], kind: Any) -> Any:
    """Return one column with the texts of several; a column of NumPy objects, or of another Arrow type, is converted."""
    import pyarrow

    arrays = [
        column.cast(kind) if isinstance(column, pyarrow.Array) else pyarrow.array(column, kind) for column in columns
    ]
    return pyarrow.concat_arrays(arrays) if arrays else pyarrow.array([], kind)


def text_bytes(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of a column without nulls.

    Returns
    -------
    uint8 [shape=(num_bytes,)], the bytes of all texts; int64 [shape=(num_texts + 1,)], where each text begins and ends
    """
    if not len(column):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    content = np.frombuffer(data, np.uint8) if data and data.size else np.zeros(0, np.uint8)
    return content[ends[0] : ends[-1]], ends - ends[0]


def rows_at(places: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the row of each place (an index into the bytes of `text_bytes`), once."""
    return np.unique(np.searchsorted(ends, places, side="right") - 1)


def last_bytes(column: Any) -> np.ndarray:
    """Return uint8 [shape=(num_texts,)], the last byte of each text of a column without nulls; 0 of an empty one."""
    content, ends = text_bytes(column)
    if not len(content):
        return np.zeros(len(column), np.uint8)
    return np.where(ends[1:] > ends[:-1], content.take(np.maximum(ends[1:] - 1, 0)), 0).astype(np.uint8)


def chunks_of(column: Any) -> Iterator[list[Any]]:
    """Yield the texts of a column, as lists of CHUNK."""
    for first in range(0, len(column), CHUNK):
        yield column.slice(first, CHUNK).to_pylist()
