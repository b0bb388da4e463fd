"""Records of the manifest: one clip, and all clips of a source. Knows nothing of folders, tables and audio."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybridspeech.config import SPLITS

WHOLE = (math.nan, math.nan)
"""Start and duration of a clip that is all of its file."""

if TYPE_CHECKING:
    from hybridspeech.manifest.columns.clip_table import ClipTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One recorded word or utterance.

    `clip_id` is its path relative to the source, with '/'; `path` is absolute; `label` is the index of `label_name` in
    the manifest's labels; `speaker` is '' if unknown; `split` is one of ``config.SPLITS``. `copy` is 0 for the recorded
    clip and k for its k-th augmented copy. A clip of silence is an excerpt of a long recording (of digital silence if
    `path` is ''): `excerpt` holds its relative position and its volume, both from 0 to 1. `version` stands for size and
    modification time of the file when a job began; '' if it was not requested. `segment` holds start and duration, in
    seconds, of a clip that is cut out of its file; the duration may be infinite. A part of a long recording begins `start_ms`
    after the start of the file, or of the segment.
    """

    clip_id: str
    path: str
    label: int
    label_name: str
    speaker: str
    split: str
    copy: int = 0
    excerpt: tuple[float, float] | None = None
    version: str = ""
    start_ms: int = 0
    segment: tuple[float, float] | None = None

    @property
    def recorded_id(self) -> str:
        """Id of the clip that this one is a copy of; its own id if it is not a copy."""
        return self.clip_id.removesuffix(copy_suffix(self.copy)) if self.copy else self.clip_id


def part_suffix(start_ms: int) -> str:
    """Return the ending of the id of a part of a long recording."""
    return f"@{start_ms}ms"


def part_of(clip_id: str) -> tuple[str, int]:
    """Return the id of the recording that a clip is a part of, and its start in ms; the clip's own id and 0 for others."""
    found = re.fullmatch(r"(.+)@(\d+)ms", clip_id, re.DOTALL)
    return (found[1], int(found[2])) if found else (clip_id, 0)


def segment_suffix(start_s: float) -> str:
    """Return the ending of the id of a segment: its start in ms; '' for one that starts with its file."""
    return f"@{1000 * start_s:.4f}".rstrip("0").rstrip(".") + "ms" if start_s > 0 else ""


def recording_of(clip_id: str, segment: tuple[float, float] | None) -> tuple[str, int]:
    """Return the id of the recording of a clip, and the start of the clip in ms: in its segment, else in the recording.

    Parameters
    ----------
    segment : start and duration of the segment that the clip is, or is a part of; None if it is none
    """
    base, start_ms = part_of(clip_id)
    suffix = segment_suffix(segment[0]) if segment else ""
    if suffix and not base.endswith(suffix):  # the segment itself
        base, start_ms = clip_id, 0
    return base.removesuffix(suffix), start_ms


def copy_suffix(copy: int) -> str:
    """Return the ending of the id of augmented copy number `copy`."""
    return f"#{copy}"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All clips of a source, sorted by `clip_id`, and its labels, sorted.

    `source` is the source as given, `folder` the folder or URL that ids are relative to. `split_rule` is the rule that was
    used (lists, hash, column or none). `ignored` holds the paths, relative to the source, that were left out: no audio
    suffix, hidden, not a regular file, or a link to a folder. `notes` are sentences for the user.
    """

    clips: ClipTable
    labels: tuple[str, ...]
    source: str
    split_rule: str
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folder: str = ""

    def of_split(self, split: str) -> ClipTable:
        """Return the clips of one split, sorted by `clip_id`."""
        return self.clips.of_split(split)

    def counts(self) -> dict[str, int]:
        """Return the number of clips of each split, in the order of ``config.SPLITS``."""
        found = self.clips.coded("split").counts()
        return {split: found[split] for split in SPLITS}
