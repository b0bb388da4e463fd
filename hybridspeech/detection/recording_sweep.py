"""Misses and false accepts of recordings with known words, at many thresholds at once, while the posteriors arrive.

Memory does not depend on the duration. Knows nothing of networks and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.detection.decoder import Decoder, Peak
from hybridspeech.detection.listener import WindowPlan, decoder_settings
from hybridspeech.detection.matching import TOLERANCE_S, Matcher
from hybridspeech.detection.stream_metrics import GRID, OperatingPoint, Sweep, operating_point
from hybridspeech.detection.stream_sound import SpokenWord


@dataclass(frozen=True, kw_only=True)
class RecordingCounts:
    """Counts of one recording, at each threshold.

    Parameters
    ----------
    found : bool [shape=(num_thresholds, num_words)]
    false_accepts : int [shape=(num_thresholds, num_labels)], events at no word
    confusions : int [shape=(num_thresholds, num_labels)], events at a word that has another label or was found before
    duration_s, words_s : duration of the recording, and of its words with the tolerance of the matching, in seconds
    """

    words: tuple[SpokenWord, ...]
    found: np.ndarray
    false_accepts: np.ndarray
    confusions: np.ndarray
    duration_s: float
    words_s: float


class RecordingCounter:
    """Counts the events of one recording.

    Parameters
    ----------
    thresholds : one count is made for each of them
    words : the known words, in the order of time
    """

    def __init__(
        self,
        plan: WindowPlan,
        detection: DetectionConfig,
        thresholds: Sequence[Thresholds],
        labels: Sequence[str],
        words: Sequence[SpokenWord],
    ) -> None:
        self._plan, self._labels, self._words = plan, labels, tuple(words)
        self._settings = [decoder_settings(plan, detection, each, labels) for each in thresholds]
        self._decoders = [Decoder(each) for each in self._settings]
        self._matchers = [Matcher(self._words) for _ in thresholds]
        self._false_accepts = np.zeros((len(thresholds), len(labels)), int)
        self._confusions = np.zeros_like(self._false_accepts)

    def push(self, posteriors: np.ndarray) -> None:
        """Count the events that become final with the next windows: float32 [shape=(num_windows, num_labels)]."""
        for number, decoder in enumerate(self._decoders):
            self._count(number, decoder.push(posteriors))

    def finish(self, duration_s: float) -> RecordingCounts:
        """Return the counts: the recording has ended after `duration_s` seconds."""
        for number, decoder in enumerate(self._decoders):
            self._count(number, decoder.finish())
        return RecordingCounts(
            words=self._words,
            found=np.array([matcher.is_found for matcher in self._matchers], bool),
            false_accepts=self._false_accepts,
            confusions=self._confusions,
            duration_s=duration_s,
            words_s=covered_s(self._words, duration_s),
        )

    def _count(self, number: int, peaks: Sequence[Peak]) -> None:
        matcher = self._matchers[number]
        for peak in peaks:
            event = self._plan.event("", peak, self._labels, self._settings[number].num_smoothed)
            if not matcher.take(event):
                counts = self._confusions if matcher.is_at_word(event) else self._false_accepts
                counts[number, peak.label] += 1


def covered_s(words: Sequence[SpokenWord], duration_s: float) -> float:
    """Return how much of a recording lies at a word, with the tolerance of the matching, in seconds."""
    total, until_s = 0.0, 0.0
    for word in words:
        end_s = min(duration_s, word.end_s + TOLERANCE_S)
        total += max(0.0, end_s - max(until_s, word.start_s - TOLERANCE_S))
        until_s = max(until_s, end_s)
    return total


def hours_without_words(counts: Sequence[RecordingCounts]) -> float:
    """Return the duration of the recordings outside their words, in hours."""
    return sum(each.duration_s - each.words_s for each in counts) / 3600


def combined(
    counts: Sequence[RecordingCounts], labels: Sequence[str], threshold: float
) -> tuple[Sweep, OperatingPoint]:
    """Add the counts of recordings, made at the thresholds of GRID and then at those of a run.

    Parameters
    ----------
    threshold : the default one of the run

    Returns
    -------
    The counts at GRID, and the measurement at the thresholds of the run
    """
    words = tuple(word for each in counts for word in each.words)
    found = np.concatenate([each.found for each in counts], axis=1)
    false_accepts = np.sum([each.false_accepts for each in counts], axis=0)
    confusions = np.sum([each.confusions for each in counts], axis=0)
    whole_h = sum(each.duration_s for each in counts) / 3600
    hours, size = hours_without_words(counts), len(GRID)
    swept = Sweep(
        words=words,
        labels=tuple(labels),
        found=found[:size],
        false_accepts=false_accepts[:size],
        confusions=confusions[:size],
        words_hours=whole_h,
        hours=hours,
        num_others=len(counts),
    )
    speakers = [word.speaker for word in words]
    of_run = (int(false_accepts[size].sum()), int(confusions[size].sum()), (hours, whole_h))
    return swept, operating_point(threshold, found[size], speakers, *of_run)
