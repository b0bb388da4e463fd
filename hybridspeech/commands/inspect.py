"""The verb `inspect`: describes, verifies and audits a folder of shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from hybridspeech.commands.audit_training import train_fold
from hybridspeech.config import SPLITS, WHILE_TRAINING, AugmentConfig, EngineConfig, FeatureConfig, OnProgress, silent
from hybridspeech.engines import ENGINES
from hybridspeech.errors import ConfigError, counted
from hybridspeech.evaluation.audit.audit import Audit, audit_shards, check_waveforms
from hybridspeech.evaluation.audit.findings import check_table_path, count_kinds, save_table
from hybridspeech.evaluation.plots import plot_spectrograms
from hybridspeech.evaluation.reports.audit_section import audit_sections
from hybridspeech.evaluation.reports.clips import ClipSource
from hybridspeech.evaluation.reports.shard_report import write_shard_report
from hybridspeech.features.clip_transform import ClipTransform, view_of
from hybridspeech.manifest.source_warnings import source_warnings
from hybridspeech.models.build import import_tensorflow
from hybridspeech.processes.resources import num_cores
from hybridspeech.records import to_json
from hybridspeech.registry import requires
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.label_counts import count_labels, read_clip_names, read_rejects, without_copies
from hybridspeech.shards.reader import read_shard
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import is_url, join, normalized, refuse_urls

LOGMEL_ONLY = ("n_mels", "fmin_hz", "fmax_hz")
MIN_CLIPS_FOR_PROCESSES = 4_000
"""With fewer clips, one process audits the sound of all before others have started."""
WITHOUT = {"logmel": (), "stft": LOGMEL_ONLY, "waveform": ("n_fft", "hop_length", "top_db", "kernel", *LOGMEL_ONLY)}
"""Settings that have no effect for a kind of features."""


@dataclass(frozen=True, kw_only=True)
class InspectResult:
    """Description of a folder of shards.

    Parameters
    ----------
    splits : number of clips by split, with augmented copies, without rejects
    labels : the same by label and split
    rejects : number of rejected clips by reason
    warnings : what makes a test accuracy misleading, one sentence each
    problems : what the verification found; None without verification
    plot : path of the image; None without one
    audit : path of the table of the audit; None without one
    findings : number of findings of the audit by kind
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
    num_excluded: int = 0
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] | None = None
    plot: str | None = None
    audit: str | None = None
    findings: Mapping[str, int] = field(default_factory=dict)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of the clips by label and split."""
        splits = [split for split in SPLITS if split in self.splits]
        rows = [[label, *(f"{by[split]:,}" for split in splits)] for label, by in self.labels.items()]
        return ["label", *splits], [*rows, ["all", *(f"{self.splits[split]:,}" for split in splits)]]

    def facts(self) -> dict[str, str]:
        """Return names and values of all other results, for a reader."""
        bins, frames = self.spectrogram_shape
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejects.items())
        facts = {
            "clips": f"{self.num_clips:,} in {counted(self.num_shards, 'shard')}, {self.num_bytes / 1e6:,.1f} MB",
            "rejects": f"{self.num_rejects:,}" + (f" ({reasons})" if reasons else ""),
            "shape": f"{frames} samples" if self.features.kind == "waveform" else f"{bins} bins x {frames} frames",
            "features": _listed(self.features, WITHOUT[self.features.kind]),
            "stored as": _listed(self.shards_config),
        }
        if self.augment_copies:
            varied = _listed(self.augment, WHILE_TRAINING)
            facts["copies"] = (
                f"{counted(self.augment_copies, 'augmented copy', 'augmented copies')} of each training clip: {varied}"
            )
        if self.num_noises:
            facts["noise"] = counted(self.num_noises, "recording")
        if self.num_excluded:
            facts["excluded"] = f"{counted(self.num_excluded, 'clip')} on request"
        facts["digest"] = self.digest
        if self.problems is not None:
            facts["verified"] = "; ".join(self.problems) or "all shards are present and unchanged"
        if self.audit:
            found = ", ".join(f"{count:,} {kind}" for kind, count in self.findings.items() if count)
            facts["audit"] = f"{found or 'nothing found'} (see {self.audit})"
        return facts | ({"plot": self.plot} if self.plot else {})


def _listed(settings: FeatureConfig | ShardConfig | AugmentConfig, without: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{name} {value}" for name, value in to_json(settings).items() if name not in without)


def inspect(
    shards: str | Path,
    *,
    verify: bool = False,
    plot: str | Path | None = None,
    num_plots: int = 6,
    report: str | Path | None = None,
    audio: str | Path | None = None,
    audit: str | Path | None = None,
    check_labels: bool = True,
    on_progress: OnProgress = silent,
) -> InspectResult:
    """Describe the shards of a folder, and verify or audit them on request.

    Parameters
    ----------
    shards : folder or URL written by `preprocess`
    verify : compute the checksum of every shard; differences are returned in `problems`, not raised
    plot : PNG file for spectrograms: the first clip of each of the first `num_plots` labels in the order of the shards
    report : HTML file for a report with a clip of each label; it is self-contained
    audio : source of the shards, a folder of audio files, for the players of the report; shards of waveforms need none
    audit : CSV file for the faults of the clips, which `preprocess` takes as `exclude`; needs shards of waveforms. With
        `report`, the report has them too
    check_labels : train networks in a cross-validation, which doubt labels (extra `train`; minutes), for `audit`

    Raises
    ------
    ShardError: the shards are unfinished or damaged. ConfigError: a file can not be written, or the shards can not be audited.
    OutputExistsError: `audit` exists. StorageError: a store fails. MissingExtraError: TensorFlow is not installed.
    WorkerError: a training failed.
    """
    refuse_urls(plot=plot, report=report, audio=audio, audit=audit)
    folder = normalized(shards) if is_url(shards) else str(shards)
    index = ShardIndex.load(folder)
    if num_plots < 1:
        raise ConfigError(f"num_plots is {num_plots}; expected 1 or more")
    if audit:
        check_waveforms(folder, index)
        check_table_path(Path(audit))
    rejects = read_rejects(folder)
    result = InspectResult(
        shards=folder,
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
        num_excluded=len(index.excluded),
        digest=index.digest,
        warnings=source_warnings(
            without_copies(read_clip_names(folder), index.augment_copies), index.manifest, index.manifest.split
        ),
        problems=tuple(index.verify(folder)) if verify else None,
        plot=str(plot) if plot else None,
    )
    if plot:
        shown = view_of(index.features)
        plot_spectrograms(_first_of_labels(folder, index, shown, num_plots), shown, Path(plot))
    if report or audit:
        with fetched(folder) as local:
            found = _audit(local, index, check_labels, on_progress) if audit else None
            if audit and found:
                save_table(Path(audit), found.clips, found.findings)
                result = replace(result, audit=str(audit), findings=count_kinds(found.findings))
            if report:
                _write_report(Path(report), result, index, local, audio, found)
    return result


def _audit(shards: Path, index: ShardIndex, check_labels: bool, on_progress: OnProgress) -> Audit:
    processes = num_cores() if index.num_clips >= MIN_CLIPS_FOR_PROCESSES else 1
    train = partial(train_fold, on_progress=on_progress) if check_labels else None
    if train:
        with requires("train", "the check of the labels (leave it out with --no-check-labels)"):
            import_tensorflow()
    with ENGINES.load("local")(EngineConfig(executor_cores=processes)) as engine:
        return audit_shards(shards, index, engine.map_partitions, train, on_progress)


def _write_report(
    path: Path, result: InspectResult, index: ShardIndex, local: Path, audio: str | Path | None, audit: Audit | None
) -> None:
    sounds = Path(audio) if audio else None
    source = ClipSource(shards=local, index=index, features=view_of(index.features), audio=sounds)
    more = audit_sections(source, audit) if audit else ()
    write_shard_report(path, source, result.labels, result.rejects, result.problems, result.warnings, more)


def _first_of_labels(folder: str, index: ShardIndex, shown: FeatureConfig, num_plots: int) -> dict[str, np.ndarray]:
    """Return the first spectrogram of each of the first labels in the order of the shards, by label."""
    found: dict[str, np.ndarray] = {}
    transform = ClipTransform(index.features, shown)
    shape = (1, -1) if index.features.kind == "waveform" else (1, *index.features.shape)
    for shard in sorted(index.shards, key=lambda shard: SPLITS.index(shard.split)):
        for example in read_shard(join(folder, shard.name)):
            if example.label_name not in found:
                found[example.label_name] = transform(example.values.reshape(shape), [example.clip_id], 0)[0]
            if len(found) == min(num_plots, len(index.labels)):
                return dict(sorted(found.items()))
    return dict(sorted(found.items()))
