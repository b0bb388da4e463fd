"""The recordings in shards of waveforms, for measurements that need the sound. Knows nothing of runs and networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.audio.pcm import from_pcm16
from hybridspeech.shards.content import read_checked
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import Example


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """A batch of clips with their labels and speakers.

    `waves` is float32 [shape=(num_clips, num_samples)], full scale = 1.0; `labels` is int [shape=(num_clips,)], indices of
    the true labels. An unknown speaker is ''.
    """

    waves: np.ndarray
    labels: np.ndarray
    clip_ids: tuple[str, ...]
    speakers: tuple[str, ...]


def read_recordings(folder: str | Path, index: ShardIndex, split: str, batch_size: int = 64) -> Iterator[Recordings]:
    """Read every clip of a split once, in shard order, as it was recorded.

    Parameters
    ----------
    folder : shards of waveforms
    split : training, validation or testing
    batch_size : number of clips in memory at a time

    Raises
    ------
    ShardError: a shard is missing or damaged, or its content does not fit the index.
    """
    batch: list[Example] = []
    for shard in index.of_split(split):
        for example in read_checked(folder, index, shard):
            batch.append(example)
            if len(batch) == batch_size:
                yield _recordings(batch)
                batch = []
    if batch:
        yield _recordings(batch)


def sample_waves(folder: str | Path, index: ShardIndex, split: str, count: int) -> np.ndarray:
    """Read at most `count` clips, evenly spaced over a split.

    Returns
    -------
    float32 [shape=(num_clips, num_samples)], full scale = 1.0

    Raises
    ------
    ShardError: a shard is missing or damaged, or its content does not fit the index.
    """
    total = index.splits[split]
    chosen = set(np.linspace(0, total - 1, min(count, total)).astype(int).tolist())
    waves: list[np.ndarray] = []
    first = 0
    for recordings in read_recordings(folder, index, split):
        waves += [wave for number, wave in enumerate(recordings.waves, first) if number in chosen]
        first += len(recordings.waves)
    return np.stack(waves)


def _recordings(batch: list[Example]) -> Recordings:
    return Recordings(
        waves=from_pcm16(np.stack([example.values for example in batch])),
        labels=np.array([example.label for example in batch]),
        clip_ids=tuple(example.clip_id for example in batch),
        speakers=tuple(example.speaker for example in batch),
    )
