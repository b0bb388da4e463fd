"""What can be said of a classifier from its answers: intervals, figures by class and by speaker, calibration.

Knows nothing of runs, shards and networks: numpy arrays in, records out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_RESAMPLES = 2000
NUM_BINS = 15
"""Of the reliability diagram, as in arXiv:1706.04599."""
Z_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One label. A ratio whose denominator is 0 is 0; `num_clips` are the clips that truly have this label."""

    label: str
    precision: float
    recall: float
    f1: float
    num_clips: int


@dataclass(frozen=True, kw_only=True)
class SpeakerMetrics:
    """One speaker's clips, and the share of them that was recognised."""

    speaker: str
    num_clips: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class SpeakerSpread:
    """How accuracies of single speakers lie: `tenth_percentile` is what nine in ten speakers reach or pass."""

    mean: float
    lowest: float
    tenth_percentile: float
    median: float


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Clips whose highest probability lies in (low, high]: its mean, and how many of them were right; 0 if there are none."""

    low: float
    high: float
    num_clips: int
    confidence: float
    accuracy: float


def class_metrics(confusion: np.ndarray, labels: Sequence[str]) -> tuple[ClassMetrics, ...]:
    """Precision, recall and F1 of every label of a confusion matrix, int [shape=(num_labels, num_labels)]."""
    hits, true, called = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        ClassMetrics(
            label=label,
            precision=float(hits[i] / max(called[i], 1)),
            recall=float(hits[i] / max(true[i], 1)),
            f1=float(2 * hits[i] / max(true[i] + called[i], 1)),
            num_clips=int(true[i]),
        )
        for i, label in enumerate(labels)
    )


def speaker_metrics(right: np.ndarray, speakers: Sequence[str]) -> tuple[SpeakerMetrics, ...]:
    """Every speaker's accuracy, in the order of the names; parameters as of `accuracy_interval`."""
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    clips_of, right_of = np.bincount(speaker), np.bincount(speaker, weights=right)
    return tuple(
        SpeakerMetrics(speaker=str(name), num_clips=int(count), accuracy=float(hits / count))
        for name, count, hits in zip(names, clips_of, right_of, strict=True)
    )


def speaker_spread(metrics: Sequence[SpeakerMetrics]) -> SpeakerSpread | None:
    """None where the speaker of a clip is unknown."""
    if not all(record.speaker for record in metrics):
        return None
    accuracies = np.array([record.accuracy for record in metrics])
    lowest, tenth, median = np.quantile(accuracies, [0, 0.1, 0.5])
    return SpeakerSpread(
        mean=float(accuracies.mean()), lowest=float(lowest), tenth_percentile=float(tenth), median=float(median)
    )


def reliability(confidence: np.ndarray, right: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """The reliability diagram in NUM_BINS bins of equal width; source: Guo et al., arXiv:1706.04599, section 2.

    Parameters
    ----------
    confidence : float [shape=(num_clips,)], the highest probability of each clip, 0..1
    right : bool [shape=(num_clips,)], whether each clip was recognised
    """
    number = np.clip(np.ceil(confidence.astype(np.float64) * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    counts = np.bincount(number, minlength=NUM_BINS)
    sums = [np.bincount(number, weights=values, minlength=NUM_BINS) for values in (confidence, right)]
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
    """ECE: how far confidence and accuracy of a bin are apart, in the mean over the clips; 0..1."""
    gaps = sum(each.num_clips * abs(each.accuracy - each.confidence) for each in bins)
    return gaps / sum(each.num_clips for each in bins)


def accuracy_interval(
    right: np.ndarray, speakers: Sequence[str], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[tuple[float, float], str]:
    """95 % interval of an accuracy, and the name of the method: "bootstrap-speakers" or "wilson".

    The first resamples whole speakers, since the clips of one speaker are right or wrong together. The second takes clips
    as independent, where speakers are unknown, or all clips are right or all wrong.

    Parameters
    ----------
    right : bool [shape=(num_clips,)], whether each clip was recognised
    speakers : who spoke each clip; '' if unknown
    """
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 2 or "" in names or right.all() or not right.any():
        return wilson_interval(int(right.sum()), len(right)), "wilson"
    clips_of, right_of = np.bincount(speaker), np.bincount(speaker, weights=right)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)
    low, high = np.quantile((drawn @ right_of) / (drawn @ clips_of), [0.025, 0.975])
    return (float(low), float(high)), "bootstrap-speakers"


def wilson_interval(num_right: int, num_clips: int) -> tuple[float, float]:
    """95 % interval of a proportion; source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), p. 209."""
    share, weight = num_right / num_clips, Z_95**2 / num_clips
    centre = share + weight / 2
    spread = math.sqrt(share * (1 - share) * weight + weight**2 / 4)
    low, high = (centre - spread) / (1 + weight), (centre + spread) / (1 + weight)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # rounding must not put the share itself outside
