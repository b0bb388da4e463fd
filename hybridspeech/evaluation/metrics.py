"""Metrics of a classifier: precision and recall by label, accuracy by speaker, calibration.

Knows nothing of runs, shards and networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_BINS = 15
"""Number of bins of the reliability diagram, as in arXiv:1706.04599."""
SMALLEST_PROBABILITY = 1e-7
"""Lower bound of a probability before its logarithm is taken, as in Keras."""


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """Precision, recall and F1 (0 to 1; 0 where undefined) of one label, and the number of clips that have it."""

    label: str
    precision: float
    recall: float
    f1: float
    num_clips: int


@dataclass(frozen=True, kw_only=True)
class SpeakerMetrics:
    """Number of clips of one speaker, and the accuracy on them (0 to 1)."""

    speaker: str
    num_clips: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class SpeakerSpread:
    """Distribution of the accuracy over speakers; nine of ten speakers reach `tenth_percentile`."""

    mean: float
    lowest: float
    tenth_percentile: float
    median: float


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Clips whose highest probability is in (low, high]: mean of that probability, and accuracy; 0 without clips."""

    low: float
    high: float
    num_clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class CalibrationMetrics:
    """Mean cross-entropy in nats, expected calibration error (0 to 1), and the reliability diagram."""

    loss: float
    ece: float
    reliability: tuple[ReliabilityBin, ...]


def class_metrics(confusion: np.ndarray, labels: Sequence[str]) -> tuple[ClassMetrics, ...]:
    """Compute precision, recall and F1 of every label.

    Parameters
    ----------
    confusion : int [shape=(num_labels, num_labels)], true labels by row, predicted labels by column
    labels : names, in the order of the rows
    """
    hits, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        ClassMetrics(
            label=label,
            precision=float(hits[i] / max(predicted[i], 1)),
            recall=float(hits[i] / max(true[i], 1)),
            f1=float(2 * hits[i] / max(true[i] + predicted[i], 1)),
            num_clips=int(true[i]),
        )
        for i, label in enumerate(labels)
    )


def speaker_metrics(correct: np.ndarray, speakers: Sequence[str]) -> tuple[SpeakerMetrics, ...]:
    """Compute the accuracy of every speaker, sorted by name.

    Parameters
    ----------
    correct : bool [shape=(num_clips,)], whether the predicted label of each clip is the true one
    speakers : speaker of each clip; '' if unknown
    """
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    clips_of, correct_of = np.bincount(speaker), np.bincount(speaker, weights=correct)
    return tuple(
        SpeakerMetrics(speaker=str(name), num_clips=int(count), accuracy=float(hits / count))
        for name, count, hits in zip(names, clips_of, correct_of, strict=True)
    )


def speaker_spread(metrics: Sequence[SpeakerMetrics]) -> SpeakerSpread | None:
    """Compute how the accuracy varies between speakers; None if the speaker of a clip is unknown."""
    if not all(record.speaker for record in metrics):
        return None
    accuracies = np.array([record.accuracy for record in metrics])
    lowest, tenth, median = np.quantile(accuracies, [0, 0.1, 0.5])
    return SpeakerSpread(
        mean=float(accuracies.mean()), lowest=float(lowest), tenth_percentile=float(tenth), median=float(median)
    )


def calibration_metrics(probabilities: np.ndarray, truth: np.ndarray) -> CalibrationMetrics:
    """Measure how well probabilities match accuracies.

    Parameters
    ----------
    probabilities : float [shape=(num_clips, num_labels)]
    truth : int [shape=(num_clips,)], indices of the true labels
    """
    of_truth = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    bins = reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth)
    return CalibrationMetrics(
        loss=float(-np.log(np.maximum(of_truth, SMALLEST_PROBABILITY)).mean()),
        ece=expected_calibration_error(bins),
        reliability=bins,
    )


def reliability(confidence: np.ndarray, correct: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """Compute the reliability diagram in NUM_BINS bins of equal width; after Guo et al., arXiv:1706.04599, section 2.

    Parameters
    ----------
    confidence : float [shape=(num_clips,)], highest probability of each clip, 0 to 1
    correct : bool [shape=(num_clips,)], whether the predicted label of each clip is the true one
    """
    number = np.clip(np.ceil(confidence.astype(np.float64) * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    counts = np.bincount(number, minlength=NUM_BINS)
    sums = [np.bincount(number, weights=values, minlength=NUM_BINS) for values in (confidence, correct)]
    means = [values / np.maximum(counts, 1) for values in sums]
    return tuple(
        ReliabilityBin(
            low=i / NUM_BINS,
            high=(i + 1) / NUM_BINS,
            num_clips=int(counts[i]),
            confidence=float(means[0][i]),
            accuracy=float(means[1][i]),
        )
        for i in range(NUM_BINS)
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Compute the expected calibration error (ECE), 0 to 1: mean over clips of |confidence - accuracy| of their bin."""
    gaps = sum(each.num_clips * abs(each.accuracy - each.confidence) for each in bins)
    return gaps / sum(each.num_clips for each in bins)
