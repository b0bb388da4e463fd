"""Clips of finished shards for the verbs that measure a run: whether they fit it, and their sound.

Without TensorFlow, so that all that can be refused is refused at once. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybridspeech.config import to_json
from hybridspeech.errors import ConfigError
from hybridspeech.features.clip_transform import PCM16_SCALE
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import Example, read_shard
from hybridspeech.training.plan import TrainPlan


@dataclass(frozen=True, kw_only=True)
class Sounds:
    """Some clips: `waves` are float32 [shape=(num_clips, num_samples)], full scale = 1.0; `truth` indices of labels."""

    waves: np.ndarray
    truth: np.ndarray
    clip_ids: tuple[str, ...]
    speakers: tuple[str, ...]


def check_fit(plan: TrainPlan, index: ShardIndex, split: str, run: Path, shards: Path) -> None:
    """Say why a run can't be measured on a split of these shards.

    Raises
    ------
    ConfigError: run and shards have other labels or features, or the split has no clips.
    """
    missing = sorted(set(plan.labels) - set(index.labels))
    unknown = sorted(set(index.labels) - set(plan.labels))
    if tuple(plan.labels) != tuple(index.labels):
        raise ConfigError(
            f"{run} and {shards} have other labels: only the run has {', '.join(missing) or 'none'}; only the shards "
            f"have {', '.join(unknown) or 'none'}; preprocess a source with the words that the run was trained on"
        )
    stored = index.features
    rate_hz, duration_ms = stored.sample_rate_hz, stored.clip_duration_ms
    seen = replace(plan.features, sample_rate_hz=rate_hz, clip_duration_ms=duration_ms)
    seen = seen if stored.kind == "waveform" else stored
    ours, theirs = (to_json(replace(features, kernel="fast")) for features in (plan.features, seen))
    if ours != theirs:
        changed = ", ".join(f"{name} {ours[name]} / {theirs[name]}" for name in ours if ours[name] != theirs[name])
        raise ConfigError(
            f"{run} and {shards} have other features (run / shards): {changed}; preprocess with the settings of the run"
        )
    counts = {name: sum(info.num_examples for info in index.of_split(name)) for name in index.splits}
    if not counts.get(split):
        filled = ", ".join(name for name, count in counts.items() if count)
        raise ConfigError(f"{shards}: split {split!r} has no clips; choose one of {filled}")


def check_sound(index: ShardIndex, shards: Path, purpose: str) -> None:
    """Refuse shards that do not hold the sound itself.

    Raises
    ------
    ConfigError: they hold spectrograms. `purpose` says what needs the sound, e.g. "calibration".
    """
    if index.features.kind != "waveform":
        raise ConfigError(
            f"{shards}: holds {index.features.kind} spectrograms, and {purpose} needs the sound; preprocess the same "
            "source with --features waveform"
        )


def read_sounds(folder: str | Path, index: ShardIndex, split: str, batch_size: int = 64) -> Iterator[Sounds]:
    """A split of waveform shards in shard order, each clip once and as it was recorded.

    Raises
    ------
    ShardError: a shard is missing or damaged.
    """
    batch: list[Example] = []
    for shard in index.of_split(split):
        for example in read_shard(Path(folder) / shard.name):
            batch.append(example)
            if len(batch) == batch_size:
                yield _sounds(batch)
                batch = []
    if batch:
        yield _sounds(batch)


def sample_waves(folder: str | Path, index: ShardIndex, split: str, count: int) -> np.ndarray:
    """At most `count` clips, evenly spread over a split: float32 [shape=(num_clips, num_samples)], full scale = 1.0."""
    total = index.splits[split]
    chosen = set(np.linspace(0, total - 1, min(count, total)).astype(int).tolist())
    waves: list[np.ndarray] = []
    first = 0
    for sounds in read_sounds(folder, index, split):
        waves += [wave for number, wave in enumerate(sounds.waves, first) if number in chosen]
        first += len(sounds.waves)
    return np.stack(waves)


def _sounds(batch: list[Example]) -> Sounds:
    return Sounds(
        waves=np.stack([example.values for example in batch]) * PCM16_SCALE,
        truth=np.array([example.label for example in batch]),
        clip_ids=tuple(example.clip_id for example in batch),
        speakers=tuple(example.speaker for example in batch),
    )
