"""Writes a manifest as a Parquet file. Knows nothing of folders, tables and audio."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from hybridspeech.manifest.clips import Manifest


def write_parquet(manifest: Manifest, path: str | Path) -> None:
    """Write clip_id, label, label_name, speaker and split of every clip; no path of this machine.

    The same clips give the same bytes (with one version of pyarrow). A reader sees the whole file or none.

    Raises
    ------
    OSError: the file can't be written.
    """
    import pyarrow
    import pyarrow.parquet

    types = {"clip_id": pyarrow.string(), "label": pyarrow.int32()}
    types |= dict.fromkeys(("label_name", "speaker", "split"), pyarrow.string())
    columns = {name: [getattr(clip, name) for clip in manifest.clips] for name in types}
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            pyarrow.parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(types)), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
