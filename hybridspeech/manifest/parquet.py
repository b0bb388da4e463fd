"""A manifest as a Parquet file. Knows nothing of folders, tables and audio."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.columns.clip_columns import SEGMENT

GROUP_ROWS = 1 << 20
"""Clips of one row group: the default of pyarrow, on which the bytes depend."""


def to_parquet(manifest: Manifest) -> bytes:
    """Return a Parquet file with clip_id, label, label_name, speaker and split of every clip; no path of this machine.

    If there are segments, it has their start_s and duration_s too; null for a clip that is all of its file. The same clips give
    the same bytes (with one version of pyarrow).
    """
    import pyarrow
    import pyarrow.parquet

    types = {"clip_id": pyarrow.string(), "label": pyarrow.int32()}
    types |= dict.fromkeys(("label_name", "speaker", "split"), pyarrow.string())
    if manifest.clips.has_segments:
        types |= dict.fromkeys(SEGMENT.names or (), pyarrow.float64())
    schema, file = pyarrow.schema(types), io.BytesIO()
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for first in range(0, len(manifest.clips), GROUP_ROWS):
            clips = manifest.clips[first : first + GROUP_ROWS]
            columns: dict[str, Any] = {name: clips.coded(name).tolist() for name in ("label_name", "speaker", "split")}
            columns |= {"clip_id": clips.ids().cast(pyarrow.string()), "label": clips.labels()}
            if (segments := clips.segments()) is not None and SEGMENT.names and SEGMENT.names[0] in types:
                columns |= {name: pyarrow.array(segments[name], from_pandas=True) for name in SEGMENT.names}
            writer.write_table(pyarrow.table(columns, schema=schema))
    return file.getvalue()


def read_segment(path: Path, clip_id: str) -> tuple[float, float] | None:
    """Return start and duration, in seconds, of a clip of a manifest; None if it is all of its file, or unknown."""
    import pyarrow.parquet

    try:
        if SEGMENT.names is None or not set(SEGMENT.names) <= set(pyarrow.parquet.read_schema(path).names):
            return None
        table = pyarrow.parquet.read_table(path, columns=SEGMENT.names, filters=[("clip_id", "=", clip_id)])
    except (OSError, pyarrow.ArrowException):
        return None
    found = [(row["start_s"], row["duration_s"]) for row in table.to_pylist()]
    return found[0] if found and found[0][0] is not None else None
