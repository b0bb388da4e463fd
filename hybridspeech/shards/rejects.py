"""Rejects: clips that can't be used. Counts them, writes rejects.jsonl and enforces the limit.

Knows nothing of how clips are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.errors import ConfigError, TooManyRejectsError, counted
from hybridspeech.records import to_json
from hybridspeech.storage.objects import write_bytes


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One clip that can't be used, and the reason."""

    clip_id: str
    split: str
    reason: str
    detail: str


class Rejects:
    """Collects the rejects of one job; a clip that is rejected twice counts once.

    Parameters
    ----------
    path : file to write: one JSON object per line, sorted by clip id
    num_clips : number of clips of the job
    max_rejects : largest allowed number of rejects: a count, or a fraction of `num_clips` if it is less than 1
    advice : what to do after the files are repaired, e.g. "run it again"
    """

    def __init__(self, path: str | Path, *, num_clips: int, max_rejects: float, advice: str) -> None:
        self._path, self._num_clips, self._max_rejects, self._advice = path, num_clips, max_rejects, advice
        self._rejects: dict[str, Reject] = {}

    def __len__(self) -> int:
        return len(self._rejects)

    def add(self, rejects: Iterable[Reject]) -> None:
        """Add rejects."""
        self._rejects |= {reject.clip_id: reject for reject in rejects}

    def write(self) -> None:
        """Write all rejects; replaces the file."""
        lines = [json.dumps(to_json(reject)) + "\n" for _, reject in sorted(self._rejects.items())]
        write_bytes(str(self._path), "".join(lines))

    def check(self) -> None:
        """Write the rejects and raise TooManyRejectsError if there are more than allowed."""
        if len(self) > self._max_rejects * (self._num_clips if self._max_rejects < 1 else 1):
            self.write()
            raise TooManyRejectsError(self.summary())

    def summary(self) -> str:
        """Return the number of rejects, the first one, and what to do."""
        first = next(iter(self._rejects.values()))
        limit = f" (max_rejects is {self._max_rejects:g})" if math.isfinite(self._max_rejects) else ""
        return (
            f"{len(self):,} of {counted(self._num_clips, 'clip')} could not be used{limit}; the first: {first.clip_id}: "
            f"{first.reason}: {first.detail}; all are in {self._path}; repair or remove the files, "
            f"then {self._advice}"
        )


def check_max_rejects(max_rejects: float) -> None:
    """Raise ConfigError if the limit is neither a count nor a fraction."""
    if math.isnan(max_rejects) or max_rejects < 0:
        raise ConfigError(f"max_rejects is {max_rejects}; expected a count, or a fraction below 1")
