"""The audit of a folder of waveform shards: measures every clip, and lists what should be looked at, the worst first.

It gets the functions that run work in parallel and that train a network. Knows nothing of engines and of how a network is
trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hybridspeech.config import OnProgress, Progress
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.audit.duplicates import find_duplicates
from hybridspeech.evaluation.audit.findings import (
    AuditedClips,
    Finding,
    doubt_findings,
    duplicate_findings,
    ranked,
    sound_findings,
)
from hybridspeech.evaluation.audit.label_doubts import TrainFold, cross_validate, find_doubts
from hybridspeech.evaluation.audit.measurements import Measurements, measure
from hybridspeech.shards.content import read_checked
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo

_BATCH_SIZE = 64


class MapPartitions(Protocol):
    """Runs a function on partitions; `hybridspeech.engines.Engine` documents it."""

    def __call__(
        self,
        function: Callable[[Sequence[ShardInfo]], Any],
        partitions: Sequence[Sequence[ShardInfo]],
        on_done: Callable[[Any], None] | None = None,
    ) -> list[Any]:
        """Return ``[function(partition) for partition in partitions]``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The clips of a folder of shards and what was found, the highest scores first."""

    clips: AuditedClips
    findings: Sequence[Finding]


def audit_shards(
    shards: Path, index: ShardIndex, map_partitions: MapPartitions, train: TrainFold | None, on_progress: OnProgress
) -> Audit:
    """Audit all clips of a folder of shards.

    Parameters
    ----------
    shards : local folder
    train : trains the networks that doubt labels; None: labels are not checked

    Raises
    ------
    ConfigError: the shards hold no waveforms. ShardError: a shard is missing or damaged. Errors of `train`.
    """
    check_waveforms(shards, index)
    clips = _measure(shards, index, map_partitions, on_progress)
    findings = [*sound_findings(clips), *duplicate_findings(clips, find_duplicates(clips.measured))]
    if train:
        probabilities = cross_validate(shards, index, clips.clip_ids, clips.speakers, train)
        findings += doubt_findings(clips, find_doubts(probabilities, clips.labels))
    return Audit(clips=clips, findings=ranked(clips, findings))


def check_waveforms(shards: str | Path, index: ShardIndex) -> None:
    """Raise ConfigError unless the shards hold waveforms."""
    if index.features.kind != "waveform":
        raise ConfigError(
            f"{shards}: holds {index.features.kind} spectrograms, and an audit needs the sound; preprocess with --features "
            "waveform, and audit these shards"
        )


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is known of the clips of one shard."""

    split: str
    clip_ids: list[str] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    measured: list[Measurements] = field(default_factory=list)


def _measure(shards: Path, index: ShardIndex, map_partitions: MapPartitions, on_progress: OnProgress) -> AuditedClips:
    done = 0

    def on_done(parts: list[_Part]) -> None:
        nonlocal done
        done += sum(len(part.clip_ids) for part in parts)
        on_progress(Progress(stage="sound", done=done, total=index.num_clips, unit="clips"))

    partitions = [(shard,) for shard in index.shards]
    parts = [
        part for found in map_partitions(partial(_measure_shards, shards, index), partitions, on_done) for part in found
    ]
    first = dict.fromkeys((part.split for part in parts), 0)
    positions: list[int] = []
    for part in parts:
        positions += range(first[part.split], first[part.split] + len(part.clip_ids))
        first[part.split] += len(part.clip_ids)
    return AuditedClips(
        clip_ids=[clip_id for part in parts for clip_id in part.clip_ids],
        splits=[part.split for part in parts for _ in part.clip_ids],
        speakers=[speaker for part in parts for speaker in part.speakers],
        labels=np.array([label for part in parts for label in part.labels], np.int64),
        positions=positions,
        names=index.labels,
        measured=Measurements.concat([measured for part in parts for measured in part.measured]),
    )


def _measure_shards(folder: Path, index: ShardIndex, shards: Sequence[ShardInfo]) -> list[_Part]:
    return [_measure_shard(folder, index, shard) for shard in shards]


def _measure_shard(folder: Path, index: ShardIndex, shard: ShardInfo) -> _Part:
    part = _Part(split=shard.split)
    for batch in _batches(folder, index, shard, part):
        part.measured.append(measure(batch, index.features.sample_rate_hz))
    return part


def _batches(folder: Path, index: ShardIndex, shard: ShardInfo, part: _Part) -> Iterator[np.ndarray]:
    """Yield the samples of some clips at a time, and note their names in `part`."""
    waves: list[np.ndarray] = []
    for example in read_checked(folder, index, shard):
        part.clip_ids.append(example.clip_id)
        part.speakers.append(example.speaker)
        part.labels.append(example.label)
        waves.append(example.values)
        if len(waves) == _BATCH_SIZE:
            yield np.stack(waves)
            waves = []
    if waves:
        yield np.stack(waves)
