"""Conversion between PCM 16 samples and float waveforms. Knows nothing of files."""

from __future__ import annotations

import numpy as np

_FULL_SCALE = 32_768  # libsndfile's: -32,768 is -1.0


def from_pcm16(samples: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Convert int16 samples to a waveform.

    Parameters
    ----------
    samples : int16 [any shape], full scale = 32,768
    out : float32 [shape=samples.shape] to write to; None makes a new array

    Returns
    -------
    float32 [shape=samples.shape], full scale = 1.0; exact
    """
    wave: np.ndarray = np.multiply(samples, np.float32(1 / _FULL_SCALE), out=out)
    return wave


def to_pcm16(wave: np.ndarray) -> np.ndarray:
    """Convert a waveform to int16 samples, rounded and clipped; exact for what `from_pcm16` returns.

    Parameters
    ----------
    wave : float32 [any shape], full scale = 1.0

    Returns
    -------
    int16 [shape=wave.shape], full scale = 32,768
    """
    samples: np.ndarray = np.clip(np.rint(wave * np.float32(_FULL_SCALE)), -_FULL_SCALE, _FULL_SCALE - 1)
    return samples.astype(np.int16)
