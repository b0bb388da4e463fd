"""Streaming exports: on any sound and for any chunks, the probabilities of the network that was trained."""

from __future__ import annotations

import functools
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trained_runs import SMALL, causal_run, random_run

from hybridspeech.commands.export import ExportResult, export
from hybridspeech.commands.predict import predict
from hybridspeech.errors import AudioError, ConfigError, RunError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.models.build import build_model
from hybridspeech.models.exported_stream import ExportedStream
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.trained_model import load_model

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")]
FORMATS = {"savedmodel-streaming": "model", "tflite-streaming": "model.tflite"}
CASES = [("dscnn", "savedmodel-streaming"), ("dscnn", "tflite-streaming"), ("bcresnet", "tflite-streaming")]
FRAMES_PER_STEP = {"dscnn": 8, "bcresnet": 2}
MAX_DIFFERENCE = 1e-4
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("causal")
    return {name: causal_run(folder / name, name) for name in FRAMES_PER_STEP}


@pytest.fixture(scope="module")
def exported(
    runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], tuple[ExportResult, ExportedStream]]:
    folder, made = tmp_path_factory.mktemp("exported"), {}
    for name, format in CASES:
        result = export(runs[name], folder / name / FORMATS[format], format=format)
        made[name, format] = result, ExportedStream(result.path)
    return made


@functools.cache
def sound(seed: int, seconds: float) -> np.ndarray:
    """Noise whose level and pitch change, with pauses of digital silence."""
    generator = np.random.default_rng(seed)
    num_samples = int(seconds * RATE_HZ)
    level = np.repeat(generator.choice([0, 1e-4, 1e-2, 0.3], num_samples // 2000 + 1), 2000)[:num_samples]
    pitch_hz = np.repeat(generator.uniform(100, 4000, num_samples // 3000 + 1), 3000)[:num_samples]
    tone = np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ)
    return (level * (tone + generator.standard_normal(num_samples))).astype(np.float32)


@functools.cache
def whole_network(run: Path, seconds: float) -> tuple[FeatureExtractor, tf_keras.Model, tf_keras.Model, int]:
    """The network of a run for a sound of this length, up to its pooling.

    Returns
    -------
    its features, its layers before the pooling, the network for clips, and the number of columns that a clip has
    """
    directory = RunDirectory(run)
    plan = directory.require_finished()
    features = replace(plan.features, clip_duration_ms=int(1000 * seconds))
    clip_network = load_model(directory, plan)
    network = build_model(replace(plan.model, input_shape=features.shape))
    network.set_weights(clip_network.get_weights())
    pooling = next(layer for layer in network.layers if isinstance(layer, tf_keras.layers.GlobalAveragePooling2D))
    num_columns = plan.features.num_frames // FRAMES_PER_STEP[plan.model.name]
    maps = tf_keras.Model(network.input, pooling.input)
    return FeatureExtractor(features), maps, clip_network, num_columns


@functools.cache
def expected(run: Path, seed: int, seconds: float) -> np.ndarray:
    """Probabilities of the network, applied once to the whole sound: float32 [shape=(num_steps, 4)].

    The features are those of preprocessing. The network is built for all frames of the sound; the mean of its last feature
    maps is taken over those columns that a clip of a second has.
    """
    extractor, maps, clip_network, num_columns = whole_network(run, seconds)
    spectrogram = extractor(sound(seed, seconds))[np.newaxis, ..., np.newaxis]
    columns = maps(spectrogram, training=False).numpy()[0].mean(axis=0)
    kernel, bias = clip_network.layers[-1].get_weights()
    means = [columns[max(0, end - num_columns) : end].mean(axis=0) for end in range(1, len(columns) + 1)]
    logits = np.stack(means) @ kernel + bias
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("case", CASES, ids="-".join)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2), chunks=st.lists(st.integers(0, 6000), min_size=1, max_size=12))
def test_a_stream_has_the_probabilities_of_the_network_for_any_chunks(
    case: tuple[str, str],
    runs: dict[str, Path],
    exported: dict[tuple[str, str], tuple[ExportResult, ExportedStream]],
    seed: int,
    chunks: list[int],
) -> None:
    stream, wave = exported[case][1], sound(seed, 2.5)
    stream.reset()
    ends = np.minimum(np.cumsum(chunks), len(wave))
    answers = np.concatenate([stream(part) for part in np.split(wave, ends)])
    reference = expected(runs[case[0]], seed, 2.5)
    assert len(answers) == len(reference) == len(wave) // (160 * FRAMES_PER_STEP[case[0]])
    np.testing.assert_allclose(answers, reference, atol=MAX_DIFFERENCE)
    assert np.ptp(reference, axis=0).max() > 0.05  # the sound matters


@pytest.mark.parametrize("name", FRAMES_PER_STEP)
def test_after_a_second_a_stream_predicts_what_predict_does(
    name: str,
    runs: dict[str, Path],
    exported: dict[tuple[str, str], tuple[ExportResult, ExportedStream]],
    tones: Path,
) -> None:
    import soundfile

    path, (_, stream) = next(iter(sorted(tones.glob("*/*.wav")))), exported[name, "tflite-streaming"]
    stream.reset()
    last = stream(soundfile.read(path, dtype="float32")[0])[-1]
    (prediction,) = predict(runs[name], [path], top_k=4)
    said = {candidate.label: candidate.probability for candidate in prediction.top}
    np.testing.assert_allclose(last, [said[label] for label in stream.labels], atol=MAX_DIFFERENCE)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_the_export_describes_its_step(
    case: tuple[str, str], exported: dict[tuple[str, str], tuple[ExportResult, ExportedStream]]
) -> None:
    result, stream = exported[case]
    hop = 160 * FRAMES_PER_STEP[case[0]]
    assert result.input_shape == (None if case[1] == "savedmodel-streaming" else 1, hop)
    assert (stream.labels, stream.sample_rate_hz, stream.hop_samples) == (result.labels, RATE_HZ, hop)
    path = Path(result.path)
    name = "assets/deployment.json"
    text = (path / name).read_text() if path.is_dir() else zipfile.ZipFile(path).read("deployment.json").decode()
    deployment = json.loads(text)
    assert deployment["labels"] == list(result.labels)
    assert (deployment["input"], deployment["state"], deployment["next_state"]) == ("waveform", "state", "next_state")


def test_a_savedmodel_takes_many_streams_at_once(
    exported: dict[tuple[str, str], tuple[ExportResult, ExportedStream]],
) -> None:
    import tensorflow as tf

    result, stream = exported["dscnn", "savedmodel-streaming"]
    loaded = tf.saved_model.load(result.path)
    size = int(loaded.signatures["metadata"]()["state_size"])
    waves = np.stack([sound(seed, 2.5)[:1280] for seed in range(3)])
    step = loaded.signatures["serving_default"]
    together = step(waveform=tf.constant(waves), state=tf.zeros((3, size)))["probabilities"]
    for wave, answer in zip(waves, together, strict=True):
        stream.reset()
        np.testing.assert_allclose(stream(wave)[0], answer, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="waveform: expected 1280 values per step"):
        step(waveform=tf.zeros((1, 1000)), state=tf.zeros((1, size)))


def test_other_runs_are_refused(tmp_path: Path) -> None:
    run = random_run(tmp_path / "run", SMALL, ("no", "yes"))
    with pytest.raises(RunError, match=r"its network is not causal, .* train with --causal"):
        export(run, tmp_path / "model", format="savedmodel-streaming")


def test_an_export_of_clips_is_no_stream(
    runs: dict[str, Path], exported: dict[tuple[str, str], tuple[ExportResult, ExportedStream]], tmp_path: Path
) -> None:
    result = export(runs["dscnn"], tmp_path / "model.tflite", format="tflite")
    with pytest.raises(ConfigError, match="takes whole clips; export with --format savedmodel-streaming"):
        ExportedStream(result.path)
    with pytest.raises(ConfigError, match="is not an exported model"):
        ExportedStream(tmp_path)
    with pytest.raises(ConfigError, match=r"samples are int16 \(8,\); expected float32"):
        exported["dscnn", "tflite-streaming"][1](np.zeros(8, np.int16))
    with pytest.raises(AudioError, match="a sample is not finite"):
        exported["dscnn", "tflite-streaming"][1](np.array([np.nan]))
