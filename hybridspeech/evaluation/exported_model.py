"""What a model that takes raw audio does on a split: its accuracy, and its time for one clip.

Knows nothing of how the model was made or stored: it is a function of waveforms.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.evaluation.metrics import accuracy_interval
from hybridspeech.evaluation.shard_checks import Sounds

NUM_WARM_UP, NUM_TIMED = 10, 100


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Accuracy, 0..1, on every clip of a split, with its 95 % interval (`ci_method` as in `accuracy_interval`).

    `num_speakers` 0: unknown. `latency_ms`: from samples to probabilities, one clip at a time, on one core; the median.
    """

    accuracy: float
    accuracy_ci95: tuple[float, float]
    ci_method: str
    split: str
    num_clips: int
    num_speakers: int
    latency_ms: float


def measure(classify: Callable[[np.ndarray], np.ndarray], batches: Iterable[Sounds], split: str) -> Measured:
    """Let a model hear every clip of a split as it was recorded.

    Parameters
    ----------
    classify : float32 [shape=(batch, num_samples)], full scale = 1.0, to probabilities [shape=(batch, num_labels)]
    """
    right: list[np.ndarray] = []
    speakers: list[str] = []
    few = np.zeros((0, 0), np.float32)
    for sounds in batches:
        few = few if few.size else sounds.waves
        right.append(classify(sounds.waves).argmax(axis=1) == sounds.truth)
        speakers += sounds.speakers
    hits = np.concatenate(right)
    interval, method = accuracy_interval(hits, speakers)
    return Measured(
        accuracy=float(hits.mean()),
        accuracy_ci95=interval,
        ci_method=method,
        split=split,
        num_clips=len(hits),
        num_speakers=len(set(speakers)) if all(speakers) else 0,
        latency_ms=1000 * _latency_s(classify, few),
    )


def _latency_s(classify: Callable[[np.ndarray], np.ndarray], waves: np.ndarray) -> float:
    times = []
    with _one_core():
        for number in range(NUM_WARM_UP + NUM_TIMED):
            wave = waves[number % len(waves)][np.newaxis]
            started = time.perf_counter()
            classify(wave)
            times.append(time.perf_counter() - started)
    return float(np.median(times[NUM_WARM_UP:]))


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """All threads of this process on one core: how many TensorFlow has can't be changed once it has begun."""
    allowed = os.sched_getaffinity(0)
    try:
        _pin({min(allowed)})
        yield
    finally:
        _pin(allowed)


def _pin(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)
