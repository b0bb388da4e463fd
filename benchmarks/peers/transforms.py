"""Transforms of one waveform to one spectrogram. Each public function returns the function that is timed.

It takes a waveform [shape=(16000,)], full scale = 1.0, and returns [shape=(1025, 50)], dB re 1.0, dynamic range 80 dB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.reference import HOP_LENGTH, N_FFT, NUM_SAMPLES, spectrogram
from hybridspeech.config import FeatureConfig
from hybridspeech.features.extractor import FeatureExtractor

Transform = Callable[[np.ndarray], np.ndarray]
AMIN_POWER, TOP_DB = 1e-10, 80.0
NUM_FRAMES = 1 + NUM_SAMPLES // HOP_LENGTH


def original() -> Transform:
    """Return the function of the 2020 report's pipeline. Its waveforms are float64, as soundfile returns them."""
    return spectrogram


def librosa_float32() -> Transform:
    """Return the same function, for float32 waveforms."""
    return spectrogram


def fast() -> Transform:
    """Return the fast kernel of this package; the output array is reused, as in writing shards."""
    return _ours(FeatureConfig(kernel="fast"))


def reference() -> Transform:
    """Return the reference kernel of this package."""
    return _ours(FeatureConfig(kernel="reference"))


def _ours(config: FeatureConfig) -> Transform:
    extractor = FeatureExtractor(config)
    out = np.empty(config.shape, np.float32)
    return lambda wave: extractor(wave, out=out)


def scipy_short_time_fft() -> Transform:
    """Return a transform with `scipy.signal.ShortTimeFFT`."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    window = hann(N_FFT, sym=False).astype(np.float32)
    transform = ShortTimeFFT(window, HOP_LENGTH, fs=1.0, fft_mode="onesided", phase_shift=None)

    def run(wave: np.ndarray) -> np.ndarray:
        found = transform.stft(wave, p0=0, p1=NUM_FRAMES)
        levels = 10 * np.log10(np.maximum(found.real**2 + found.imag**2, AMIN_POWER))
        return np.asarray(np.maximum(levels, levels.max() - TOP_DB))

    return run


def tf_signal() -> Transform:
    """Return a transform with `tf.signal.stft` in a graph; the environment sets the number of threads."""
    import tensorflow as tf

    compiled = tf.function(tensor_decibels, input_signature=[tf.TensorSpec([NUM_SAMPLES], tf.float32)])
    return lambda wave: compiled(wave).numpy()


def tensor_decibels(wave: Any) -> Any:
    """Return the spectrogram, float32 [shape=(1025, 50)], of a tensor, float32 [shape=(16000,)]."""
    import tensorflow as tf

    padded = tf.pad(wave, [[N_FFT // 2, N_FFT // 2]])
    found = tf.transpose(tf.signal.stft(padded, N_FFT, HOP_LENGTH))
    power = tf.square(tf.math.real(found)) + tf.square(tf.math.imag(found))
    levels = 10 / math.log(10) * tf.math.log(tf.maximum(power, AMIN_POWER))
    return tf.maximum(levels, tf.reduce_max(levels) - TOP_DB)


def torch_stft() -> Transform:
    """Return a transform with `torch.stft`, which torchaudio's `Spectrogram` calls, and the decibels of `AmplitudeToDB`."""
    import torch

    torch.set_num_threads(1)
    window = torch.hann_window(N_FFT)

    def run(wave: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            samples = torch.from_numpy(wave)
            found = torch.stft(samples, N_FFT, HOP_LENGTH, window=window, pad_mode="constant", return_complex=True)
            levels = 10 * torch.log10(torch.clamp(found.abs().square(), min=AMIN_POWER))
            return np.asarray(torch.maximum(levels, levels.max() - TOP_DB))

    return run
