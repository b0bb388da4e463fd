"""Names of clips, and their number by label and split, from the files beside the shards.

Knows nothing of the format of shards.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.config import SPLITS, from_json
from hybridspeech.errors import ConfigError, ShardError, reason_of
from hybridspeech.manifest.clips import copy_suffix
from hybridspeech.shards.index import MANIFEST_NAME, REJECTS_NAME, ShardIndex
from hybridspeech.shards.rejects import Reject
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import read_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipNames:
    """Id, label, speaker ('' if unknown) and split of a clip."""

    clip_id: str
    label_name: str
    speaker: str
    split: str


COLUMNS = list(ClipNames.__slots__)


def read_rejects(folder: str | Path) -> dict[str, str]:
    """Read the reason of each rejected clip by its id; empty if there is no file."""
    path = join(folder, REJECTS_NAME)
    try:
        rejects = [from_json(Reject, json.loads(line)) for line in read_bytes(path).decode().splitlines()]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError, ConfigError) as error:
        raise ShardError(f"{path}: can't be read ({reason_of(error)}); preprocess again") from error
    return {reject.clip_id: reject.reason for reject in rejects}


def read_clip_names(folder: str | Path) -> Iterator[ClipNames]:
    """Read the names of all clips that are not rejected, in the order of the manifest.

    Raises
    ------
    ShardError: manifest.parquet or rejects.jsonl can't be read.
    """
    import pyarrow.parquet

    rejects = read_rejects(folder)
    path = join(folder, MANIFEST_NAME)
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(read_bytes(path)), columns=COLUMNS)
        columns = [table[name].cast("string").to_pylist() for name in COLUMNS]
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise ShardError(f"{path}: can't be read ({reason_of(error)}); preprocess again") from error
    clips = zip(*columns, strict=True)
    named = (ClipNames(**dict(zip(COLUMNS, clip, strict=True))) for clip in clips)
    return (clip for clip in named if clip.clip_id not in rejects)


def without_copies(clips: Iterable[ClipNames], augment_copies: int) -> list[ClipNames]:
    """Return the clips that are not augmented copies."""
    endings = tuple(map(copy_suffix, range(1, augment_copies + 1)))
    return [clip for clip in clips if not (clip.split == "training" and endings and clip.clip_id.endswith(endings))]


def count_labels(folder: str | Path, index: ShardIndex) -> dict[str, dict[str, int]]:
    """Count the clips by label and split. It reads the manifest, because reading all shards takes minutes."""
    counts = Counter((clip.label_name, clip.split) for clip in read_clip_names(folder))
    splits = [split for split in SPLITS if split in index.splits]
    return {label: {split: counts[label, split] for split in splits} for label in index.labels}
