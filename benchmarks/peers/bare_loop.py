"""The stage without an engine: one process per core calls reader, kernel and writer. The upper limit for an engine."""

from __future__ import annotations

import math
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
from hybridspeech.shards.plan import MIN_SHARDS, TARGET_SHARD_BYTES
from hybridspeech.shards.reader import read_shard
from hybridspeech.shards.writer import ShardWriter


def run(source: Path, out: Path, *, features: str = "stft") -> Stage:
    """Preprocess a folder. Start, imports and compilation of the processes are start-up."""
    os.environ.update(SINGLE_THREADED)
    watch = Stopwatch()
    cores, config = num_cores(), FeatureConfig(kind=features)  # type: ignore[arg-type]
    with get_context("spawn").Pool(cores, initializer=_warm_up, initargs=(config,)) as pool:
        pool.map(_nothing, range(cores * 4), chunksize=1)
        watch.started()
        paths = list_clips(source)
        num_bytes = len(paths) * math.prod(config.shape) * np.dtype(np.float32).itemsize
        count = max(cores, MIN_SHARDS, -(-num_bytes // TARGET_SHARD_BYTES))  # as `preprocess` chooses
        shards = [(out / shard_name("training", i, count), paths[i::count], config) for i in range(count)]
        num_clips = sum(pool.imap_unordered(make_shard, shards))
        watch.done()
        pool.close()
        pool.join()
    examples = (next(read_shard(path, shape=config.shape)) for path, _, _ in some(shards))
    samples = {example.clip_id: example.values for example in examples}
    return Stage(num_clips=num_clips, watch=watch, samples=samples)


def make_shard(shard: tuple[Path, Sequence[str], FeatureConfig]) -> int:
    """Write one shard, and return the number of its clips."""
    path, clips, config = shard
    extractor = FeatureExtractor(config)
    with ShardWriter(path, ShardConfig(dtype="float32"), config.shape) as writer:
        for clip in clips:
            extractor(read_clip(clip, config), out=writer.payload)
            writer.write(clip, 0, "word", "", writer.payload)
    return len(clips)


def _warm_up(config: FeatureConfig) -> None:
    FeatureExtractor(config)(np.zeros(config.num_samples, np.float32))


def _nothing(_: int) -> None:
    pass
