"""Confidence intervals of an accuracy. Knows nothing of runs, shards and networks.

docs/design/decisions/accuracy-interval.md gives the measured coverage of this interval and of its alternatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
FEW_SPEAKERS = 20
"""With fewer speakers, their own variance is too uncertain to be used alone."""
ASSUMED_CORRELATION = 0.1
"""Least intra-speaker correlation that is assumed with fewer than FEW_SPEAKERS speakers."""


def accuracy_interval(correct: np.ndarray, speakers: Sequence[str]) -> tuple[tuple[float, float], str]:
    """Compute the 95 % confidence interval of an accuracy, over other clips of other speakers.

    The clips of one speaker are correct or wrong together. With two known speakers or more, the Wilson score interval is
    therefore computed with an effective number of clips and a t quantile of num_speakers - 1 degrees of freedom; after
    Korn & Graubard, Survey Methodology 24 (1998), p. 193. It always contains the Wilson interval of independent clips.

    Parameters
    ----------
    correct : bool [shape=(num_clips,)], whether the predicted label of each clip is the true one
    speakers : speaker of each clip; '' if unknown

    Returns
    -------
    (low, high), each 0 to 1, and the method: "wilson-clustered"; or "wilson", for independent clips, if a speaker is
    unknown or there is only one
    """
    num_clips, num_correct = len(correct), int(correct.sum())
    if count_speakers(speakers) < 2:
        return wilson_interval(num_correct, num_clips), "wilson"
    effective = num_clips / _design_effect(correct, speakers)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count_speakers(speakers) - 1))
    return _score_interval(num_correct / num_clips, effective, quantile), "wilson-clustered"


def count_speakers(speakers: Sequence[str]) -> int:
    """Count the speakers; 0 if the speaker of a clip is unknown."""
    names = set(speakers)
    return 0 if "" in names else len(names)


def wilson_interval(num_correct: int, num_clips: int) -> tuple[float, float]:
    """Compute the 95 % Wilson score interval of a proportion of independent clips."""
    interval = stats.binomtest(num_correct, num_clips).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _design_effect(correct: np.ndarray, speakers: Sequence[str]) -> float:
    """Variance of the accuracy, with the clips of a speaker as a cluster, relative to that of independent clips; at least 1.

    The variance is the cluster-robust one of a ratio: Cochran, Sampling Techniques, 3rd edition (1977), section 6.3.
    """
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    clips_of, correct_of = np.bincount(speaker), np.bincount(speaker, weights=correct)
    num_speakers, num_clips = len(names), len(correct)
    accuracy = correct_of.sum() / num_clips
    residuals = correct_of - accuracy * clips_of
    variance = num_speakers / (num_speakers - 1) * float(residuals @ residuals) / num_clips**2
    independent = accuracy * (1 - accuracy) / num_clips
    measured = variance / independent if independent > 0 else 1.0
    clips_per_speaker = float(clips_of @ clips_of) / num_clips
    correlation = ASSUMED_CORRELATION if num_speakers < FEW_SPEAKERS else 0.0
    return max(1.0, measured, 1 + (clips_per_speaker - 1) * correlation)


def _score_interval(share: float, count: float, quantile: float) -> tuple[float, float]:
    """Compute the score interval of a proportion; Wilson, J. Am. Stat. Assoc. 22 (1927), p. 209."""
    weight = quantile**2 / count
    centre = share + weight / 2
    spread = math.sqrt(share * (1 - share) * weight + weight**2 / 4)
    low, high = (centre - spread) / (1 + weight), (centre + spread) / (1 + weight)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # rounding must not exclude the share itself
