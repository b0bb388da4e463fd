"""Spectrograms by librosa in float64: the reference for the compiled kernels.

librosa is imported when it is first used. Knows nothing of files and shards.
"""

from __future__ import annotations

import numpy as np

from hybridspeech.config import FeatureConfig

MIN_POWER = 1e-10
"""Smallest power, librosa's ``amin`` of a power spectrum: the floor of silence is -100 dB."""


class ReferenceKernel:
    """Calls librosa in float64, with its defaults: Hann window, zero padding; centred frames, or those of causal features."""

    def __init__(self, config: FeatureConfig) -> None:
        self._config = config

    def __call__(self, wave: np.ndarray, out: np.ndarray) -> None:
        import librosa

        config, samples = self._config, wave.astype(np.float64)
        if config.causal:
            samples = np.pad(samples, config.padding)
        if config.kind == "stft":
            magnitudes = np.abs(
                librosa.stft(samples, n_fft=config.n_fft, hop_length=config.hop_length, center=not config.causal)
            )
            out[...] = librosa.amplitude_to_db(magnitudes, ref=1.0, amin=1e-5, top_db=config.top_db)
            return
        powers = librosa.feature.melspectrogram(
            y=samples,
            sr=config.sample_rate_hz,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            n_mels=config.n_mels,
            fmin=config.fmin_hz,
            fmax=config.fmax_hz,
            center=not config.causal,
        )
        out[...] = librosa.power_to_db(powers, ref=1.0, amin=MIN_POWER, top_db=config.top_db)


def mel_filters_float64(config: FeatureConfig) -> np.ndarray:
    """Return librosa's mel filters (Slaney scale and norm): float64 [shape=(n_mels, 1 + n_fft // 2)]."""
    from librosa.filters import mel

    filters: np.ndarray = mel(
        sr=config.sample_rate_hz,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.fmin_hz,
        fmax=config.fmax_hz,
        dtype=np.float64,
    )
    return filters
