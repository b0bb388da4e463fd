"""Continuous sound made of recorded clips, with words at known times: for measurements, and for the demo.

The sound is made piece by piece, so that hours need little memory; it is a function of clips, noise and seed. Knows nothing
of files and networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hybridspeech.audio.mixing import mean_power
from hybridspeech.records import check

CLIPS_PER_PIECE = 20


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """Settings of continuous sound.

    Parameters
    ----------
    seed : of order, gaps, overlaps, levels and noise
    shortest_gap_s, longest_gap_s : pause between two clips, in seconds
    overlap_percentage : share of the clips that begin before the previous clip has ended, in percent
    longest_overlap_s : longest such overlap, in seconds
    gain_db : largest change of the level of a clip, in both directions
    snr_db : level of the background noise below the median power of the clips, in dB; None: no noise
    """

    seed: int = 0
    shortest_gap_s: float = 0.2
    longest_gap_s: float = 2.0
    overlap_percentage: float = 10.0
    longest_overlap_s: float = 0.3
    gain_db: float = 6.0
    snr_db: float | None = None

    def __post_init__(self) -> None:
        gaps = (self.shortest_gap_s, self.longest_gap_s)
        check(0 <= gaps[0] <= gaps[1], f"gaps are {gaps[0]} to {gaps[1]} s; expected 0 or more, shortest first")
        check(0 <= self.overlap_percentage <= 100, f"overlap is {self.overlap_percentage} %; expected 0 to 100")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """A word in continuous sound: the clip that holds it lies between `start_s` and `end_s`, in seconds."""

    start_s: float
    end_s: float
    label: str
    speaker: str


@dataclass(frozen=True, kw_only=True)
class StreamClips:
    """Clips to choose from; `waves` is float32 [shape=(num_clips, num_samples)], full scale = 1.0."""

    waves: np.ndarray
    labels: tuple[str, ...]
    speakers: tuple[str, ...]
    sample_rate_hz: int

    def indices(self, labels: Sequence[str]) -> list[int]:
        """Return the clips with one of these labels."""
        return [number for number, label in enumerate(self.labels) if label in labels]


def stream_pieces(
    clips: StreamClips, order: Sequence[int], noises: Sequence[np.ndarray], settings: StreamSettings
) -> Iterator[tuple[np.ndarray, list[SpokenWord]]]:
    """Yield consecutive parts of continuous sound, and the words in each.

    Parameters
    ----------
    order : the clips in the order in which they are spoken
    noises : recordings of background noise, float32 [shape=(length,)], full scale = 1.0; used if settings.snr_db is given

    Yields
    ------
    float32 [shape=(num_samples,)], full scale = 1.0, not limited to it; and words, whose times are those of the whole sound
    """
    power = float(np.median([mean_power(wave) for wave in clips.waves]))
    begin = 0
    for number, first in enumerate(range(0, len(order), CLIPS_PER_PIECE)):
        generator = np.random.default_rng((settings.seed, number))
        wave, starts = _placed(clips, order[first : first + CLIPS_PER_PIECE], settings, generator)
        if settings.snr_db is not None:
            wave += _noise(noises, wave.size, power, settings.snr_db, generator)
        yield wave, [_word(clips, index, begin + start) for index, start in starts]
        begin += wave.size


def _placed(
    clips: StreamClips, order: Sequence[int], settings: StreamSettings, generator: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return a piece without noise, and the index and the first sample of each clip."""
    rate_hz, length = clips.sample_rate_hz, clips.waves.shape[1]
    starts, end = list[tuple[int, int]](), 0
    for index in order:
        gap_s = generator.uniform(settings.shortest_gap_s, settings.longest_gap_s)
        if starts and generator.uniform(0, 100) < settings.overlap_percentage:
            gap_s = -generator.uniform(0, settings.longest_overlap_s)
        starts.append((index, end + int(gap_s * rate_hz)))
        end = starts[-1][1] + length
    wave = np.zeros(end, np.float32)
    for index, start in starts:
        gain_db = generator.uniform(-settings.gain_db, settings.gain_db)
        wave[start : start + length] += np.float32(10 ** (gain_db / 20)) * clips.waves[index]
    return wave, starts


def _noise(
    noises: Sequence[np.ndarray], num_samples: int, power: float, snr_db: float, generator: np.random.Generator
) -> np.ndarray:
    """Return noise of one recording, from a random position on, repeated if it is too short."""
    recording = noises[int(generator.integers(len(noises)))]
    turned = np.roll(recording, -int(generator.integers(recording.size)))
    gain = np.sqrt(power / max(mean_power(recording), 1e-12)) * 10 ** (-snr_db / 20)
    return np.asarray(np.float32(gain) * np.resize(turned, num_samples), np.float32)


def _word(clips: StreamClips, index: int, start: int) -> SpokenWord:
    rate_hz = clips.sample_rate_hz
    return SpokenWord(
        start_s=start / rate_hz,
        end_s=(start + clips.waves.shape[1]) / rate_hz,
        label=clips.labels[index],
        speaker=clips.speakers[index],
    )


def shuffled(indices: Sequence[int], count: int, seed: int) -> list[int]:
    """Return `count` of the indices in random order; each one is used once before any is used again."""
    generator = np.random.default_rng(seed)
    rounds = [generator.permutation(indices).tolist() for _ in range(-(-count // max(1, len(indices))))]
    return [int(index) for each in rounds for index in each][:count]
