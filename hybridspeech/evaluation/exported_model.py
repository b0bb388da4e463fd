"""Accuracy and latency of a model that takes raw audio. Knows nothing of how the model was made or stored."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.evaluation.intervals import accuracy_interval, count_speakers
from hybridspeech.evaluation.recordings import Recordings

NUM_WARM_UP, NUM_TIMED = 10, 100


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Accuracy (0 to 1) of an exported model on every clip of a split, with a 95 % confidence interval.

    `ci_method` is that of `accuracy_interval`. `num_speakers` is 0 if a speaker is unknown. `latency_ms` is the median time
    from samples to probabilities, one clip at a time, on one core.
    """

    accuracy: float
    accuracy_ci95: tuple[float, float]
    ci_method: str
    split: str
    num_clips: int
    num_speakers: int
    latency_ms: float


def measure(classify: Callable[[np.ndarray], np.ndarray], batches: Iterable[Recordings], split: str) -> Measured:
    """Measure a model on every clip of a split.

    Parameters
    ----------
    classify : float32 [shape=(batch, num_samples)], full scale = 1.0, to probabilities [shape=(batch, num_labels)]
    batches : all clips of the split
    split : name of the split, for the result
    """
    parts: list[np.ndarray] = []
    speakers: list[str] = []
    first = np.zeros((0, 0), np.float32)
    for recordings in batches:
        first = first if first.size else recordings.waves
        parts.append(classify(recordings.waves).argmax(axis=1) == recordings.labels)
        speakers += recordings.speakers
    correct = np.concatenate(parts)
    interval, method = accuracy_interval(correct, speakers)
    return Measured(
        accuracy=float(correct.mean()),
        accuracy_ci95=interval,
        ci_method=method,
        split=split,
        num_clips=len(correct),
        num_speakers=count_speakers(speakers),
        latency_ms=1000 * _latency_s(classify, first),
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
    """Pin all threads of this process to one core; TensorFlow's number of threads is fixed once it has started."""
    allowed = os.sched_getaffinity(0)
    try:
        _pin({min(allowed)})
        yield
    finally:
        _pin(allowed)


def _pin(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # the thread has ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)
