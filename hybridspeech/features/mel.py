"""Mel filters without librosa. Knows nothing of how they are applied."""

from __future__ import annotations

import numpy as np

from hybridspeech.config import FeatureConfig

# Slaney's Auditory Toolbox (1998): linear below 1 kHz, 15 mel; above it 27 mel per factor of 6.4.
_HZ_PER_MEL, _KNEE_HZ, _KNEE_MEL, _LOG_STEP = 200 / 3, 1000.0, 15.0, np.log(6.4) / 27


def mel_filters(config: FeatureConfig) -> np.ndarray:
    """Compute triangular mel filters of equal area (Slaney's scale and norm), as librosa.filters.mel.

    Returns
    -------
    float32 [shape=(n_mels, 1 + n_fft // 2)]
    """
    bins_hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate_hz)
    low, high = _hz_to_mel(config.fmin_hz), _hz_to_mel(config.fmax_hz)
    edges_hz = _mel_to_hz(np.linspace(low, high, config.n_mels + 2))
    widths = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    weights: np.ndarray = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return weights.astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _KNEE_HZ else _KNEE_MEL + float(np.log(hz / _KNEE_HZ)) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    above_knee = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    hz: np.ndarray = np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, above_knee)
    return hz
