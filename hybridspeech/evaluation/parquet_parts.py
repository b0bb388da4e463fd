"""Parquet files of a table that is made in parts: the parts, and the whole with its settings. Knows no column but `error`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import read_bytes, write_bytes

SETTINGS_KEY = "hybridspeech"
"""Key of the settings in the metadata of the whole table."""


def part_name(number: int) -> str:
    """Return the file name of a part."""
    return f"part-{number:05d}.parquet"


def write_part(folder: str, name: str, rows: Sequence[dict[str, Any]], schema: Any) -> None:
    """Write the rows of a part, which has the columns of a pyarrow schema."""
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), buffer)
    write_bytes(join(folder, name), buffer.getvalue())


def read_part(folder: str, name: str) -> Any:
    """Return a part as a pyarrow table."""
    import pyarrow.parquet

    return pyarrow.parquet.read_table(io.BytesIO(read_bytes(join(folder, name))))


def count_rows(path: Path) -> tuple[int, int]:
    """Return the number of rows of a table, and the number of those with an error."""
    import pyarrow.parquet

    errors = pyarrow.parquet.read_table(path, columns=["error"])["error"]
    return len(errors), len(errors) - errors.null_count


def settings_of(path: Path) -> str:
    """Return the settings in the metadata of a whole table; empty for another file."""
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
    except (OSError, pyarrow.ArrowException):
        return ""
    return str(metadata.get(SETTINGS_KEY.encode(), b"").decode(errors="replace"))
