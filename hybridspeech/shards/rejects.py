"""Clips that can't be used: counted, written down and complained of by the same rules, whoever makes shards.

Knows nothing of how clips are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.config import to_json
from hybridspeech.errors import ConfigError, TooManyRejectsError
from hybridspeech.storage.small_files import write_atomically


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One clip that could not be used, and why."""

    clip_id: str
    split: str
    reason: str
    detail: str


class Rejects:
    """The account of one job; a clip that is rejected twice counts once.

    Parameters
    ----------
    path : file to write them to, a JSON object a line, by clip id
    num_clips : of the job
    max_rejects : how many may be unusable: a count, or a fraction of `num_clips` if it is less than 1
    advice : how to go on once the files are mended, e.g. "run it again"
    """

    def __init__(self, path: Path, *, num_clips: int, max_rejects: float, advice: str) -> None:
        self._path, self._num_clips, self._max_rejects, self._advice = path, num_clips, max_rejects, advice
        self._rejects: dict[str, Reject] = {}

    def __len__(self) -> int:
        return len(self._rejects)

    def add(self, rejects: Iterable[Reject]) -> None:
        """Count these, too."""
        self._rejects |= {reject.clip_id: reject for reject in rejects}

    def write(self) -> None:
        """Write all of them, in place of what was written before."""
        lines = [json.dumps(to_json(reject)) + "\n" for _, reject in sorted(self._rejects.items())]
        write_atomically(self._path, "".join(lines))

    def check(self) -> None:
        """Raise TooManyRejectsError, after writing them, if there are more than may be."""
        if len(self) > self._max_rejects * (self._num_clips if self._max_rejects < 1 else 1):
            self.write()
            raise TooManyRejectsError(self.complaint())

    def complaint(self) -> str:
        """How many there are, which is the first, and what to do."""
        first = next(iter(self._rejects.values()))
        return (
            f"{len(self):,} of {self._num_clips:,} clips could not be used (max_rejects is {self._max_rejects:g}); the "
            f"first: {first.clip_id}: {first.reason}: {first.detail}; all are in {self._path}; mend or remove the files, "
            f"then {self._advice}"
        )


def check_max_rejects(max_rejects: float) -> None:
    """Raise ConfigError for what is neither a count nor a fraction."""
    if math.isnan(max_rejects) or max_rejects < 0:
        raise ConfigError(f"max_rejects is {max_rejects}; expected a count, or a fraction below 1")
