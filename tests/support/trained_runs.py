"""Small finished runs for the tests of the verbs that come after training, made in seconds and shared."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import soundfile

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import train
from hybridspeech.config import AugmentConfig, FeatureConfig
from hybridspeech.models.build import build_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.records import override
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard
from hybridspeech.training.config import FitConfig
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.recipes import REPORT
from hybridspeech.training.run_directory import RunDirectory

SMALL = FeatureConfig(n_fft=256, hop_length=256)
"""129 bins x 63 frames, an eighth of the default."""


def tone_shards(base: Path, tones: Path) -> Path:
    """Shards of the `tones` fixture."""
    shards = base / "tone-shards"
    if not (shards / "index.json").exists():
        preprocess(tones, shards, features=SMALL, engine="local")
    return shards


def sound_shards(base: Path, tones: Path) -> Path:
    """Waveform shards of the `tones` fixture, with noise for each split."""
    source, shards = base / "tones-and-noise", base / "sound-shards"
    if not (shards / "index.json").exists():
        shutil.copytree(tones, source)
        (source / "_background_noise_").mkdir()
        generator = np.random.default_rng(1)
        for name in ("drizzle", "fan", "street"):
            noise = 0.1 * generator.standard_normal(40_000).astype(np.float32)
            soundfile.write(source / "_background_noise_" / f"{name}.wav", noise, 16_000, subtype="PCM_16")
        preprocess(source, shards, features=FeatureConfig(kind="waveform"), engine="local")
    return shards


def sound_run(base: Path, tones: Path) -> Path:
    """Train a dscnn on log-mel features of waveform shards, with tones that begin at different times."""
    run, shards = base / "sound-run", sound_shards(base, tones)
    fit = FitConfig(epochs=6, batch_size=8, learning_rate=3e-3, augment=AugmentConfig(time_shift_ms=100))
    if not RunDirectory(run).is_finished():
        train(
            shards,
            run,
            model=ModelConfig(name="dscnn"),
            fit=override(REPORT, fit),
            backend="local",
        )
    return run


def tone_run(base: Path, tones: Path) -> Path:
    """Make a run that recognises the tones: a few steps of Adam, without `train`."""
    import tf_keras

    run, shards = RunDirectory(base / "tone-run"), tone_shards(base, tones)
    if run.is_finished():
        return run.path
    index = ShardIndex.load(shards)
    examples = [
        example
        for shard in index.of_split("training")
        for example in read_shard(shards / shard.name, shape=index.features.shape)
    ]
    plan = TrainPlan(
        shards=str(shards),
        run=str(run.path),
        digest=index.digest,
        labels=index.labels,
        features=index.features,
        model=ModelConfig(
            name="cnn",
            input_shape=index.features.shape,
            num_labels=len(index.labels),
            dropout=0.0,
            width=1.0,
            standardize="none",
        ),
    )
    tf_keras.utils.set_random_seed(0)
    model = build_model(plan.model)
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = 0.8  # BatchNorm's default of 0.99 would not adapt in so few steps
    model.compile("adam", "sparse_categorical_crossentropy")
    spectrograms = np.stack([example.values for example in examples])[..., np.newaxis]
    model.fit(spectrograms, np.array([example.label for example in examples]), batch_size=16, epochs=6, verbose=0)
    return save_run(run, plan, model)


TONE_RECORDING_WORDS = (("low", 1.5), ("middle", 4.0), ("low", 6.3))
"""Words in `tone_recording`, and the begin of each, in seconds."""


def tone_recording(tones: Path) -> np.ndarray:
    """8 s of the word "high", with three other words in it: float32 at 16 kHz."""
    high, _ = soundfile.read(tones / "high" / "00000001_nohash_0.wav", dtype="float32")
    sound = np.tile(high, 8)
    for word, start_s in TONE_RECORDING_WORDS:
        wave, _ = soundfile.read(tones / word / "00000001_nohash_0.wav", dtype="float32")
        start = int(16_000 * start_s)
        sound[start : start + wave.size] = wave
    return sound


def random_run(path: Path, features: FeatureConfig, labels: tuple[str, ...]) -> Path:
    """Make a run with an untrained network: its labels are arbitrary but reproducible."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    sizes = {"input_shape": features.shape, "num_labels": len(labels), "dropout": 0.2, "width": 1.0}
    config = ModelConfig(name="cnn", standardize="clip", **sizes)  # type: ignore[arg-type]
    plan = TrainPlan(shards="none", run=str(path), labels=labels, features=features, model=config)
    return save_run(RunDirectory(path), plan, build_model(config))


def causal_run(path: Path, name: str, width: float = 0.25) -> Path:
    """Make a run with an untrained causal network for log-mel features and four labels, whose outputs differ widely."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    features = FeatureConfig(kind="logmel", top_db=None, causal=True)
    sizes = {"input_shape": features.shape, "num_labels": 4, "dropout": 0.2, "width": width}
    config = ModelConfig(name=name, standardize="none", causal=True, **sizes)  # type: ignore[arg-type]
    model, generator = build_model(config), np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0
    levels = generator.uniform(-90, 0, (16, 64, 10, 1)).repeat(10, axis=2) + generator.normal(0, 5, (16, 64, 100, 1))
    model(levels.astype(np.float32), training=True)  # for the means and variances of BatchNorm
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([3 * kernel, bias])
    plan = TrainPlan(shards="none", run=str(path), labels=("bed", "cat", "no", "wow"), features=features, model=config)
    return save_run(RunDirectory(path), plan, model)


def save_run(run: RunDirectory, plan: TrainPlan, model: object) -> Path:
    """Write the files of a finished training that the later verbs read."""
    run.create(plan)
    run.model_dir.mkdir(exist_ok=True)
    model.save_weights(run.weights_path)  # type: ignore[attr-defined]
    return run.path
