"""The stage in Hugging Face datasets: our reader and kernel in `map(num_proc=...)`, Arrow files as its output."""

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
    """The row with its spectrogram, float32 [shape=(1025, 50)]."""
    config = FeatureConfig()
    return {"spectrogram": spectrogram(read_clip(row["path"], config), config)}


def run(source: Path, out: Path) -> Stage:
    """One process a core; its cache is the output."""
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
