"""ingest: one epoch of the training input, without a model."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.peers.pipeline import Stopwatch
from benchmarks.records import Outcome
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.dataset import EpochInput, worker_dataset
from hybridspeech.training.partition import count_steps
from hybridspeech.training.recipes import REPORT

SPLIT = "training"


def measure(source: Path, scratch: Path, *, cold: bool) -> Outcome:
    """Return the examples per second of the second shuffled epoch of `worker_dataset` for one worker.

    Parameters
    ----------
    cold : drop the shards from the page cache before the epoch
    """
    watch = Stopwatch()
    import tensorflow as tf

    fit, index = REPORT, ShardIndex.load(source)
    steps = count_steps(index, SPLIT, 1, fit.batch_size)

    def read(epoch: int) -> float:
        """Read one epoch, and return its number of examples."""
        data = worker_dataset(
            source,
            index,
            SPLIT,
            EpochInput(rank=0, num_workers=1, batch_size=fit.batch_size, shuffle=(fit.seed, epoch, fit.shuffle_buffer)),
        )
        return sum(float(tf.reduce_sum(weight)) for _, _, weight in data.take(steps))

    read(0)  # the runtime starts and allocates its memory
    if cold:
        _drop_from_cache([source / shard.name for shard in index.shards])
    watch.started()
    num_examples = read(1)
    watch.done()
    expected = index.splits[SPLIT]
    return Outcome(
        value=num_examples / watch.work_s,
        startup_s=watch.startup_s,
        problem="" if num_examples == expected else f"{num_examples:g} examples; expected {expected}",
    )


def _drop_from_cache(paths: list[Path]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # unwritten pages cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
