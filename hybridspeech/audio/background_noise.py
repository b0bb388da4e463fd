"""Background noise: the recordings of a source, their splits, and excerpts of them. Knows nothing of spectrograms.

A source keeps them as ``_background_noise_/*.wav``, as Speech Commands does. With three recordings or more, none is in
two splits: a network must not be tested on noise that it was trained with. Of two, one is for training.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hybridspeech.audio.decode import read_recording
from hybridspeech.audio.formats import AUDIO_SUFFIXES
from hybridspeech.errors import AudioError
from hybridspeech.storage.locations import is_url, join, normalized, parent_and_name
from hybridspeech.storage.objects import is_file, list_names, stat_file

NOISE_FOLDER = "_background_noise_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """One recording: its file name without suffix, its absolute path, and the splits in which it may be used."""

    name: str
    path: str
    splits: tuple[str, ...]


def find_noises(source: str | Path | Any, seed: int = 0) -> tuple[Noise, ...]:
    """Find the background noise of a source (a folder, or a table with the folder beside it), sorted by name.

    A DataFrame has none.

    A seeded hash of the names decides the splits: one in five (at least one) for testing, as many for validation, the
    rest for training. Of two recordings one is for training and one for both other splits; a single one is for training.
    """
    if not isinstance(source, (str, Path)):
        return ()
    place = normalized(source)
    is_table = is_file(place) if is_url(place) else not Path(place).is_dir()
    folder = join(parent_and_name(place)[0] if is_table else place, NOISE_FOLDER)
    names = [name for name in list_names(folder) if name.lower().endswith(AUDIO_SUFFIXES) and not name.startswith(".")]
    drawn = sorted(names, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode(errors="replace")).digest())
    splits = dict(zip(drawn, _splits(len(drawn)), strict=True))
    return tuple(Noise(name=PurePosixPath(name).stem, path=join(folder, name), splits=splits[name]) for name in names)


def _splits(count: int) -> list[tuple[str, ...]]:
    if count <= 2:
        few: list[tuple[str, ...]] = [("training",), ("validation", "testing")]
        return few[:count]
    held_out = max(1, count // 5)
    names = ["testing"] * held_out + ["validation"] * held_out + ["training"] * (count - 2 * held_out)
    return [(name,) for name in names]


def load_noises(
    paths: tuple[str, ...], sample_rate_hz: int, num_samples: int, versions: tuple[str, ...] = ()
) -> tuple[np.ndarray, ...]:
    """Read recordings of background noise; each process caches the last four results.

    Parameters
    ----------
    versions : texts for size and modification time of the files; a file with another version is read again. Without them,
        the modification time of a local file is used

    Returns
    -------
    float32 [shape=(length,)] per path, full scale = 1.0, mono, at sample_rate_hz

    Raises
    ------
    AudioError: a recording can't be used, or is shorter than `num_samples`.
    """
    known = versions if any(versions) else tuple(map(_local_version, paths))
    return _load_noises(paths, sample_rate_hz, num_samples, known)


def _local_version(path: str) -> str:
    """Return '' for a URL, because a request for each clip of silence would take longer than all other work."""
    try:
        return "" if is_url(path) else stat_file(path).version
    except (OSError, ValueError):
        return ""


@functools.lru_cache(maxsize=4)
def _load_noises(
    paths: tuple[str, ...], sample_rate_hz: int, num_samples: int, versions: tuple[str, ...]
) -> tuple[np.ndarray, ...]:
    recordings = tuple(read_recording(path, sample_rate_hz) for path in paths)
    for path, recording in zip(paths, recordings, strict=True):
        if recording.size < num_samples:
            raise AudioError("too-short", f"{path}: {recording.size} samples of noise; expected {num_samples} or more")
    return recordings


def excerpt(recordings: Sequence[np.ndarray], choice: float, position: float, num_samples: int) -> np.ndarray:
    """Return an excerpt of one of the recordings.

    Parameters
    ----------
    choice, position : select the recording and the start of the excerpt; from 0 to below 1

    Returns
    -------
    float32 [shape=(num_samples,)], a view
    """
    recording = recordings[int(choice * len(recordings))]
    start = int(position * (recording.size - num_samples + 1))
    return recording[start : start + num_samples]
