"""Miss rate against false accepts per hour, from posteriors of sound with words and of sound without them.

The sweep uses one threshold for all labels. Knows nothing of networks and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hybridspeech.detection.config import NOT_DETECTED, DetectionConfig, Thresholds
from hybridspeech.detection.decoder import decode
from hybridspeech.detection.listener import Event, WindowPlan, decoder_settings
from hybridspeech.detection.matching import match
from hybridspeech.detection.stream_sound import SpokenWord
from hybridspeech.evaluation.intervals import CONFIDENCE, accuracy_interval

GRID = tuple(float(round(1 / (1 + np.exp(-logit)), 6)) for logit in np.arange(-3.0, 9.01, 0.25))
"""Thresholds of a sweep: 0.047 to 0.9999, evenly spaced in logits."""
RATES_PER_HOUR = (0.1, 0.5, 1.0, 10.0)
"""False accepts per hour of the operating points."""
AREA_RANGE = (0.1, 10.0)


@dataclass(frozen=True, kw_only=True)
class StreamPosteriors:
    """Posteriors of one sound, float32 [shape=(num_windows, num_labels)]; its words, and its duration in seconds."""

    posteriors: np.ndarray
    words: tuple[SpokenWord, ...]
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Measurement at one threshold.

    Parameters
    ----------
    miss_rate : share of the words that were not found, 0 to 1; its 95 % interval is that of `accuracy_interval`, by speaker
    false_accepts_per_hour : events in sound without target words; its 95 % interval assumes that they are independent
    confusions_per_hour : events in the sound with words that belong to no word of their label; in recordings: only those at a
        word, per hour of the recordings
    """

    threshold: float
    miss_rate: float
    miss_ci95: tuple[float, float]
    false_accepts_per_hour: float
    false_accepts_ci95: tuple[float, float]
    confusions_per_hour: float


@dataclass(frozen=True, kw_only=True)
class LabelCurve:
    """Miss rate and false accepts per hour of one label, by threshold of GRID; and its miss rates at RATES_PER_HOUR.

    The miss rates are empty if the label has no words.
    """

    label: str
    num_words: int
    miss_rates: tuple[float, ...]
    false_accepts_per_hour: tuple[float, ...]
    miss_rates_at: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Counts at each threshold of GRID.

    `found` is bool [shape=(num_thresholds, num_words)]; `false_accepts` and `confusions` are int
    [shape=(num_thresholds, num_labels)]. `num_others` is the number of clips in the sound without target words, or of
    recordings.
    """

    words: tuple[SpokenWord, ...]
    labels: tuple[str, ...]
    found: np.ndarray
    false_accepts: np.ndarray
    confusions: np.ndarray
    words_hours: float
    hours: float
    num_others: int

    def points(self) -> tuple[OperatingPoint, ...]:
        """Return the measurement at each threshold."""
        return tuple(
            operating_point(
                threshold,
                self.found[number],
                [word.speaker for word in self.words],
                int(self.false_accepts[number].sum()),
                int(self.confusions[number].sum()),
                (self.hours, self.words_hours),
            )
            for number, threshold in enumerate(GRID)
        )

    def at(self, threshold: float) -> OperatingPoint:
        """Return the measurement at a threshold of GRID."""
        return next(point for point in self.points() if point.threshold == threshold)

    def curves(self) -> tuple[LabelCurve, ...]:
        """Return the curve of each label that is detected."""
        truth = np.array([word.label for word in self.words])
        curves = []
        for column, label in enumerate(self.labels):
            if label in NOT_DETECTED:
                continue
            spoken = truth == label
            misses = 1 - self.found[:, spoken].mean(axis=1) if spoken.any() else np.empty(0)
            rates = self.false_accepts[:, column] / self.hours
            at = [float(misses[_lowest(rates, rate)]) for rate in RATES_PER_HOUR if spoken.any()]
            curves.append(
                LabelCurve(
                    label=label,
                    num_words=int(spoken.sum()),
                    miss_rates=tuple(misses.tolist()),
                    false_accepts_per_hour=tuple(rates.tolist()),
                    miss_rates_at=tuple(at),
                )
            )
        return tuple(curves)


def sweep(
    with_words: StreamPosteriors,
    without: StreamPosteriors,
    plan: WindowPlan,
    detection: DetectionConfig,
    labels: Sequence[str],
) -> Sweep:
    """Decode with each threshold of GRID, and count."""
    found, false_accepts, confusions = [], [], []
    for threshold in GRID:
        thresholds = Thresholds(default=threshold)
        matches = match(events_of(with_words.posteriors, plan, detection, thresholds, labels), with_words.words)
        found.append(matches.is_found)
        confusions.append(_count(matches.false_accepts, labels))
        false_accepts.append(_count(events_of(without.posteriors, plan, detection, thresholds, labels), labels))
    return Sweep(
        words=with_words.words,
        labels=tuple(labels),
        found=np.array(found, bool),
        false_accepts=np.array(false_accepts),
        confusions=np.array(confusions),
        words_hours=with_words.duration_s / 3600,
        hours=without.duration_s / 3600,
        num_others=len(without.words),
    )


def events_of(
    posteriors: np.ndarray,
    plan: WindowPlan,
    detection: DetectionConfig,
    thresholds: Thresholds,
    labels: Sequence[str],
    file: str = "",
) -> list[Event]:
    """Return the events of all windows of a sound."""
    settings = decoder_settings(plan, detection, thresholds, labels)
    return [plan.event(file, peak, labels, settings.num_smoothed) for peak in decode(posteriors, settings)]


def choose_threshold(sweeps: Sequence[Sweep], false_accepts_per_hour: float) -> float:
    """Return the lowest threshold of GRID with at most this rate over all sweeps; the highest one if none has."""
    counts = sum(each.false_accepts.sum(axis=1) for each in sweeps)
    return GRID[_lowest(np.asarray(counts) / sum(each.hours for each in sweeps), false_accepts_per_hour)]


def operating_points(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Return the measurement at each of RATES_PER_HOUR: that of the lowest threshold with at most this rate."""
    rates = np.array([point.false_accepts_per_hour for point in points])
    return tuple(points[_lowest(rates, rate)] for rate in RATES_PER_HOUR)


def area(points: Sequence[OperatingPoint]) -> float:
    """Return the mean miss rate from 0.1 to 10 false accepts per hour, evenly over the logarithm of the rate."""
    rates = np.array([point.false_accepts_per_hour for point in points])
    wanted = np.geomspace(*AREA_RANGE, 41)
    return float(np.mean([points[_lowest(rates, rate)].miss_rate for rate in wanted]))


def operating_point(
    threshold: float,
    found: np.ndarray,
    speakers: Sequence[str],
    num_false_accepts: int,
    num_confusions: int,
    hours: tuple[float, float],
) -> OperatingPoint:
    """Return the measurement at one threshold.

    Parameters
    ----------
    found : bool [shape=(num_words,)]
    hours : durations of the sound without and with words
    """
    (low, high), _ = accuracy_interval(found, speakers)
    return OperatingPoint(
        threshold=threshold,
        miss_rate=float(1 - found.mean()),
        miss_ci95=(1 - high, 1 - low),
        false_accepts_per_hour=num_false_accepts / hours[0],
        false_accepts_ci95=poisson_interval(num_false_accepts, hours[0]),
        confusions_per_hour=num_confusions / hours[1],
    )


def poisson_interval(count: int, hours: float) -> tuple[float, float]:
    """Compute the exact 95 % interval of a rate per hour; Garwood, Biometrika 28 (1936), p. 437."""
    tail = (1 - CONFIDENCE) / 2
    low = stats.chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    return float(low / hours), float(stats.chi2.ppf(1 - tail, 2 * count + 2) / 2 / hours)


def _lowest(rates: np.ndarray, rate: float) -> int:
    """Return the first threshold from which on no rate is above the given one; the last threshold if there is none."""
    above = np.flatnonzero(rates > rate)
    return min(int(above[-1]) + 1, len(rates) - 1) if above.size else 0


def _count(events: Sequence[Event], labels: Sequence[str]) -> np.ndarray:
    names = [event.label for event in events]
    return np.array([names.count(label) for label in labels])
