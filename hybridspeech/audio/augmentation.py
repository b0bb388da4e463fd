"""How a training clip is varied: a function of (seed, copy, clip id) alone, whoever calls it, wherever, in any order.

The same functions run in Spark tasks (`preprocess --augment-copies`: copy k of a clip) and in training workers (waveform
shards: epoch k of a training hears copy k). Copy 0 is the clip as it was recorded. Knows nothing of files and TensorFlow.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from hybridspeech.audio.background_noise import excerpt
from hybridspeech.config import AugmentConfig
from hybridspeech.errors import ConfigError


class Augmenter:
    """Varies clips by one config.

    Parameters
    ----------
    noises : recordings of background noise, float32 [shape=(length,)], each no shorter than a clip

    Raises
    ------
    ConfigError: noise is to be mixed in, and there is none.
    """

    def __init__(
        self, config: AugmentConfig, *, sample_rate_hz: int, seed: int, noises: Sequence[np.ndarray] = ()
    ) -> None:
        if config.needs_noise and not noises:
            raise ConfigError(
                "background noise was asked for, and there is none for training; put recordings of it (1 s or longer) into "
                "SOURCE/_background_noise_ and preprocess again, or give --background-volume 0"
            )
        self.config, self.seed, self.noises = config, seed, noises
        self._largest_shift = int(config.time_shift_ms * sample_rate_hz / 1000)

    def sound(self, wave: np.ndarray, clip_id: str, copy: int) -> np.ndarray:
        """Another version of a waveform; float32 [shape=(num_samples,)], full scale = 1.0. Does not change its input."""
        config, draw = self.config, self._generator("sound", clip_id, copy)
        speed, shift, gain_db, is_noisy, volume, which, where = draw.uniform(
            -1, 1, 7
        )  # always all: none moves the others
        varied = _moved(wave, 1 + speed * config.speed_percent / 100, round(shift * self._largest_shift))
        varied *= np.float32(10 ** (gain_db * config.gain_db / 20))
        if config.needs_noise and _share(is_noisy) < config.background_frequency:
            noise = excerpt(self.noises, _share(which), _share(where), wave.size)
            varied += np.float32(_share(volume) * config.background_volume) * noise
        return varied

    def mask(self, spectrogram: np.ndarray, clip_id: str, copy: int) -> None:
        """SpecAugment, in place: bands of frames and of bins become the mean of the spectrogram [shape=(bins, frames)]."""
        draw, fill = self._generator("mask", clip_id, copy), spectrogram.mean()
        for axis, count in ((1, self.config.time_masks), (0, self.config.frequency_masks)):
            size = spectrogram.shape[axis]
            for width, start in draw.uniform(0, 1, (count, 2)):
                length = int(width * (self.config.mask_fraction * size + 1))
                first = int(start * (size - length + 1))
                band = slice(first, first + length)
                spectrogram[(slice(None), band) if axis else (band, slice(None))] = fill

    def mixing_share(self, clip_id: str, copy: int) -> float:
        """How much of a clip stays when it is mixed with another (mixup): 0.5 to 1."""
        share = float(self._generator("mixup", clip_id, copy).beta(self.config.mixup_alpha, self.config.mixup_alpha))
        return max(share, 1 - share)

    def _generator(self, purpose: str, clip_id: str, copy: int) -> np.random.Generator:
        return generator_of(f"{self.seed}\0{purpose}\0{copy}", clip_id)


def generator_of(purpose: str, clip_id: str) -> np.random.Generator:
    """Random numbers that follow from what they are for and from the clip."""
    key = f"{purpose}\0".encode() + os.fsencode(clip_id)
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest()[:16], "little")))


def _share(value: float) -> float:
    """From -1..1 to 0..1."""
    return (value + 1) / 2


def _moved(wave: np.ndarray, speed: float, shift: int) -> np.ndarray:
    """Played at another speed about its middle, and `shift` samples later; silence comes in at the ends."""
    if speed != 1:
        middle = (wave.size - 1) / 2
        at = (np.arange(wave.size) - middle - shift) * speed + middle
        played: np.ndarray = np.interp(at, np.arange(wave.size), wave, left=0, right=0).astype(np.float32)
        return played
    return shifted(wave, shift)


def shifted(wave: np.ndarray, shift: int) -> np.ndarray:
    """A waveform `shift` samples later (negative: earlier); silence comes in at the end that is left."""
    moved = np.zeros(wave.size, np.float32)
    if shift >= 0:
        moved[shift:] = wave[: max(0, wave.size - shift)]
    else:
        moved[:shift] = wave[-shift:]
    return moved
