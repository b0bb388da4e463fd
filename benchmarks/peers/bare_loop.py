"""The stage without an engine: one process per core calls reader, kernel and writer. The upper limit for an engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.peers.pipeline import Stage, Stopwatch, list_clips, some
from hybridspeech.audio.decode import read_clip
from hybridspeech.config import FeatureConfig
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.processes.environment import SINGLE_THREADED
from hybridspeech.processes.resources import num_cores
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import shard_name
from hybridspeech.shards.reader import read_shard
from hybridspeech.shards.writer import ShardWriter

CLIPS_PER_SHARD = 320  # 64 MiB, as `preprocess` chooses


def run(source: Path, out: Path) -> Stage:
    """Preprocess a folder. Start, imports and compilation of the processes are start-up."""
    os.environ.update(SINGLE_THREADED)
    watch = Stopwatch()
    cores = num_cores()
    with get_context("spawn").Pool(cores, initializer=_warm_up) as pool:
        pool.map(_nothing, range(cores * 4), chunksize=1)
        watch.started()
        paths = list_clips(source)
        count = max(cores, -(-len(paths) // CLIPS_PER_SHARD))
        shards = [(out / shard_name("training", i, count), paths[i::count]) for i in range(count)]
        num_clips = sum(pool.imap_unordered(make_shard, shards))
        watch.done()
        pool.close()
        pool.join()
    shape = FeatureConfig().shape
    samples = {
        example.clip_id: example.values for example in (next(read_shard(path, shape=shape)) for path, _ in some(shards))
    }
    return Stage(num_clips=num_clips, watch=watch, samples=samples)


def make_shard(shard: tuple[Path, Sequence[str]]) -> int:
    """Write one shard, and return the number of its clips."""
    path, clips = shard
    config = FeatureConfig()
    extractor = FeatureExtractor(config)
    with ShardWriter(path, ShardConfig(dtype="float32"), config.shape) as writer:
        for clip in clips:
            extractor(read_clip(clip, config), out=writer.payload)
            writer.write(clip, 0, "word", "", writer.payload)
    return len(clips)


def _warm_up() -> None:
    FeatureExtractor(FeatureConfig())(np.zeros(FeatureConfig().num_samples, np.float32))


def _nothing(_: int) -> None:
    pass
