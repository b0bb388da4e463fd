"""Augmentation of waveforms: a function of seed, copy and clip id, and with babble of the other clips of the batch.

Spark tasks call it for `preprocess --augment-copies` (copy k of a clip), and training workers call it for waveform
shards (epoch k of a training uses copy k). Copy 0 is the clip as recorded. Knows nothing of files and spectrograms.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from hybridspeech.audio.background_noise import NOISE_FOLDER, excerpt
from hybridspeech.audio.mixing import add_noise, babble
from hybridspeech.audio.room_responses import reverberated
from hybridspeech.config import AugmentConfig
from hybridspeech.errors import ConfigError


class Augmenter:
    """Augments waveforms by one config: speed, time shift, reverberation, gain and noise.

    Parameters
    ----------
    noises : recordings of background noise, float32 [shape=(length,)], full scale = 1.0, each at least as long as a clip
    responses : room impulse responses, float32 [shape=(length,)] each, as `read_responses` returns them

    Raises
    ------
    ConfigError: the config needs background noise or room impulse responses, and there are none.
    """

    def __init__(
        self,
        config: AugmentConfig,
        *,
        sample_rate_hz: int,
        seed: int,
        noises: Sequence[np.ndarray] = (),
        responses: Sequence[np.ndarray] | np.ndarray = (),
    ) -> None:
        if config.needs_noise and not noises:
            raise ConfigError(
                "background noise was requested, and there is none for training; put recordings of it (1 s or longer) "
                f"into SOURCE/{NOISE_FOLDER} and preprocess again, or give --background-volume 0"
            )
        if config.rir_frequency and not len(responses):
            raise ConfigError(
                f"rir_frequency is {config.rir_frequency}, and there are no room impulse responses; give a folder of them"
            )
        self.config, self.seed, self.noises, self.responses = config, seed, noises, responses
        self._max_shift = int(config.time_shift_ms * sample_rate_hz / 1000)

    def sound(self, wave: np.ndarray, clip_id: str, copy: int, voices: Sequence[np.ndarray] = ()) -> np.ndarray:
        """Return one augmented version of a waveform; `wave` is not changed.

        Parameters
        ----------
        wave : float32 [shape=(num_samples,)], full scale = 1.0
        voices : other clips, of which babble is made, as `wave`

        Returns
        -------
        float32 [shape=(num_samples,)], full scale = 1.0
        """
        config, generator = self.config, clip_generator(f"{self.seed}\0sound\0{copy}", clip_id)
        # All seven numbers are drawn whatever the config, so that one setting does not change the effect of another.
        speed, shift, gain, frequency, volume, recording, position = generator.uniform(-1, 1, 7)
        augmented = _resampled(wave, 1 + speed * config.speed_percent / 100, round(shift * self._max_shift))
        if config.rir_frequency:
            augmented = self._in_room(augmented, clip_id, copy)
        augmented *= np.float32(10 ** (gain * config.gain_db / 20))
        if config.background_volume and _to_unit(frequency) < config.background_frequency:
            noise = excerpt(self.noises, _to_unit(recording), _to_unit(position), wave.size)
            augmented += np.float32(_to_unit(volume) * config.background_volume) * noise
        return self._mixed(augmented, clip_id, copy, voices) if config.snr_frequency else augmented

    def _in_room(self, wave: np.ndarray, clip_id: str, copy: int) -> np.ndarray:
        """Return a waveform as it is, or reverberated by one of the rooms."""
        is_in_room, room = clip_generator(f"{self.seed}\0rir\0{copy}", clip_id).uniform(0, 1, 2)
        if is_in_room >= self.config.rir_frequency:
            return wave
        return reverberated(wave, self.responses[int(room * len(self.responses))])

    def _mixed(self, wave: np.ndarray, clip_id: str, copy: int, voices: Sequence[np.ndarray]) -> np.ndarray:
        """Return a waveform with background noise or babble at a random signal-to-noise ratio."""
        config, generator = self.config, clip_generator(f"{self.seed}\0snr\0{copy}", clip_id)
        is_mixed, level, is_babble, recording, position = generator.uniform(0, 1, 5)
        if is_mixed >= config.snr_frequency:
            return wave
        if is_babble < config.babble_frequency:
            noise = babble(voices, generator) if voices else np.zeros_like(wave)
        else:
            noise = excerpt(self.noises, recording, position, wave.size)
        return add_noise(wave, noise, config.snr_min_db + level * (config.snr_max_db - config.snr_min_db))


def clip_generator(purpose: str, clip_id: str) -> np.random.Generator:
    """Return a random generator that is seeded by a purpose and a clip id."""
    key = f"{purpose}\0".encode() + os.fsencode(clip_id)
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest()[:16], "little")))


def shifted(wave: np.ndarray, shift: int) -> np.ndarray:
    """Return a waveform delayed by `shift` samples (advanced if negative); zeros fill the gap.

    Parameters
    ----------
    wave : float32 [shape=(num_samples,)]

    Returns
    -------
    float32 [shape=(num_samples,)]
    """
    moved = np.zeros(wave.size, np.float32)
    if shift >= 0:
        moved[shift:] = wave[: max(0, wave.size - shift)]
    else:
        moved[:shift] = wave[-shift:]
    return moved


def _resampled(wave: np.ndarray, speed: float, shift: int) -> np.ndarray:
    """A waveform at another speed, about its middle, and delayed by `shift` samples; zeros fill the ends."""
    if speed == 1:
        return shifted(wave, shift)
    middle = (wave.size - 1) / 2
    positions = (np.arange(wave.size) - middle - shift) * speed + middle
    resampled: np.ndarray = np.interp(positions, np.arange(wave.size), wave, left=0, right=0)
    return resampled.astype(np.float32)


def _to_unit(value: float) -> float:
    """Map -1..1 to 0..1."""
    return (value + 1) / 2
