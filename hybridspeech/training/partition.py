"""Assigns shards to ranks, and counts the steps of an epoch. Knows nothing of TensorFlow and of the shards' contents."""

from __future__ import annotations

import math

from hybridspeech.errors import ConfigError, counted
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo


def rank_shards(index: ShardIndex, split: str, rank: int, num_workers: int) -> tuple[ShardInfo, ...]:
    """Return the shards of a split that one rank reads: every num_workers-th.

    Raises
    ------
    ConfigError: the split has fewer shards than there are workers.
    """
    shards = index.of_split(split)
    if len(shards) < num_workers:
        raise ConfigError(
            f"split {split!r} has {counted(len(shards), 'shard')} for {counted(num_workers, 'worker')}; each worker needs one "
            f"or more: preprocess again with --shards {num_workers} or more, or train with fewer workers"
        )
    return shards[rank::num_workers]


def count_examples(index: ShardIndex, split: str, rank: int, num_workers: int) -> int:
    """Return the number of examples of a split that one rank reads in one epoch."""
    return sum(shard.num_examples for shard in rank_shards(index, split, rank, num_workers))


def count_steps(index: ShardIndex, split: str, num_workers: int, batch_size: int) -> int:
    """Return the steps of one epoch, the same for all ranks: enough for the rank that has most examples."""
    most = max(count_examples(index, split, rank, num_workers) for rank in range(num_workers))
    return math.ceil(most / batch_size)
