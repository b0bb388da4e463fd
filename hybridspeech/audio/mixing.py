"""Mixes noise into clips at a signal-to-noise ratio, and makes babble of other clips. Knows nothing of files.

A signal-to-noise ratio is that of mean powers over the whole clip, pauses included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEWEST_VOICES, MOST_VOICES = 3, 8


def mean_power(wave: np.ndarray) -> float:
    """Return the mean of the squares of the samples."""
    return float(np.mean(np.square(wave, dtype=np.float64)))


def add_noise(wave: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise to a clip at a signal-to-noise ratio. If one of them is silent, the clip is returned unchanged.

    Parameters
    ----------
    wave, noise : float32 [shape=(num_samples,)]

    Returns
    -------
    float32 [shape=(num_samples,)]; not limited to full scale
    """
    power, noise_power = mean_power(wave), mean_power(noise)
    if power == 0 or noise_power == 0:
        return wave
    gain = np.sqrt(power / noise_power) * 10 ** (-snr_db / 20)
    return np.asarray(wave + np.float32(gain) * noise)


def babble(voices: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """Return the sum of 3 to 8 of the voices, each with the same power and at another place: several people who talk.

    Parameters
    ----------
    voices : float32 [shape=(num_samples,)] each, one or more

    Returns
    -------
    float32 [shape=(num_samples,)]
    """
    count = int(generator.integers(FEWEST_VOICES, MOST_VOICES + 1))
    mixed = np.zeros(voices[0].size, np.float32)
    for number in generator.permutation(len(voices))[:count]:
        voice, start = voices[number], int(generator.integers(mixed.size))
        if power := mean_power(voice):
            scale = np.float32(1 / np.sqrt(power))
            mixed[start:] += scale * voice[: mixed.size - start]
            mixed[:start] += scale * voice[mixed.size - start :]
    return mixed
