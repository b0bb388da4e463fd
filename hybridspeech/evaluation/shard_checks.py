"""Checks that shards can be used to measure a run. Reads the index only; knows nothing of networks and TensorFlow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hybridspeech.errors import ConfigError
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.plan import TrainPlan


def check_fit(plan: TrainPlan, index: ShardIndex, split: str, run: Path, shards: Path) -> None:
    """Check that a run can be measured on a split of these shards.

    Parameters
    ----------
    plan, run : plan and path of the run
    index, shards : index and path of the shards

    Raises
    ------
    ConfigError: labels or features of run and shards differ, or the split has no clips.
    """
    if tuple(plan.labels) != tuple(index.labels):
        missing = sorted(set(plan.labels) - set(index.labels))
        unknown = sorted(set(index.labels) - set(plan.labels))
        raise ConfigError(
            f"{run} and {shards} have different labels: only the run has {', '.join(missing) or 'none'}; only the shards "
            f"have {', '.join(unknown) or 'none'}; preprocess a source with the labels of the run"
        )
    if changed := _changed_features(plan, index):
        raise ConfigError(
            f"{run} and {shards} have different features (run / shards): {', '.join(changed)}; preprocess with the "
            "settings of the run"
        )
    counts = {name: sum(info.num_examples for info in index.of_split(name)) for name in index.splits}
    if not counts.get(split):
        filled = ", ".join(name for name, count in counts.items() if count)
        raise ConfigError(f"{shards}: split {split!r} has no clips; choose one of {filled}")


def _changed_features(plan: TrainPlan, index: ShardIndex) -> list[str]:
    """Settings that differ, as "name run / shards". Of waveform shards only rate and duration matter; the kernel never."""
    stored = index.features
    rate_hz, duration_ms = stored.sample_rate_hz, stored.clip_duration_ms
    of_waveform = replace(plan.features, sample_rate_hz=rate_hz, clip_duration_ms=duration_ms)
    given = of_waveform if stored.kind == "waveform" else stored
    ours, theirs = (vars(replace(features, kernel="fast")) for features in (plan.features, given))
    return [f"{name} {ours[name]} / {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def check_sound(index: ShardIndex, shards: Path, purpose: str) -> None:
    """Check that shards hold waveforms.

    Parameters
    ----------
    purpose : what needs the sound, for the message; e.g. "calibration"

    Raises
    ------
    ConfigError: the shards hold spectrograms.
    """
    if index.features.kind != "waveform":
        raise ConfigError(
            f"{shards}: holds {index.features.kind} spectrograms, and {purpose} needs the sound; preprocess the same "
            "source with --features waveform"
        )
