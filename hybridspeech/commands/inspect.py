"""The function of the command `inspect`: what is in a folder of shards. Knows nothing of engines and of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.config import ON_SPECTROGRAMS, SPLITS, AugmentConfig, FeatureConfig, to_json
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.plots import plot_spectrograms
from hybridspeech.features.clip_transform import ClipTransform, view_of
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.label_counts import count_labels, read_rejects
from hybridspeech.shards.reader import read_shard
from hybridspeech.storage.locations import refuse_urls

LOGMEL_ONLY = ("n_mels", "fmin_hz", "fmax_hz")
WITHOUT = {"logmel": (), "stft": LOGMEL_ONLY, "waveform": ("n_fft", "hop_length", "top_db", "kernel", *LOGMEL_ONLY)}
"""Settings that mean nothing for a kind of features."""


@dataclass(frozen=True, kw_only=True)
class InspectResult:
    """What `inspect` found; counts are of clips.

    `labels` gives for each label its clips (varied copies too) by split, without the rejects; `rejects` counts by reason.
    `problems` is what the verification found, None if none was asked for; `plot` is the path of the picture, if one was
    asked for.
    """

    shards: str
    num_clips: int
    num_rejects: int
    num_shards: int
    num_bytes: int
    splits: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    rejects: Mapping[str, int]
    features: FeatureConfig
    shards_config: ShardConfig
    spectrogram_shape: tuple[int, int]
    augment: AugmentConfig
    augment_copies: int
    num_noises: int
    digest: str
    problems: tuple[str, ...] | None = None
    plot: str | None = None

    def text(self) -> str:
        """The same for a reader: a table of labels and splits, then one fact a line."""
        splits = [split for split in SPLITS if split in self.splits]
        rows = [("label", *splits), *((label, *map(str, by.values())) for label, by in self.labels.items())]
        rows.append(("all", *(str(self.splits[split]) for split in splits)))
        width = max(len(row[0]) for row in rows)
        table = [row[0].ljust(width) + "".join(cell.rjust(12) for cell in row[1:]) for row in rows]
        return "\n".join([*table, "", *(f"{name:<10} {value}" for name, value in self._facts().items())])

    def _facts(self) -> dict[str, str]:
        bins, frames = self.spectrogram_shape
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejects.items())
        facts = {
            "clips": f"{self.num_clips:,} in {self.num_shards} shards, {self.num_bytes / 1e6:,.1f} MB",
            "rejects": f"{self.num_rejects:,}" + (f" ({reasons})" if reasons else ""),
            "shape": f"{frames} samples" if self.features.kind == "waveform" else f"{bins} bins x {frames} frames",
            "features": _listed(self.features, WITHOUT[self.features.kind]),
            "stored as": _listed(self.shards_config),
        }
        if self.augment_copies:
            varied = _listed(self.augment, ON_SPECTROGRAMS)
            facts["varied"] = f"{self.augment_copies} copies of each training clip: {varied}"
        if self.num_noises:
            facts["noise"] = f"{self.num_noises} recordings"
        facts["digest"] = self.digest
        if self.problems is not None:
            facts["verified"] = "; ".join(self.problems) or "every shard is there and as it was written"
        return facts | ({"plot": self.plot} if self.plot else {})


def _listed(settings: FeatureConfig | ShardConfig | AugmentConfig, without: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{name} {value}" for name, value in to_json(settings).items() if name not in without)


def inspect(
    shards: str | Path, *, verify: bool = False, plot: str | Path | None = None, num_plots: int = 6
) -> InspectResult:
    """Count and describe the shards of a folder.

    Parameters
    ----------
    verify : hash every shard again; what is wrong is returned in `problems`, not raised
    plot : PNG file to draw spectrograms into: the first clip of each of the first `num_plots` labels that are met

    Raises
    ------
    ShardError: there are no finished shards, or they can't be read. ConfigError: the picture can't be written.
    """
    refuse_urls(SHARDS=shards, plot=plot)
    folder = Path(shards)
    index = ShardIndex.load(folder)
    if num_plots < 1:
        raise ConfigError(f"num_plots is {num_plots}; expected 1 or more")
    rejects = read_rejects(folder)
    result = InspectResult(
        shards=str(folder),
        num_clips=index.num_clips,
        num_rejects=index.num_rejects,
        num_shards=len(index.shards),
        num_bytes=index.num_bytes,
        splits=index.splits,
        labels=count_labels(folder, index),
        rejects=dict(Counter(rejects.values()).most_common()),
        features=index.features,
        shards_config=index.shards_config,
        spectrogram_shape=index.features.shape,
        augment=index.augment,
        augment_copies=index.augment_copies,
        num_noises=len(index.noises),
        digest=index.digest,
        problems=tuple(index.verify(folder)) if verify else None,
        plot=str(plot) if plot else None,
    )
    if plot:
        shown = view_of(index.features)
        plot_spectrograms(_first_of_labels(folder, index, shown, num_plots), shown, Path(plot))
    return result


def _first_of_labels(folder: Path, index: ShardIndex, shown: FeatureConfig, num_plots: int) -> dict[str, np.ndarray]:
    """The first spectrogram of each of the first labels in shard order, by label."""
    found: dict[str, np.ndarray] = {}
    transform = ClipTransform(index.features, shown)
    shape = (1, -1) if index.features.kind == "waveform" else (1, *index.features.shape)
    for shard in sorted(index.shards, key=lambda shard: SPLITS.index(shard.split)):
        for example in read_shard(folder / shard.name):
            if example.label_name not in found:
                found[example.label_name] = transform(example.values.reshape(shape), [example.clip_id], 0)[0]
            if len(found) == min(num_plots, len(index.labels)):
                return dict(sorted(found.items()))
    return dict(sorted(found.items()))
