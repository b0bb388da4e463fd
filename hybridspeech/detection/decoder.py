"""The decoder: from the posteriors of overlapping windows to events. A function of posteriors; knows nothing of sound.

The score of a label is the mean of its probabilities over the last windows. A label competes with its margin: the logit of its
score minus that of its threshold. An event is a maximum of the margin:

1. The first window in which the margin of a label is 0 or more opens a candidate. A higher margin, of any label, replaces it.
2. The candidate is an event when `lookahead` windows have passed without a higher one, or the sound has ended.
3. After an event, no candidate opens within `suppression` windows, and none of the same label before its margin was below 0.

The first two steps are those of TensorFlow's recognize_commands (average, suppression); it takes the first window over the
threshold, which is a worse moment and, between similar words, often the wrong label. The third keeps a long word from counting
twice. Windows before the first one count as probability 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hybridspeech.detection.config import DecoderSettings

SMALLEST = 1e-6
"""Scores are limited to SMALLEST and 1 - SMALLEST before the logit is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """An event: index of the last of its windows, index of its label, its score (0 to 1), and the window that made it final."""

    window: int
    label: int
    score: float
    final: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    window: int
    label: int
    margin: float
    score: float


class Decoder:
    """Finds events in posteriors that arrive in chunks; how they are divided does not matter."""

    def __init__(self, settings: DecoderSettings) -> None:
        self.settings = settings
        self._thresholds = _logit(np.array(settings.thresholds, np.float64))
        self._is_used = np.array(settings.thresholds) <= 1
        self._recent = np.zeros((settings.num_smoothed - 1, len(settings.thresholds)), np.float32)
        self._done = 0
        self._candidate: _Candidate | None = None
        self._closed_until = -1  # last window in which no candidate opens
        self._held: int | None = None  # label of the last candidate or event, until its margin is below 0
        self._last_active = -1

    def push(self, posteriors: np.ndarray) -> list[Peak]:
        """Return the events that have become final.

        Parameters
        ----------
        posteriors : float32 [shape=(num_windows, num_labels)], those of the next windows
        """
        scores = self._smoothed(posteriors)
        return list(self._decode(scores))

    def finish(self) -> list[Peak]:
        """Return the event that was not final yet, if any: no more windows follow."""
        candidate, self._candidate = self._candidate, None
        return [] if candidate is None else [_peak(candidate, self._done - 1)]

    def _smoothed(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the scores: float64 [shape=(num_windows, num_labels)]."""
        rows = np.concatenate([self._recent, posteriors])
        self._recent = rows[len(posteriors) :]
        total = np.zeros(posteriors.shape, np.float64)
        for offset in range(self.settings.num_smoothed):  # the order of the sum is that of any other chunk
            total += rows[offset : offset + len(posteriors)]
        return total / self.settings.num_smoothed

    def _decode(self, scores: np.ndarray) -> Iterator[Peak]:
        margins = np.where(self._is_used, _logit(scores) - self._thresholds, -np.inf)
        begin, self._done = self._done, self._done + len(scores)
        for offset in np.flatnonzero(margins.max(axis=1, initial=-np.inf) >= 0).tolist():
            window = begin + offset
            yield from self._closed_before(window)
            self._open(window, margins[offset], scores[offset])
        yield from self._closed_before(self._done)

    def _closed_before(self, window: int) -> Iterator[Peak]:
        """Yield the candidate if it has become final before this window."""
        candidate = self._candidate
        if candidate is not None and window - candidate.window > self.settings.lookahead:
            self._candidate = None
            self._closed_until = candidate.window + self.settings.suppression
            yield _peak(candidate, candidate.window + self.settings.lookahead)

    def _open(self, window: int, margins: np.ndarray, scores: np.ndarray) -> None:
        """Take a window in which the margin of a label is 0 or more."""
        if self._held is not None and (window > self._last_active + 1 or margins[self._held] < 0):
            self._held = None
        self._last_active = window
        if self._candidate is None:
            if window <= self._closed_until:
                return
            if self._held is not None:
                margins = margins.copy()
                margins[self._held] = -np.inf
        label = int(margins.argmax())
        if margins[label] >= 0 and (self._candidate is None or margins[label] > self._candidate.margin):
            self._candidate = _Candidate(window, label, float(margins[label]), float(scores[label]))
            self._held = label


def decode(posteriors: np.ndarray, settings: DecoderSettings) -> list[Peak]:
    """Return the events of all windows of a sound: float32 [shape=(num_windows, num_labels)]."""
    decoder = Decoder(settings)
    return [*decoder.push(posteriors), *decoder.finish()]


def _logit(scores: np.ndarray) -> np.ndarray:
    limited = np.clip(scores, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(limited) - np.log1p(-limited))


def _peak(candidate: _Candidate, final: int) -> Peak:
    return Peak(window=candidate.window, label=candidate.label, score=candidate.score, final=final)
