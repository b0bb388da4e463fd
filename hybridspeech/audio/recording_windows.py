"""Windows of recordings of any length, which are never in memory as a whole. Knows nothing of labels and spectrograms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from hybridspeech.audio.pcm import to_pcm16
from hybridspeech.audio.streams import header_duration_s, sound_blocks
from hybridspeech.errors import AudioError


def count_samples(path: str, sample_rate_hz: int) -> int:
    """Return the number of samples of a recording: by its header, else by reading it.

    Raises
    ------
    AudioError: the recording can't be read.
    """
    if duration_s := header_duration_s(path):
        return int(duration_s * sample_rate_hz)
    with closing(sound_blocks(path, sample_rate_hz)) as blocks:
        return sum(block.size for block in blocks)


def consecutive_starts(num_samples: int, length: int) -> list[int]:
    """Return the starts of consecutive windows of a recording; the last one ends with it, and a short recording has one."""
    return [min(start, max(0, num_samples - length)) for start in range(0, max(1, num_samples), length)]


def evenly_chosen(total: int, count: int, seed: int) -> list[int]:
    """Return at most `count` of the numbers below `total`, ascending: a random one of each of `count` equal parts."""
    if total <= count:
        return list(range(total))
    generator = np.random.default_rng(seed)
    bounds = [part * total // count for part in range(count + 1)]
    return [int(generator.integers(first, end)) for first, end in itertools.pairwise(bounds)]


def cut_windows(
    path: str, starts: Sequence[int], length: int, sample_rate_hz: int
) -> tuple[np.ndarray, AudioError | None]:
    """Cut windows out of a recording; zeros surround its sound.

    Parameters
    ----------
    path : a local path or a URL
    starts : first sample of each window, ascending; may be negative
    length : of a window, in samples

    Returns
    -------
    int16 [shape=(num_windows, length)], and what is wrong with a recording that can't be read to its end: windows that begin
    behind the sound that could be read are left out
    """
    windows, error = np.zeros((len(starts), length), np.int16), None
    begin = first = max(0, starts[0])
    try:
        with closing(sound_blocks(path, sample_rate_hz, first)) as blocks:
            for block in blocks:
                _copy(block, begin, starts, windows)
                begin += block.size
                if begin >= starts[-1] + length:
                    break
    except AudioError as raised:
        error = raised
    return windows[: np.searchsorted(starts, begin) if begin > first else 0], error


def _copy(block: np.ndarray, begin: int, starts: Sequence[int], windows: np.ndarray) -> None:
    """Copy a block of a recording, which begins at sample `begin`, to the windows that it overlaps."""
    length, end, samples = windows.shape[1], begin + block.size, to_pcm16(block)
    for number in range(*np.searchsorted(starts, (begin - length + 1, end)).tolist()):
        first, last = max(begin, starts[number]), min(end, starts[number] + length)
        windows[number, first - starts[number] : last - starts[number]] = samples[first - begin : last - begin]
