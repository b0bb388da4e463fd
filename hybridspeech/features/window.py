"""The window function of every spectrogram. Knows nothing of how it is applied."""

from __future__ import annotations

import numpy as np


def hann(n_fft: int) -> np.ndarray:
    """Compute the periodic Hann window.

    Returns
    -------
    float64 [shape=(n_fft,)]
    """
    window: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return window
