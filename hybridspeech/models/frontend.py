"""The features of ``hybridspeech.features.extractor`` as a Keras model, so that a network can take raw audio.

It consists of standard layers and TensorFlow operations, so a file that contains it loads without this package. Knows
nothing of files, runs and networks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.features.reference import MIN_POWER, mel_filters_float64
from hybridspeech.features.window import hann

if TYPE_CHECKING:
    import tf_keras

INPUT_NAME = "waveform"
FRONT_END_NAME = "spectrogram"
Precision = Literal["float32", "float64"]
Transform = Literal["fft", "matrix"]


def front_end(
    features: FeatureConfig,
    *,
    precision: Precision = "float64",
    transform: Transform = "fft",
) -> tf_keras.Model:
    """Build the transform from waveforms to spectrograms in dB.

    Its input is float32 [shape=(batch, num_samples)], full scale = 1.0; its output float32
    [shape=(batch, num_bins, num_frames, 1)], dB.

    Parameters
    ----------
    features : settings of the shards that the network was trained on
    precision : precision of the Fourier transform. "float64" is within 1e-5 dB of librosa. "float32" takes a third of the
        time and is up to 1e-2 dB away, in bins far below the loudest one (more without top_db). TFLite has no float64
        transform, but its RFFT2D computes in double precision: there "float32" is within 1.5e-3 dB on 1,700 real clips
    transform : "matrix" multiplies by the matrix of the transform, for runtimes without a Fourier transform of this length
    """
    import tensorflow as tf
    from tf_keras import Input, Model

    waveform = Input((features.num_samples,), name=INPUT_NAME)
    padded = tf.pad(tf.cast(waveform, precision), [[0, 0], list(features.padding)])
    return Model(waveform, _spectrogram(padded, features, precision, transform), name=FRONT_END_NAME)


def streaming_front_end(
    features: FeatureConfig, num_frames: int, *, precision: Precision = "float64", transform: Transform = "fft"
) -> tf_keras.Model:
    """Build the transform from a part of a stream to the next frames in dB, without padding.

    Its input is float32 [shape=(batch, n_fft + (num_frames - 1) * hop_length)]: the last n_fft - hop_length samples of the
    part before, and the new ones. Its output is float32 [shape=(batch, num_bins, num_frames, 1)].

    Parameters
    ----------
    features : causal settings
    precision, transform : as `front_end`
    """
    import tensorflow as tf
    from tf_keras import Input, Model

    waveform = Input((features.n_fft + (num_frames - 1) * features.hop_length,), name=INPUT_NAME)
    samples = tf.cast(waveform, precision)
    return Model(waveform, _spectrogram(samples, features, precision, transform), name=FRONT_END_NAME)


def transform_for(features: FeatureConfig) -> Transform:
    """Return the transform that TFLite can compute: its RFFT2D takes powers of two only."""
    return "fft" if features.n_fft.bit_count() == 1 else "matrix"


def _spectrogram(samples: Any, features: FeatureConfig, precision: Precision, transform: Transform) -> Any:
    import tensorflow as tf
    from tf_keras import layers

    power = _fft_power(samples, features) if transform == "fft" else _matrix_power(samples, features, precision)
    if features.kind == "logmel":
        power = _fixed(mel_filters_float64(features).T, precision, "mel")(power)
    decibels = tf.cast(_decibels(power, features.top_db), tf.float32)
    return layers.Reshape((features.num_bins, power.shape[1], 1))(layers.Permute((2, 1))(decibels))


def _fft_power(waves: Any, features: FeatureConfig) -> Any:
    """Power spectra [shape=(batch, num_frames, 1 + n_fft // 2)]; the default window is the periodic Hann window."""
    import tensorflow as tf

    spectrum = tf.signal.stft(waves, features.n_fft, features.hop_length, fft_length=features.n_fft)
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def _matrix_power(waves: Any, features: FeatureConfig, precision: str) -> Any:
    import tensorflow as tf

    n_fft = features.n_fft
    frames = tf.signal.frame(waves, n_fft, features.hop_length)
    angles = np.outer(np.arange(n_fft), np.arange(1 + n_fft // 2)) % n_fft * (2 * np.pi / n_fft)
    real, imaginary = (
        _fixed(hann(n_fft)[:, np.newaxis] * part(angles), precision, name)(frames)
        for part, name in ((np.cos, "real"), (np.sin, "imaginary"))
    )
    return tf.square(real) + tf.square(imaginary)


def _fixed(kernel: np.ndarray, precision: str, name: str) -> tf_keras.layers.Layer:
    """Make a linear layer with this kernel, [shape=(num_inputs, num_outputs)], that is not trained."""
    from tf_keras import layers

    layer = layers.Dense(kernel.shape[1], use_bias=False, trainable=False, dtype=precision, name=name)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel])
    return layer


def _decibels(power: Any, top_db: float | None) -> Any:
    """Return 10 log10(power), at least the maximum of the clip minus `top_db`."""
    import tensorflow as tf

    decibels = tf.math.log(tf.maximum(power, MIN_POWER)) * (10 / math.log(10))
    if top_db is None:
        return decibels
    return tf.maximum(decibels, tf.reduce_max(decibels, axis=[1, 2], keepdims=True) - top_db)
