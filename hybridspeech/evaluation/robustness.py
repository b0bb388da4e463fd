"""How a classifier bears what a room and a hurried finger add: background noise at set ratios, and clips cut early or late.

A disturbed clip is a function of the clip, its id and the noise recordings alone. A clip has the same part of the noise at
every ratio, so that the ratios can be compared. The noise is that of the evaluated split, never one heard in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hybridspeech.audio.augmentation import generator_of, shifted
from hybridspeech.audio.background_noise import excerpt, load_noises
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.metrics import accuracy_interval
from hybridspeech.evaluation.shard_checks import Sounds, check_sound
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.shards.index import ShardIndex

SNR_DB = (20, 15, 10, 5, 0)
SHIFT_MS = (-100, -50, 50, 100)
_DRAWS = 16
"""Parts of the noise that are tried until one is not silent."""


@dataclass(frozen=True, kw_only=True)
class RobustnessMetrics:
    """Accuracy on a whole split under one disturbance; `accuracy_ci95` as in EvaluateResult.

    "noise": `level` is the signal-to-noise ratio in dB, of mean powers over the whole clip, pauses included. "shift": `level`
    is in ms; the word comes so much later (negative: earlier), and silence comes in at the other end.
    """

    disturbance: Literal["noise", "shift"]
    level: float
    unit: Literal["dB", "ms"]
    accuracy: float
    accuracy_ci95: tuple[float, float]


def split_noises(index: ShardIndex, shards: Path, split: str) -> tuple[str, ...]:
    """The recordings of noise that a network may be tested with on a split.

    Raises
    ------
    ConfigError: the shards do not hold sound, or there is no such noise.
    """
    check_sound(index, shards, "robustness")
    heard = set(index.noise_paths(shards, "training"))
    paths = tuple(path for path in index.noise_paths(shards, split) if path not in heard)
    if not paths:
        raise ConfigError(
            f"{shards}: no background noise for split {split!r} that training does not hear; put two recordings or more (1 s "
            "or longer) into SOURCE/_background_noise_, preprocess again, and choose validation or testing; or leave "
            "robustness out"
        )
    return paths


def noisy(wave: np.ndarray, clip_id: str, noises: Sequence[np.ndarray], snr_db: float) -> np.ndarray:
    """A clip with noise at this ratio of mean powers over the clip; a silent clip comes back as it is.

    The sum is not limited to full scale. Of the noise, a part is drawn by the clip's id.

    Parameters
    ----------
    wave : float32 [shape=(num_samples,)], full scale = 1.0
    noises : float32 [shape=(length,)], each no shorter than the clip

    Raises
    ------
    ConfigError: the noise is silent.
    """
    power = _power(wave)
    if power == 0:
        return wave
    for which, where in generator_of("robustness", clip_id).uniform(0, 1, (_DRAWS, 2)):
        noise = excerpt(noises, which, where, wave.size)
        if noise_power := _power(noise):
            gain = np.sqrt(power / noise_power) * 10 ** (-snr_db / 20)
            return np.asarray(wave + np.float32(gain) * noise)
    raise ConfigError(
        "the background noise of this split is silent; put other recordings into SOURCE/_background_noise_"
    )


def measure_robustness(
    classify: Callable[[np.ndarray], np.ndarray],
    batches: Iterable[Sounds],
    noise_paths: tuple[str, ...],
    features: FeatureConfig,
) -> tuple[RobustnessMetrics, ...]:
    """Accuracy at every ratio of SNR_DB and every shift of SHIFT_MS.

    Parameters
    ----------
    classify : spectrograms in dB, float32 [shape=(batch, num_bins, num_frames, 1)], to probabilities [shape=(batch, labels)]
    features : what the network takes

    Raises
    ------
    AudioError: noise can't be read. ConfigError: it is silent. ShardError: a shard is damaged.
    """
    noises = load_noises(noise_paths, features.sample_rate_hz, features.num_samples)
    extractor = FeatureExtractor(features)
    right: dict[tuple[str, int], list[np.ndarray]] = {}
    speakers: list[str] = []
    for sounds in batches:
        speakers += sounds.speakers
        for condition in [*(("noise", level) for level in SNR_DB), *(("shift", level) for level in SHIFT_MS)]:
            made = [
                extractor(_disturbed(wave, clip_id, noises, features, *condition)).copy()
                for wave, clip_id in zip(sounds.waves, sounds.clip_ids, strict=True)
            ]
            answers = classify(np.stack(made)[..., np.newaxis]).argmax(axis=1)
            right.setdefault(condition, []).append(answers == sounds.truth)
    return tuple(_metrics(*condition, np.concatenate(parts), speakers) for condition, parts in right.items())


def _disturbed(
    wave: np.ndarray, clip_id: str, noises: Sequence[np.ndarray], features: FeatureConfig, disturbance: str, level: int
) -> np.ndarray:
    if disturbance == "noise":
        return noisy(wave, clip_id, noises, level)
    return shifted(wave, round(level * features.sample_rate_hz / 1000))


def _metrics(disturbance: str, level: int, right: np.ndarray, speakers: Sequence[str]) -> RobustnessMetrics:
    is_noise = disturbance == "noise"
    return RobustnessMetrics(
        disturbance="noise" if is_noise else "shift",
        level=float(level),
        unit="dB" if is_noise else "ms",
        accuracy=float(right.mean()),
        accuracy_ci95=accuracy_interval(right, speakers)[0],
    )


def _power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))
