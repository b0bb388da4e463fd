"""The names of clips as columns: id, label, speaker and split. Knows nothing of files and audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridspeech.manifest.columns.coded_texts import CodedTexts
from hybridspeech.manifest.columns.text_columns import CHUNK


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipNames:
    """Columns of equal length; `speaker` is '' if unknown."""

    clip_id: Any
    label_name: CodedTexts
    speaker: CodedTexts
    split: CodedTexts

    def __len__(self) -> int:
        return len(self.split)

    def where(self, is_wanted: np.ndarray) -> ClipNames:
        """Return some clips.

        Parameters
        ----------
        is_wanted : bool [shape=(num_clips,)]
        """
        rows = np.flatnonzero(is_wanted)
        if len(rows) == len(self):
            return self
        return ClipNames(**{name: getattr(self, name).take(rows) for name in self.__dataclass_fields__})

    def holds(self, condition: Callable[[str], bool]) -> np.ndarray:
        """Return bool [shape=(num_clips,)]: where the id fulfils a condition."""
        return np.fromiter((condition(clip_id) for clip_id, _ in self.ids_and_labels()), bool, len(self))

    def ids_and_labels(self) -> Iterator[tuple[str, str]]:
        """Yield id and label of each clip."""
        for first in range(0, len(self), CHUNK):
            rows = np.arange(first, min(first + CHUNK, len(self)))
            yield from zip(self.clip_id.take(rows).tolist(), self.label_name.take(rows).tolist(), strict=True)
