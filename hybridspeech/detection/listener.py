"""Words in one continuous sound: samples in, events out. The same code for files and for live sound.

Window k begins at k * hop - lead samples, where lead is about half a window: a word at the very start or end of the sound is in
as many windows as any other. Zeros surround the sound. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.detection.config import DecoderSettings, DetectionConfig, Thresholds
from hybridspeech.detection.decoder import Decoder, Peak
from hybridspeech.errors import AudioError
from hybridspeech.evaluation.file_predictions import TrainedRun
from hybridspeech.features.sliding import SlidingExtractor

BATCH_SIZE = 32
"""Windows in one batch of the network, offline. Batches of one sound begin at multiples of it, whatever the chunks."""
NUM_DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Event:
    """A word in a file, or why the file, or the rest of it, is unusable.

    Parameters
    ----------
    start_s, end_s : part of the sound that all windows of the event have in common, in seconds; the word is in it, or
        overlaps it
    score : mean probability of the label over these windows, 0 to 1
    final_s : time, in seconds, at which the event is known if the sound is live
    error : "reason: detail" instead of an event
    """

    file: str
    start_s: float = 0.0
    end_s: float = 0.0
    label: str | None = None
    score: float | None = None
    final_s: float = 0.0
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """Return the JSON object of this event: file, start_s, end_s, label and score; or file and error."""
        names = ("file", "start_s", "end_s", "label", "score") if self.error is None else ("file", "error")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """Where the windows of a sound are, in samples.

    Parameters
    ----------
    length : of a window
    hop : from window to window
    """

    length: int
    hop: int
    sample_rate_hz: int

    @property
    def lead(self) -> int:
        """Zeros before the sound: a multiple of the hop, at most half a window."""
        return self.length // 2 // self.hop * self.hop

    @property
    def tail(self) -> int:
        """Zeros after the sound."""
        return self.length - self.lead

    def count(self, num_samples: int) -> int:
        """Return the number of windows of a sound."""
        return 1 + (self.lead + num_samples + self.tail - self.length) // self.hop

    def first_sample(self, window: int) -> int:
        """Return the first sample of the sound that a window, or one after it, needs."""
        return max(0, window * self.hop - self.lead)

    def start_s(self, window: int) -> float:
        """Return the begin of a window, in seconds of the sound; negative for the first ones."""
        return (window * self.hop - self.lead) / self.sample_rate_hz

    def event(self, file: str, peak: Peak, labels: Sequence[str], num_smoothed: int) -> Event:
        """Return a peak with times and label."""
        length_s = self.length / self.sample_rate_hz
        start_s = max(0.0, self.start_s(peak.window))
        end_s = self.start_s(peak.window - num_smoothed + 1) + length_s
        return Event(
            file=file,
            start_s=round(start_s, 3),
            end_s=round(max(start_s, end_s), 3),
            label=labels[peak.label],
            score=round(peak.score, NUM_DECIMALS),
            final_s=round(self.start_s(peak.final) + length_s, 3),
        )


def window_plan(features: FeatureConfig, detection: DetectionConfig) -> WindowPlan:
    """Return the windows of a run; the hop is rounded to a multiple of the hop length of its features, 1 at least."""
    hop_frames = max(1, round(detection.hop_ms * features.sample_rate_hz / 1000 / features.hop_length))
    hop = min(hop_frames * features.hop_length, features.num_samples)
    return WindowPlan(length=features.num_samples, hop=hop, sample_rate_hz=features.sample_rate_hz)


def decoder_settings(
    plan: WindowPlan, detection: DetectionConfig, thresholds: Thresholds, labels: Sequence[str]
) -> DecoderSettings:
    """Return the settings of a decoder, in windows.

    Raises
    ------
    ConfigError: as `Thresholds.of`.
    """
    windows_per_ms = plan.sample_rate_hz / plan.hop / 1000
    most = plan.length // plan.hop  # more windows have no sample in common
    return DecoderSettings(
        thresholds=thresholds.of(labels),
        num_smoothed=min(max(1, round(detection.smoothing_ms * windows_per_ms)), max(1, most)),
        lookahead=round(detection.lookahead_ms * windows_per_ms),
        suppression=round(detection.suppression_ms * windows_per_ms),
    )


class Posteriors:
    """The probabilities of the windows of one sound, from samples in chunks of any size.

    Parameters
    ----------
    batch_size : windows that the network takes at once; 1 for the least delay
    first_window : the sound begins with `plan.first_sample(first_window)`; earlier windows are left out
    """

    def __init__(
        self, trained: TrainedRun, plan: WindowPlan, batch_size: int = BATCH_SIZE, first_window: int = 0
    ) -> None:
        self._trained, self._plan, self._batch_size = trained, plan, batch_size
        self._extractor = SlidingExtractor(trained.features, plan.hop)
        self._size = max(0, plan.lead - first_window * plan.hop)  # zeros before the sound
        self._chunks: list[np.ndarray] = [np.zeros(self._size, np.float32)]

    def push(self, wave: np.ndarray) -> np.ndarray:
        """Return the probabilities of the windows that have become complete, in whole batches.

        Parameters
        ----------
        wave : float32 [shape=(num_samples,)], full scale = 1.0, mono, the next samples

        Returns
        -------
        float32 [shape=(num_windows, num_labels)]

        Raises
        ------
        AudioError: a sample is not finite. RunError: a probability is not finite.
        """
        self._chunks.append(wave)
        self._size += wave.size
        available = self._extractor.num_windows(self._size)
        return self._compute(available - available % self._batch_size)

    def finish(self) -> np.ndarray:
        """Return the probabilities of the remaining windows."""
        tail = self.push(np.zeros(self._plan.tail, np.float32))
        return np.concatenate([tail, self._compute(self._extractor.num_windows(self._size))])

    def _compute(self, count: int) -> np.ndarray:
        if not count:
            return np.empty((0, len(self._trained.labels)), np.float32)
        sound = np.concatenate(self._chunks)
        parts = []
        for first in range(0, count, self._batch_size):
            number = min(self._batch_size, count - first)
            begin = first * self._plan.hop
            spectrograms = self._extractor(sound[begin : begin + (number - 1) * self._plan.hop + self._plan.length])
            parts.append(self._trained.probabilities(spectrograms))
        rest = sound[count * self._plan.hop :].copy()
        self._chunks, self._size = [rest], rest.size
        return np.concatenate(parts)


class Listener:
    """Finds words in one continuous sound.

    Parameters
    ----------
    trained : as `load_run` returns it
    file : name of the sound in the events
    batch_size : 1 for live sound: each window is classified as soon as it is complete
    """

    def __init__(
        self,
        trained: TrainedRun,
        thresholds: Thresholds,
        detection: DetectionConfig,
        file: str = "",
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._file, self._labels = file, trained.labels
        self._plan = window_plan(trained.features, detection)
        self._settings = decoder_settings(self._plan, detection, thresholds, trained.labels)
        self._posteriors = Posteriors(trained, self._plan, batch_size)
        self._decoder = Decoder(self._settings)
        self._num_samples = 0

    @property
    def duration_s(self) -> float:
        """Duration of the sound so far, in seconds."""
        return self._num_samples / self._plan.sample_rate_hz

    def push(self, wave: np.ndarray) -> list[Event]:
        """Return the events that have become final with the next samples; parameters and errors as `Posteriors.push`."""
        self._num_samples += wave.size
        return self._events(self._decoder.push(self._posteriors.push(wave)))

    def finish(self) -> list[Event]:
        """Return the last events: the sound has ended."""
        return self._events([*self._decoder.push(self._posteriors.finish()), *self._decoder.finish()])

    def _events(self, peaks: Sequence[Peak]) -> list[Event]:
        return [self._plan.event(self._file, peak, self._labels, self._settings.num_smoothed) for peak in peaks]


def hear(listener: Listener, blocks: Iterator[np.ndarray], file: str) -> Iterator[Event]:
    """Yield the events of a sound, and at last an Event with the error if the sound can't be read to its end."""
    try:
        for block in blocks:
            yield from listener.push(block)
    except AudioError as error:
        yield from listener.finish()
        yield Event(file=file, error=str(error))
        return
    yield from listener.finish()
