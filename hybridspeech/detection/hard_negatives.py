"""Hard negatives: the windows of sound without words in which a network hears a word most clearly.

A function of posteriors, and of the recordings for the sound of the chosen windows. Knows nothing of engines and of training.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridspeech.audio.recording_windows import cut_windows
from hybridspeech.detection.config import NOT_DETECTED
from hybridspeech.detection.listener import WindowPlan
from hybridspeech.evaluation.audio_files import AudioFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of a recording.

    Parameters
    ----------
    start : first sample; negative if it begins before the sound
    label : of NOT_DETECTED
    score : highest probability of a word, 0 to 1; None: no network was used
    """

    file: AudioFile
    start: int
    label: str
    score: float | None = None


def separated_maxima(scores: np.ndarray, suppression: int) -> list[int]:
    """Return indices in descending order of their scores; none is within `suppression` of a higher score that is returned.

    Parameters
    ----------
    scores : float [shape=(num_windows,)]
    """
    is_free, chosen = np.ones(len(scores), bool), list[int]()
    for index in np.argsort(-scores, kind="stable").tolist():
        if is_free[index]:
            chosen.append(index)
            is_free[max(0, index - suppression) : index + suppression + 1] = False
    return chosen


def hardest_windows(
    rows: Iterable[Mapping[str, Any]], plan: WindowPlan, labels: Sequence[str], suppression: int, count: int
) -> list[Window]:
    """Return at most `count` windows, in the order of files and time.

    The label of a window is that of NOT_DETECTED with the higher probability.

    Parameters
    ----------
    rows : posteriors of the segments of each file in order, as `event_parts.PosteriorMaker` writes them
    suppression : least distance of two windows of a file, in windows
    """
    found = heapq.nlargest(count, _candidates(rows, plan, labels, suppression), key=lambda window: window.score or 0.0)
    return sorted(found, key=lambda window: (window.file, window.start))


def _candidates(
    rows: Iterable[Mapping[str, Any]], plan: WindowPlan, labels: Sequence[str], suppression: int
) -> Iterator[Window]:
    others = [index for index, label in enumerate(labels) if label in NOT_DETECTED]
    words = [index for index, label in enumerate(labels) if label not in NOT_DETECTED]
    for (clip_id, path), segments in itertools.groupby(rows, key=lambda row: (row["clip_id"], row["path"])):
        parts = [np.frombuffer(row["posteriors"], "<f4") for row in _readable(segments)]
        posteriors = np.concatenate(parts).reshape(-1, len(labels))
        scores = posteriors[:, words].max(axis=1)
        for index in separated_maxima(scores, suppression):
            yield Window(
                file=AudioFile(clip_id, path),
                start=index * plan.hop - plan.lead,
                label=labels[others[int(posteriors[index, others].argmax())]],
                score=float(scores[index]),
            )


def _readable(segments: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the segments of a file to the first one that can't be read to its end."""
    for row in segments:
        yield row
        if row["error"] is not None:
            return


def cut(windows: Sequence[Window], length: int, sample_rate_hz: int) -> tuple[np.ndarray, list[Window], dict[str, str]]:
    """Cut windows out of their recordings.

    Parameters
    ----------
    windows : in the order of files and time

    Returns
    -------
    int16 [shape=(count, length)]; the window of each, without those that can't be read; and the error of each path
    """
    sound, kept, errors = np.empty((len(windows), length), np.int16), list[Window](), dict[str, str]()
    for file, group in itertools.groupby(windows, key=lambda window: window.file):
        of_file = list(group)
        cut_out, error = cut_windows(file.path, [window.start for window in of_file], length, sample_rate_hz)
        sound[len(kept) : len(kept) + len(cut_out)] = cut_out
        kept += of_file[: len(cut_out)]
        if error is not None:
            errors[file.path] = str(error)
    return sound[: len(kept)], kept, errors
