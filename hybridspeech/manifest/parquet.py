"""A manifest as a Parquet file. Knows nothing of folders, tables and audio."""

from __future__ import annotations

import io

from hybridspeech.manifest.clips import Manifest


def to_parquet(manifest: Manifest) -> bytes:
    """Return a Parquet file with clip_id, label, label_name, speaker and split of every clip; no path of this machine.

    The same clips give the same bytes (with one version of pyarrow).
    """
    import pyarrow
    import pyarrow.parquet

    types = {"clip_id": pyarrow.string(), "label": pyarrow.int32()}
    types |= dict.fromkeys(("label_name", "speaker", "split"), pyarrow.string())
    columns = {name: [getattr(clip, name) for clip in manifest.clips] for name in types}
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(types)), file)
    return file.getvalue()
