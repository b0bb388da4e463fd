"""The transform of ``hybridspeech.features.extractor`` as a Keras layer, so that a network can take raw audio.

    waveform, float32 [shape=(batch, num_samples)], full scale = 1.0
    Spectrogram: float32 [shape=(batch, num_bins, num_frames, 1)], dB

The one module that loads TensorFlow when it is imported: ``import hybridspeech.models.frontend`` registers the layer, which is
what ``tf_keras.models.load_model`` needs to read a ``.keras`` file with it. Knows nothing of files, runs and networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tf_keras

from hybridspeech.config import FeatureConfig, from_json, to_json
from hybridspeech.features.reference import MIN_POWER, mel_filters_float64
from hybridspeech.features.window import hann


class Spectrogram(tf_keras.layers.Layer):  # type: ignore[misc]
    """Spectrogram in dB of every waveform of a batch, as preprocessing computes it.

    Parameters
    ----------
    features : the settings of the shards that the network was trained on, or their `to_json` form
    precision : what the Fourier transform is computed in. "float64" is within 1e-5 dB of librosa. "float32" takes a
        third of the time and is up to 1e-2 dB away, in bins far under the loudest one (more without a top_db). TFLite
        has no float64 transform, but its RFFT2D works in double inside: there "float32" is within 1.5e-3 dB (on 1,700
        real clips; 3e-3 where n_fft is no power of two).
    """

    def __init__(
        self,
        features: FeatureConfig | Mapping[str, Any],
        precision: Literal["float32", "float64"] = "float64",
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.features = features if isinstance(features, FeatureConfig) else from_json(FeatureConfig, features)
        self.precision = precision

    def call(self, waveform: tf.Tensor) -> tf.Tensor:
        """Float32 [shape=(batch, num_bins, num_frames, 1)], dB, of float32 [shape=(batch, num_samples)]."""
        config = self.features
        margin = config.n_fft // 2
        centred = tf.pad(tf.cast(waveform, self.precision), [[0, 0], [margin, margin]])
        frames = tf.signal.frame(centred, config.n_fft, config.hop_length)
        power = _power_spectrum(frames * hann(config.n_fft).astype(self.precision))
        if config.kind == "logmel":
            power = tf.linalg.matmul(power, mel_filters_float64(config).T.astype(self.precision))
        decibels = tf.cast(_decibels(power, config.top_db), tf.float32)
        return tf.reshape(tf.transpose(decibels, [0, 2, 1]), [-1, *config.shape, 1])

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """(batch, num_bins, num_frames, 1)."""
        return (input_shape[0], *self.features.shape, 1)

    def get_config(self) -> dict[str, Any]:
        """What Keras stores in a ``.keras`` file."""
        return {**super().get_config(), "features": to_json(self.features), "precision": self.precision}


tf_keras.saving.register_keras_serializable("hybridspeech")(Spectrogram)


def _power_spectrum(frames: tf.Tensor) -> tf.Tensor:
    """[shape=(..., 1 + n_fft // 2)] of [shape=(..., n_fft)].

    TFLite's RFFT2D takes powers of two only, so that other lengths in float32 go through the matrix of the transform.
    """
    n_fft = frames.shape[-1]
    if frames.dtype == tf.float64 or n_fft & (n_fft - 1) == 0:
        spectrum = tf.signal.rfft(frames)
        return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    turns = np.outer(np.arange(n_fft), np.arange(1 + n_fft // 2)) % n_fft * (2 * np.pi / n_fft)
    real, imaginary = (tf.linalg.matmul(frames, part(turns).astype("float32")) for part in (np.cos, np.sin))
    return tf.square(real) + tf.square(imaginary)


def _decibels(power: tf.Tensor, top_db: float | None) -> tf.Tensor:
    """10 log10(power), no lower than `top_db` under the loudest cell of the same clip."""
    decibels = (10 / math.log(10)) * tf.math.log(tf.maximum(power, MIN_POWER))
    if top_db is None:
        return decibels
    return tf.maximum(decibels, tf.reduce_max(decibels, axis=[1, 2], keepdims=True) - top_db)
