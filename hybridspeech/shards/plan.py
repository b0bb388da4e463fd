"""Decides which clip goes into which shard, and in which order: pure functions of clips, settings and rejects.

Nothing here depends on the order of a listing, the time, the engine or the number of executors, so that shards are
byte-identical everywhere. Knows nothing of files and features.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from hybridspeech.config import SPLITS, FeatureConfig
from hybridspeech.manifest.clips import Manifest
from hybridspeech.manifest.columns.clip_table import ClipTable
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import shard_name

TARGET_SHARD_BYTES = 64 << 20
MIN_SHARDS = 8
MAX_SHARDS_PER_GROUP = 4
GROUPS_PER_WORKER = 3


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One shard to make: its file name, its split, and its clips in the order in which they are written.

    `may_be_unchanged`: the shard exists, and some of its source files have another version.
    """

    name: str
    split: str
    clips: ClipTable
    may_be_unchanged: bool = False


def choose_num_shards(manifest: Manifest, features: FeatureConfig, shards: ShardConfig) -> int:
    """Choose the number of shards per split: about 64 MiB each in the largest split, and at least 8, one or more per worker."""
    largest = max(manifest.counts().values())
    clip_bytes = math.prod(features.shape) * (4 if shards.dtype == "float32" else 2)
    return max(MIN_SHARDS, math.ceil(largest * clip_bytes / TARGET_SHARD_BYTES))


def plan_shards(clips: ClipTable, shards: ShardConfig) -> list[ShardTask]:
    """Plan the shards of all splits: `shards.num_shards` per split, or one per clip if there are fewer clips."""
    return [task for split in SPLITS for task in _plan_split(clips.of_split(split), split, shards)]


def group_tasks(tasks: Sequence[ShardTask], parallelism: int = 0) -> list[tuple[ShardTask, ...]]:
    """Group small tasks, in their order; no group has more clips than the largest task.

    Each partition costs an engine the same overhead (Spark: 20 to 30 ms), and the validation split has as many shards as
    the training split.

    Parameters
    ----------
    parallelism : number of groups that are worked on at the same time. If it is given, a group may be up to
        MAX_SHARDS_PER_GROUP times as large, as long as there are GROUPS_PER_WORKER groups for each: a worker encodes one
        shard of a group while the one before is written to the disk or uploaded
    """
    limit = max((len(task.clips) for task in tasks), default=0)
    if parallelism:
        share = sum(len(task.clips) for task in tasks) // (GROUPS_PER_WORKER * parallelism)
        limit = max(limit, min(MAX_SHARDS_PER_GROUP * limit, share))
    groups: list[list[ShardTask]] = []
    capacity = 0
    for task in tasks:
        if not groups or len(task.clips) > capacity:
            groups.append([])
            capacity = limit
        groups[-1].append(task)
        capacity -= len(task.clips)
    return [tuple(group) for group in groups]


def _plan_split(clips: ClipTable, split: str, shards: ShardConfig) -> list[ShardTask]:
    """Plan the shards of one split: clips in the order of a seeded hash of their ids, one to each shard in turn."""
    ordered = clips.in_hash_order(f"{shards.seed}\0".encode())
    total = min(shards.num_shards or MIN_SHARDS, len(ordered))
    return [
        ShardTask(name=shard_name(split, i, total, shards.compression), split=split, clips=ordered[i::total])
        for i in range(total)
    ]


def rebalance(tasks: Sequence[ShardTask], rejected: Collection[str], shards: ShardConfig) -> list[ShardTask]:
    """Remove the rejected clip ids, and make the shards of a split equal in size again (within one clip).

    The last clips of the longest shards move to the shortest ones, so that most shards do not change. A split with fewer
    clips than shards is planned again.
    """
    balanced: list[ShardTask] = []
    for split in SPLITS:
        kept = [replace(task, clips=task.clips.without_ids(rejected)) for task in tasks if task.split == split]
        num_clips = sum(len(task.clips) for task in kept)
        if num_clips < len(kept):
            balanced += _plan_split(ClipTable.concat([task.clips for task in kept]), split, shards)
        elif kept:
            balanced += _balance(kept, num_clips)
    return balanced


def _balance(tasks: Sequence[ShardTask], num_clips: int) -> list[ShardTask]:
    low, extra = divmod(num_clips, len(tasks))
    longest_first = sorted(range(len(tasks)), key=lambda i: -len(tasks[i].clips))
    sizes = {i: low + (place < extra) for place, i in enumerate(longest_first)}
    rests = [tasks[i].clips[sizes[i] :] for i in longest_first]
    spare, num_taken = ClipTable.concat(rests), 0
    balanced = []
    for i, task in enumerate(tasks):
        missing = max(0, sizes[i] - len(task.clips))
        more = spare[num_taken : num_taken + missing]
        num_taken += missing
        clips = task.clips[: sizes[i]] if len(task.clips) > sizes[i] else task.clips
        balanced.append(replace(task, clips=ClipTable.concat([clips, more]) if missing else clips))
    return balanced
