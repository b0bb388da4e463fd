"""Leaves out rows that repeat an earlier row in every respect. Knows nothing of formats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridspeech.manifest.tables.source_rows import TEXTS, SourceRows


def without_repeated(rows: SourceRows) -> SourceRows:
    """Return each row once; rows with the same id that differ in something else stay, for a later error."""
    codes = rows.clip_id.dictionary_encode().indices.to_numpy()
    _, first_of, code = np.unique(codes, return_index=True, return_inverse=True)
    first = first_of.take(code)
    is_repeated = first != np.arange(len(rows))
    if not is_repeated.any():
        return rows
    for name in TEXTS:
        column = getattr(rows, name)
        is_repeated &= column.codes == column.codes.take(first)
    if rows.segment is not None:
        for name in rows.segment.dtype.names or ():
            values = rows.segment[name]
            is_repeated &= (values == values.take(first)) | (np.isnan(values) & np.isnan(values.take(first)))
    left_out = rows.left_out.copy()
    left_out["they repeat another row"] = int(np.count_nonzero(is_repeated))
    return replace(rows.take(np.flatnonzero(~is_repeated)), left_out=left_out)
