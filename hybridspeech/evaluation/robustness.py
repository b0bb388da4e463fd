"""Accuracy under background noise and time shifts.

A disturbed clip depends only on the clip, its id and the noise recordings. A clip gets the same excerpt of the noise at
every signal-to-noise ratio, so that the ratios can be compared. The noise is that of the evaluated split and never
occurs in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hybridspeech.audio.augmentation import clip_generator, shifted
from hybridspeech.audio.background_noise import excerpt, load_noises
from hybridspeech.audio.mixing import add_noise
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.intervals import accuracy_interval
from hybridspeech.evaluation.recordings import Recordings
from hybridspeech.evaluation.shard_checks import check_sound
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.shards.index import ShardIndex

SNR_DB = (20, 15, 10, 5, 0)
SHIFT_MS = (-100, -50, 50, 100)
NUM_DISTURBANCES = len(SNR_DB) + len(SHIFT_MS)
_DRAWS = 16
"""Number of excerpts of the noise that are tried until one is not silent."""


@dataclass(frozen=True, kw_only=True)
class RobustnessMetrics:
    """Accuracy (0 to 1) on a split under one disturbance, with its 95 % confidence interval.

    For "noise", `level` is the signal-to-noise ratio in dB: of mean powers over the whole clip, pauses included. For
    "shift", `level` is the delay in ms; negative values cut the beginning of the clip. The gap is filled with silence.
    """

    disturbance: Literal["noise", "shift"]
    level: float
    unit: Literal["dB", "ms"]
    accuracy: float
    accuracy_ci95: tuple[float, float]


def split_noises(index: ShardIndex, shards: Path, split: str) -> tuple[str, ...]:
    """List the noise recordings of a split that training does not use.

    Raises
    ------
    ConfigError: the shards do not hold waveforms, or there is no such noise.
    """
    check_sound(index, shards, "robustness")
    used = set(index.noise_paths(shards, "training"))
    paths = tuple(path for path in index.noise_paths(shards, split) if path not in used)
    if not paths:
        raise ConfigError(
            f"{shards}: no background noise for split {split!r} that training does not use; put two or more recordings of "
            "at least 1 s into SOURCE/_background_noise_, preprocess again, and choose validation or testing; or evaluate "
            "without robustness"
        )
    return paths


def noisy(wave: np.ndarray, clip_id: str, noises: Sequence[np.ndarray], snr_db: float) -> np.ndarray:
    """Add noise to a clip at a signal-to-noise ratio of mean powers. A silent clip is returned unchanged.

    The sum is not limited to full scale. The clip id selects the excerpt of the noise.

    Parameters
    ----------
    wave : float32 [shape=(num_samples,)], full scale = 1.0
    noises : float32 [shape=(length,)] each, at least as long as the clip

    Returns
    -------
    float32 [shape=(num_samples,)]

    Raises
    ------
    ConfigError: the noise is silent.
    """
    if not wave.any():
        return wave
    for which, where in clip_generator("robustness", clip_id).uniform(0, 1, (_DRAWS, 2)):
        noise = excerpt(noises, which, where, wave.size)
        if noise.any():
            return add_noise(wave, noise, snr_db)
    raise ConfigError(
        "the background noise of this split is silent; put other recordings into SOURCE/_background_noise_"
    )


def measure_robustness(
    classify: Callable[[np.ndarray], np.ndarray],
    batches: Iterable[Recordings],
    noise_paths: tuple[str, ...],
    features: FeatureConfig,
) -> tuple[RobustnessMetrics, ...]:
    """Measure the accuracy at every ratio of SNR_DB and every shift of SHIFT_MS.

    Parameters
    ----------
    classify : spectrograms in dB, float32 [shape=(batch, num_bins, num_frames, 1)], to probabilities [shape=(batch, labels)]
    batches : all clips of the split
    noise_paths : result of `split_noises`
    features : input of the network

    Raises
    ------
    AudioError: a noise recording can't be read. ConfigError: it is silent. ShardError: a shard is damaged.
    """
    noises = load_noises(noise_paths, features.sample_rate_hz, features.num_samples)
    extractor = FeatureExtractor(features)
    correct: dict[tuple[str, int], list[np.ndarray]] = {}
    speakers: list[str] = []
    for recordings in batches:
        speakers += recordings.speakers
        for condition in [*(("noise", level) for level in SNR_DB), *(("shift", level) for level in SHIFT_MS)]:
            spectrograms = [
                extractor(_disturbed(wave, clip_id, noises, features, *condition)).copy()
                for wave, clip_id in zip(recordings.waves, recordings.clip_ids, strict=True)
            ]
            predicted = classify(np.stack(spectrograms)[..., np.newaxis]).argmax(axis=1)
            correct.setdefault(condition, []).append(predicted == recordings.labels)
    return tuple(_metrics(*condition, np.concatenate(parts), speakers) for condition, parts in correct.items())


def _disturbed(
    wave: np.ndarray, clip_id: str, noises: Sequence[np.ndarray], features: FeatureConfig, disturbance: str, level: int
) -> np.ndarray:
    if disturbance == "noise":
        return noisy(wave, clip_id, noises, level)
    return shifted(wave, round(level * features.sample_rate_hz / 1000))


def _metrics(disturbance: str, level: int, correct: np.ndarray, speakers: Sequence[str]) -> RobustnessMetrics:
    is_noise = disturbance == "noise"
    return RobustnessMetrics(
        disturbance="noise" if is_noise else "shift",
        level=float(level),
        unit="dB" if is_noise else "ms",
        accuracy=float(correct.mean()),
        accuracy_ci95=accuracy_interval(correct, speakers)[0],
    )
