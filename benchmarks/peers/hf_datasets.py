"""The stage in Hugging Face datasets: reader and kernel of this package in `map(num_proc=...)`; writes Arrow files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.pipeline import Stage, Stopwatch, list_clips, some
from hybridspeech.audio.decode import read_clip
from hybridspeech.config import FeatureConfig
from hybridspeech.features.extractor import spectrogram
from hybridspeech.processes.environment import SINGLE_THREADED
from hybridspeech.processes.resources import num_cores


def to_spectrogram(row: dict[str, Any]) -> dict[str, Any]:
    """Return the spectrogram of a row, float32 [shape=(1025, 50)]."""
    config = FeatureConfig()
    return {"spectrogram": spectrogram(read_clip(row["path"], config), config)}


def run(source: Path, out: Path) -> Stage:
    """Preprocess a folder with one process per core; the cache file is the output."""
    os.environ.update({**SINGLE_THREADED, "HF_HOME": str(out.parent / "hf"), "HF_HUB_OFFLINE": "1"})
    watch = Stopwatch()
    import datasets

    shape = FeatureConfig().shape
    features = datasets.Features({"path": datasets.Value("string"), "spectrogram": datasets.Array2D(shape, "float32")})
    datasets.disable_progress_bars()
    watch.started()
    rows = datasets.Dataset.from_dict({"path": list_clips(source)})
    made = rows.map(
        to_spectrogram,
        num_proc=num_cores(),
        features=features,
        cache_file_name=str(out / "spectrograms.arrow"),
        writer_batch_size=100,
    )
    watch.done()
    checked = (made[int(i)] for i in some(range(len(made))))
    samples = {row["path"]: np.asarray(row["spectrogram"], np.float32) for row in checked}
    return Stage(num_clips=len(made), watch=watch, samples=samples)
