"""sizes: speed and bytes per clip of each format of shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.pipeline import Stopwatch
from benchmarks.records import Outcome
from hybridspeech.audio.decode import read_clip
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import EngineConfig, FeatureConfig
from hybridspeech.engines import ENGINES
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.processes.resources import num_cores
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard

LIMIT_DB = {"float32": 0.01, "float16": 0.05}
"""The resolution of float16 is 1/16 dB from 64 to 128 dB, and finer below."""


def measure(
    source: Path, scratch: Path, *, features: str = "stft", dtype: str = "float32", compression: str = "none"
) -> Outcome:
    """Return the clips per second of `preprocess` on all cores, and the bytes per clip."""
    out, config = scratch / "out", FeatureConfig(kind=features)  # type: ignore[arg-type]
    shards = ShardConfig(dtype=dtype, compression=compression)  # type: ignore[arg-type]
    watch = Stopwatch()
    with ENGINES.load("local")(EngineConfig(num_executors=num_cores())) as engine:
        watch.started()
        result = preprocess(source, out, features=config, shards=shards, engine=engine)
        watch.done()
    error = _error_db(source, out, config)
    return Outcome(
        value=result.num_clips / watch.work_s,
        startup_s=watch.startup_s,
        facts={"bytes_per_clip": result.num_bytes / result.num_clips, "error_db": error},
        problem="" if error <= LIMIT_DB[dtype] else f"{error:.3g} dB off; expected at most {LIMIT_DB[dtype]} dB",
    )


def _error_db(source: Path, out: Path, config: FeatureConfig) -> float:
    """Return the largest difference in dB from the reference kernel, over the first record of each shard."""
    reference = FeatureExtractor(FeatureConfig(kind=config.kind, kernel="reference"))
    errors = []
    for shard in ShardIndex.load(out).shards:
        example = next(read_shard(out / shard.name, shape=config.shape))
        expected = reference(read_clip(source / example.clip_id, config))
        errors.append(float(np.abs(example.values.astype(np.float32) - expected).max()))
    return max(errors)
