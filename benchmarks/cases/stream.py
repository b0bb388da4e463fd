"""stream: CPU time of a streaming export, and of one that takes a second for each step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.records import Outcome
from hybridspeech.audio.decode import read_clip
from hybridspeech.commands.export import export
from hybridspeech.config import FeatureConfig
from hybridspeech.models.build import build_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.models.export_formats import FORMATS
from hybridspeech.models.exported_stream import ExportedStream
from hybridspeech.models.streaming import StreamingNetwork
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import tf_keras

FEATURES = FeatureConfig(kind="logmel", top_db=None, causal=True)
LABELS = tuple(f"word-{number:02}" for number in range(12))


def measure(source: Path, scratch: Path, *, network: str, format: str, seconds: float) -> Outcome:
    """Return the CPU time per second of sound, in ms.

    Parameters
    ----------
    source : folder of clips, which are the sound
    network, format : causal network, and format of the export
    seconds : length of the sound
    """
    run, built = untrained_run(scratch / "run", network, FEATURES)
    hop = StreamingNetwork(built).frames_per_step * FEATURES.hop_length
    out = export(run, scratch / f"model{FORMATS[format].suffix}", format=format)
    wave, started = continuous_sound(source, seconds, FEATURES), 0.0
    if format.endswith("-streaming"):
        stream = ExportedStream(out.path)
        stream(wave[: 2 * hop])
        started = time.process_time()
        stream(wave)
    else:
        classify, num_samples = FORMATS[format].read(Path(out.path)), FEATURES.num_samples
        classify(wave[np.newaxis, :num_samples])
        started = time.process_time()
        for end in range(hop, len(wave) + 1, hop):
            last = wave[max(0, end - num_samples) : end]
            classify(np.pad(last, (num_samples - len(last), 0))[np.newaxis])
    cpu_s = time.process_time() - started
    facts = {"hop_ms": 1000 * hop / FEATURES.sample_rate_hz, "num_bytes": out.num_bytes}
    return Outcome(value=1000 * cpu_s * FEATURES.sample_rate_hz / len(wave), startup_s=0.0, facts=facts)


def untrained_run(path: Path, network: str, features: FeatureConfig) -> tuple[Path, tf_keras.Model]:
    """Make a run with random weights, which cost as much as trained ones; causal if its features are."""
    model = ModelConfig(
        name=network,
        input_shape=features.shape,
        num_labels=len(LABELS),
        dropout=0.0,
        width=1.0,
        standardize="none",
        causal=features.causal,
    )
    directory, built = RunDirectory(path), build_model(model)
    directory.create(TrainPlan(shards="none", run=str(path), labels=LABELS, features=features, model=model))
    directory.model_dir.mkdir(exist_ok=True)
    built.save_weights(directory.weights_path)
    return path, built


def continuous_sound(source: Path, seconds: float, features: FeatureConfig) -> np.ndarray:
    """Return clips of a folder, one after the other: float32 [shape=(num_samples,)], full scale = 1.0."""
    clips = [read_clip(path, features) for path in sorted(source.rglob("*.wav"))[: max(2, int(seconds))]]
    return np.resize(np.concatenate(clips), int(seconds * features.sample_rate_hz)).astype(np.float32)
