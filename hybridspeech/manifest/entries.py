"""Rows of a source in normal form, sorted by id: valid Unicode ids, labels and speakers, and the names of the hash rule.

Knows nothing of splits and of where the rows come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridspeech.manifest.columns.coded_texts import CodedTexts
from hybridspeech.manifest.columns.text_columns import FILE_NAME, chunks_of
from hybridspeech.manifest.tables.source_rows import SourceRows
from hybridspeech.manifest.text import normal_text, valid_text


@dataclass(frozen=True, kw_only=True, eq=False)
class Entries:
    """Clips before their split is decided, sorted by id.

    Parameters
    ----------
    rows : the rows in this order, with ids and labels in normal form; the ids are an Arrow column of text
    speaker : speaker of each clip, in normal form; '' if unknown
    hash_name : what the hash rule hashes: the speaker in normal form C, still with surrogate escapes
    is_unknown : bool [shape=(num_entries,)], where the speaker is unknown: the rule hashes the name of the file
    """

    rows: SourceRows
    speaker: CodedTexts
    hash_name: CodedTexts
    is_unknown: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def clip_id(self, place: int) -> str:
        """Return the id of one clip."""
        return str(self.rows.clip_id[place].as_py())

    def label(self, place: int) -> str:
        """Return the label of one clip."""
        return str(self.rows.label.names[self.rows.label.codes[place]])


def make_entries(rows: SourceRows, find_speaker: Callable[[str], str]) -> Entries:
    """Return the entries of a source.

    Parameters
    ----------
    find_speaker : the speaker from an id; a speaker that a table gives takes precedence, in the hash rule too
    """
    speaker = _speakers(rows, find_speaker)
    rows = _with_valid_ids(rows)
    order = _order(rows.clip_id)
    if order is not None:
        rows, speaker = rows.take(order), speaker.take(order)
    return Entries(
        rows=replace(rows, label=rows.label.mapped(lambda text: valid_text(normal_text(text)))),
        speaker=speaker.mapped(lambda text: valid_text(normal_text(text))),
        hash_name=speaker.mapped(normal_text),
        is_unknown=speaker.is_in(("",)),
    )


def _speakers(rows: SourceRows, find_speaker: Callable[[str], str]) -> CodedTexts:
    """Return the speakers as the table gives them, else as they are found in the ids."""
    if all(rows.speaker.used()):
        return rows.speaker
    ids = (clip_id.decode(*FILE_NAME) for chunk in chunks_of(rows.clip_id) for clip_id in chunk)
    found = CodedTexts.of(map(find_speaker, ids))
    if not any(rows.speaker.used()):
        return found
    return CodedTexts.of(given or own for given, own in zip(rows.speaker.tolist(), found.tolist(), strict=True))


def _with_valid_ids(rows: SourceRows) -> SourceRows:
    """Return the rows with ids as text; the paths of ids that change are stored."""
    import pyarrow

    kind = pyarrow.large_string()
    try:
        return replace(rows, clip_id=rows.clip_id.cast(kind))
    except pyarrow.ArrowInvalid:
        ids = [clip_id.decode(*FILE_NAME) for chunk in chunks_of(rows.clip_id) for clip_id in chunk]
        valid = [valid_text(clip_id) for clip_id in ids]
        paths = rows.encoded_paths(0, len(rows))
        stored = [None] * len(rows) if rows.path is None else rows.path.to_pylist()
        kept = [path if one != two else own for path, own, one, two in zip(paths, stored, ids, valid, strict=True)]
        return replace(rows, clip_id=pyarrow.array(valid, kind), path=pyarrow.array(kept, pyarrow.large_binary()))


def _order(clip_id: Any) -> np.ndarray | None:
    """Return the order of the ids, as Python sorts them; None if they are sorted."""
    import pyarrow.compute as pc

    if len(clip_id) < 2 or pc.all(pc.less_equal(clip_id.slice(0, len(clip_id) - 1), clip_id.slice(1))).as_py():
        return None
    order: np.ndarray = pc.sort_indices(clip_id).to_numpy()
    return order
