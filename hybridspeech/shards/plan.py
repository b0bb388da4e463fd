"""Which clip goes into which shard, and in which order. Pure functions of clips, settings and rejects.

Nothing here depends on listing order, time, engine or number of executors; that is what makes shards byte-identical
everywhere. Knows nothing of files and features.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from hybridspeech.config import SPLITS, FeatureConfig
from hybridspeech.manifest.clips import Clip, Manifest
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import shard_name

TARGET_SHARD_BYTES = 64 << 20
MIN_SHARDS = 8


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One shard to be made: its file name, split and clips, in the order in which they are written."""

    name: str
    split: str
    clips: tuple[Clip, ...]


def choose_num_shards(manifest: Manifest, features: FeatureConfig, shards: ShardConfig) -> int:
    """Shards per split: about 64 MiB each in the largest split, and at least 8, for workers to share."""
    largest = max(manifest.counts().values())
    clip_bytes = math.prod(features.shape) * (4 if shards.dtype == "float32" else 2)
    return max(MIN_SHARDS, math.ceil(largest * clip_bytes / TARGET_SHARD_BYTES))


def plan_shards(clips: Sequence[Clip], shards: ShardConfig) -> list[ShardTask]:
    """The shards of all splits; `shards.num_shards` of each split, or one a clip where there are fewer clips."""
    return [task for split in SPLITS for task in _deal([clip for clip in clips if clip.split == split], split, shards)]


def group_tasks(tasks: Sequence[ShardTask]) -> list[tuple[ShardTask, ...]]:
    """The tasks in their order, small ones together: no group has more clips than the largest task.

    What an engine hands out costs it the same, be it large or small (Spark: 20 to 30 ms), and a split for validation has as
    many shards as the one for training.
    """
    limit = max((len(task.clips) for task in tasks), default=0)
    groups: list[list[ShardTask]] = []
    room = 0
    for task in tasks:
        if not groups or len(task.clips) > room:
            groups.append([])
            room = limit
        groups[-1].append(task)
        room -= len(task.clips)
    return [tuple(group) for group in groups]


def _deal(clips: Sequence[Clip], split: str, shards: ShardConfig) -> list[ShardTask]:
    """One split, in the order of a seeded hash of the ids, dealt out like cards: equal within one clip."""
    ordered = sorted(clips, key=lambda clip: (_hash(clip.clip_id, shards.seed), clip.clip_id))
    total = min(shards.num_shards or MIN_SHARDS, len(ordered))
    return [
        ShardTask(name=shard_name(split, i, total, shards.compression), split=split, clips=tuple(ordered[i::total]))
        for i in range(total)
    ]


def _hash(clip_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0".encode() + os.fsencode(clip_id)).digest()


def rebalance(tasks: Sequence[ShardTask], rejected: Collection[str], shards: ShardConfig) -> list[ShardTask]:
    """The shards without the rejected clip ids, those of a split equal in size again (within one clip).

    The longest shards give their last clips to the shortest, so that most shards stay as they are. A split with fewer
    clips left than shards is dealt anew.
    """
    balanced: list[ShardTask] = []
    for split in SPLITS:
        kept = [
            replace(task, clips=tuple(clip for clip in task.clips if clip.clip_id not in rejected))
            for task in tasks
            if task.split == split
        ]
        num_clips = sum(len(task.clips) for task in kept)
        if num_clips < len(kept):
            balanced += _deal([clip for task in kept for clip in task.clips], split, shards)
        elif kept:
            balanced += _level(kept, num_clips)
    return balanced


def _level(tasks: Sequence[ShardTask], num_clips: int) -> list[ShardTask]:
    low, extra = divmod(num_clips, len(tasks))
    longest_first = sorted(range(len(tasks)), key=lambda i: -len(tasks[i].clips))
    sizes = {i: low + (place < extra) for place, i in enumerate(longest_first)}
    spare = [clip for i in longest_first for clip in tasks[i].clips[sizes[i] :]]
    levelled = []
    for i, task in enumerate(tasks):
        clips = task.clips[: sizes[i]]
        missing = sizes[i] - len(clips)
        levelled.append(replace(task, clips=(*clips, *spare[:missing])))
        spare = spare[missing:]
    return levelled
