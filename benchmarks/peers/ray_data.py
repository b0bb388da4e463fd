"""The stage in plain Ray Data: reader and kernel of this package in `map_batches`; writes Parquet files."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peers.pipeline import Stage, Stopwatch, list_clips, some
from hybridspeech.audio.decode import read_clip
from hybridspeech.clusters.ray_session import ray_environment
from hybridspeech.config import FeatureConfig
from hybridspeech.features.extractor import spectrogram
from hybridspeech.processes.environment import SINGLE_THREADED
from hybridspeech.processes.resources import num_cores

OBJECT_STORE_BYTES = 1 << 30
BATCH_SIZE = 64


def to_spectrograms(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return paths [shape=(n,)] with spectrograms, float32 [shape=(n, 1025, 50)]."""
    config = FeatureConfig()
    made = np.stack([spectrogram(read_clip(path, config), config) for path in batch["path"]])
    return {"path": batch["path"], "spectrogram": made}


def run(source: Path, out: Path) -> Stage:
    """Preprocess a folder with one task per core at a time."""
    watch = Stopwatch()
    os.environ.update({**ray_environment(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        import ray

        ray.init(
            address="local",
            num_cpus=num_cores(),
            num_gpus=0,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {**SINGLE_THREADED, "PYTHONPATH": os.environ["PYTHONPATH"]}},
            _temp_dir=folder,
        )
        try:
            return _work(ray, watch, source, out)
        finally:
            ray.shutdown()


def _work(ray: object, watch: Stopwatch, source: Path, out: Path) -> Stage:
    import pyarrow.parquet
    from ray import data

    data.DataContext.get_current().enable_progress_bars = False
    watch.started()
    paths = list_clips(source)
    blocks = max(num_cores(), len(paths) // BATCH_SIZE)
    rows = data.from_items([{"path": path} for path in paths], override_num_blocks=blocks)
    rows.map_batches(to_spectrograms, batch_size=BATCH_SIZE).write_parquet(str(out), compression="none")
    watch.done()
    files = sorted(out.glob("*.parquet"))
    count = sum(pyarrow.parquet.ParquetFile(file).metadata.num_rows for file in files)
    first = (data.read_parquet(str(file)).take(1)[0] for file in some(files))
    return Stage(num_clips=count, watch=watch, samples={row["path"]: row["spectrogram"] for row in first})
