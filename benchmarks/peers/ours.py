"""`hybridspeech.commands.preprocess`, on any of its engines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.peers.pipeline import Stage, Stopwatch, some
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import EngineConfig, FeatureConfig
from hybridspeech.engines import ENGINES
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.processes.resources import num_cores
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard
from hybridspeech.shards.worker import prepare_worker


def run(source: Path, out: Path, *, engine: str, master: str | None = None, features: str = "stft") -> Stage:
    """Preprocess a folder on all cores, or on those of `master`. Listing the source is part of the work.

    Start-up is that of the engine, with imports and compilation in this process and in its workers.
    """
    wanted = FeatureConfig(kind=features)  # type: ignore[arg-type]
    config = EngineConfig(master=master, num_executors=None if master else num_cores())
    watch = Stopwatch()
    warm_up()
    with ENGINES.load(engine)(config) as opened:
        opened.map_partitions(_prepare, [[0]] * opened.parallelism)
        watch.started()
        result = preprocess(source, out, features=wanted, engine=opened)
        watch.done()
    problem = f"{result.num_rejects} clips were rejected" if result.num_rejects else ""
    return Stage(
        num_clips=result.num_clips,
        watch=watch,
        samples=samples_of(source, out),
        facts={"digest": result.digest},
        problem=problem,
    )


def _prepare(_: Sequence[int]) -> None:
    prepare_worker()


def warm_up() -> None:
    """Import and compile the code that the driver needs."""
    import pyarrow.parquet

    pyarrow.array(["text"])  # imports pandas
    FeatureExtractor(FeatureConfig())


def samples_of(source: Path, shards: Path) -> dict[str, np.ndarray]:
    """Return the first spectrogram of a few shards, by the path of its clip."""
    index = ShardIndex.load(shards)
    examples = (next(read_shard(shards / shard.name, shape=index.features.shape)) for shard in some(index.shards))
    return {str(source / example.clip_id): example.values for example in examples}
