"""The Keras front-end computes the features of preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hybridspeech.audio.decode import read_clip
from hybridspeech.config import FeatureConfig
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.models.frontend import front_end

STFT, LOGMEL = FeatureConfig(), FeatureConfig(kind="logmel")


def by_preprocessing(waves: np.ndarray, features: FeatureConfig) -> np.ndarray:
    extractor = FeatureExtractor(features)
    return np.stack([extractor(wave).copy() for wave in waves])[..., np.newaxis]


def largest_difference_db(waves: np.ndarray, features: FeatureConfig, **settings: Any) -> float:
    return float(np.abs(front_end(features, **settings)(waves).numpy() - by_preprocessing(waves, features)).max())


@pytest.fixture(scope="module")
def real_waves(speech_commands: Path) -> np.ndarray:
    """Every 20th clip: float32 [shape=(85, 16000)]."""
    return np.stack([read_clip(path, STFT) for path in sorted(speech_commands.glob("[a-z]*/*.wav"))[::20]])


@pytest.mark.parametrize("features", [STFT, LOGMEL], ids=["stft", "logmel"])
def test_front_end_is_within_a_thousandth_of_a_db_on_real_clips(
    real_waves: np.ndarray, features: FeatureConfig
) -> None:
    assert largest_difference_db(real_waves, features) <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "features",
    [
        FeatureConfig(n_fft=600, hop_length=250),
        FeatureConfig(n_fft=512, hop_length=512, top_db=None),
        FeatureConfig(n_fft=1024, sample_rate_hz=8_000, clip_duration_ms=300),
        FeatureConfig(kind="logmel", n_fft=400, n_mels=40, fmin_hz=0.0, fmax_hz=8_000.0),
        FeatureConfig(kind="logmel", top_db=None, causal=True),
    ],
    ids=["n_fft-600", "no-top_db", "8-kHz", "40-bands", "causal"],
)
def test_front_end_uses_every_setting(features: FeatureConfig) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((3, features.num_samples)).astype(np.float32)
    assert largest_difference_db(noise, features) <= 1e-3


@pytest.mark.parametrize("features", [STFT, LOGMEL], ids=["stft", "logmel"])
def test_silence_and_an_impulse_are_as_in_preprocessing(features: FeatureConfig) -> None:
    waves = np.zeros((2, features.num_samples), np.float32)
    waves[1, 8_000] = 1.0
    assert largest_difference_db(waves, features) <= 1e-3


def test_top_db_is_relative_to_the_maximum_of_each_clip() -> None:
    noise = np.random.default_rng(0).standard_normal(STFT.num_samples).astype(np.float32)
    loud_and_soft = np.stack([noise, 1e-3 * noise])
    together = front_end(STFT)(loud_and_soft).numpy()
    alone = front_end(STFT)(loud_and_soft[1:]).numpy()
    np.testing.assert_array_equal(together[1:], alone)


@pytest.mark.parametrize("n_fft", [512, 400])
def test_float32_is_close_to_the_features_of_preprocessing(n_fft: int) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32)
    features = FeatureConfig(kind="logmel", n_fft=n_fft)
    assert largest_difference_db(noise, features, precision="float32") <= 1e-2


@pytest.mark.parametrize(
    "features", [STFT, LOGMEL, FeatureConfig(kind="logmel", n_fft=400)], ids=["stft", "logmel", "not-a-power-of-two"]
)
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_tflite_runs_it_with_builtin_operations_only(real_waves: np.ndarray, features: FeatureConfig) -> None:
    has_fft = features.n_fft & (features.n_fft - 1) == 0
    layer = front_end(features, precision="float32", transform="fft" if has_fft else "matrix")
    spec = tf.TensorSpec((None, features.num_samples), tf.float32, name="waveform")
    function = tf.function(lambda waveform: {"spectrogram": layer(waveform)}, input_signature=[spec])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], layer)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    runner = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner()
    waves = real_waves[::5]
    assert np.abs(runner(waveform=waves)["spectrogram"] - by_preprocessing(waves, features)).max() <= 1.5e-3


@pytest.mark.parametrize("features", [STFT, LOGMEL], ids=["stft", "logmel"])
def test_matrix_transform_in_double_precision_is_exact(features: FeatureConfig) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32)
    assert largest_difference_db(noise, features, transform="matrix") <= 1e-3


def test_keras_file_of_the_front_end_loads_in_safe_mode(tmp_path: Path) -> None:
    front_end(LOGMEL).save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32)
    np.testing.assert_array_equal(loaded(noise), front_end(LOGMEL)(noise))
