"""The verb `run`: clips -> run directory, without shards on disk, through a feed. Knows nothing of Spark, Ray, TensorFlow."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridspeech.audio.background_noise import find_noises
from hybridspeech.audio.long_clips import CUT_REMEDY
from hybridspeech.config import ClusterConfig, FeatureConfig, OnProgress, Progress, silent
from hybridspeech.errors import ConfigError, counted
from hybridspeech.feeds import FEEDS, ClipSource
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.long_recordings import split_long
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.manifest.source_warnings import source_warnings
from hybridspeech.manifest.tasks import select_task
from hybridspeech.models.config import ModelConfig
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.processes.resources import parse_memory_size
from hybridspeech.records import to_json
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.plan import choose_num_shards, plan_shards
from hybridspeech.shards.rejects import check_max_rejects
from hybridspeech.training.config import FitConfig
from hybridspeech.training.driver import open_run, train_with_restarts
from hybridspeech.training.fine_tuning import find_initial_weights
from hybridspeech.training.loop import run_worker
from hybridspeech.training.plan import TrainingData, TrainPlan, TrainRequest, make_plan
from hybridspeech.training.recipes import DataSummary
from hybridspeech.training.result import TrainResult, result_of
from hybridspeech.training.run_directory import RunDirectory

POLL_S = 0.5
FED_SPLITS = ("training", "validation")


@dataclass(frozen=True, kw_only=True)
class RunResult(TrainResult):
    """Result of `run`; `startup_s` includes the features.

    Parameters
    ----------
    num_clips, num_rejects : clips that were used, and clips that were rejected
    memory_bytes, spilled_bytes : records of all workers in memory, and in scratch files
    """

    num_clips: int
    num_rejects: int
    memory_bytes: int
    spilled_bytes: int


def run(
    source: str | Path | Any,
    run: str | Path,
    *,
    features: FeatureConfig | None = None,
    manifest: ManifestConfig | None = None,
    shards: ShardConfig | None = None,
    model: ModelConfig | None = None,
    fit: FitConfig | None = None,
    recipe: str = "default",
    init_from: str | Path | None = None,
    cluster: ClusterConfig | None = None,
    backend: str = "tfos",
    memory_per_worker: str = "1g",
    max_rejects: float = math.inf,
    overwrite: bool = False,
    resume: bool = False,
    on_progress: OnProgress = silent,
) -> RunResult:
    """Train a classifier on a folder (or table) of recordings; the loss curve is that of `preprocess` and `train`.

    Testing clips are left out. A resumed run computes its features again.

    Parameters
    ----------
    source, manifest, max_rejects : as in `preprocess`; features too, but not waveforms
    run, model, fit, recipe, init_from, cluster : as in `train`; features that are not given are those of `init_from`
    shards : dtype, and the seed and number of shards, which decide the order of the clips
    backend : a name in FEEDS
    memory_per_worker : memory for the records of a worker, such as "512m" or "4g"; the rest is in a scratch file

    Raises
    ------
    As `preprocess` and `train`.
    """
    started_at = time.time()
    cluster = cluster or ClusterConfig()
    start = find_initial_weights(init_from, run, resume=resume, model=model)
    features = features or (start.features if start else FeatureConfig())
    if model and model.causal:
        features = replace(features, top_db=None, causal=True)
    memory_bytes = parse_memory_size(memory_per_worker, "memory per worker")
    feed = FEEDS.load(backend)
    manifest, shards = manifest or ManifestConfig(), shards or ShardConfig()
    clips = make_source(source, features, manifest, shards, cluster.num_workers, max_rejects)
    request = TrainRequest(
        run=run,
        backend=backend,
        cluster=cluster,
        model=model,
        fit=fit,
        recipe=recipe,
        init_from=start,
        resume=resume,
    )
    settings: dict[str, Any] = {"manifest": manifest, "shards_config": shards, "memory_per_worker": memory_per_worker}
    if math.isfinite(max_rejects):
        settings["max_rejects"] = max_rejects
    plan = replace(make_plan(source_data(clips), request), preprocessing=to_json(settings))
    started_from = [start.describe(plan.labels)] if start else []
    for message in (_describe(plan, clips), *started_from, *clips.notes):
        on_progress(Progress(stage="plan", message=message))
    starter = feed(clips, memory_bytes)
    with open_run(plan, overwrite, on_progress) as local, _feed_reported(RunDirectory(local.run), local, on_progress):
        reports = train_with_restarts(lambda attempt: starter.run(attempt, run_worker), local, on_progress)
        fed = RunDirectory(local.run).status.read_feed()
    result = result_of(plan, reports[0], fed["steps"], started_at)
    held = {name: sum(report.values[name] for report in reports) for name in ("memory_bytes", "spilled_bytes")}
    return RunResult(**vars(result), num_clips=sum(fed["splits"].values()), num_rejects=fed["num_rejects"], **held)


def make_source(
    source: str | Path | Any,
    features: FeatureConfig,
    manifest: ManifestConfig,
    shards: ShardConfig,
    num_workers: int,
    max_rejects: float,
) -> ClipSource:
    """Return the clips in the order of the shards that `preprocess` would write, with a shard or more per worker and split.

    Raises
    ------
    ConfigError: fewer clips of a split than workers, or none for training. ManifestError.
    """
    check_max_rejects(max_rejects)
    if features.kind == "waveform":
        raise ConfigError("features are 'waveform', but `run` computes spectrograms on Spark: choose stft or logmel")
    found = select_task(read_manifest(source, manifest), manifest, find_noises(source, manifest.seed))
    if manifest.on_long == "split":
        found = split_long(found, features.clip_duration_ms)
    shards = shards.for_features(features.kind)
    num_shards = shards.num_shards or max(choose_num_shards(found, features, shards), num_workers)
    shards = replace(shards, num_shards=num_shards)
    tasks = tuple(task for task in plan_shards(found.clips, shards) if task.split in FED_SPLITS)
    counts = Counter(task.split for task in tasks)
    if not counts["training"]:
        raise ConfigError(f"{found.source}: has no clips for training; use other splits")
    for split, count in counts.items():
        if count < num_workers:
            raise ConfigError(
                f"{found.source}: {counted(num_workers, 'worker')} share {counted(found.counts()[split], 'clip')} of split "
                f"{split!r} in {counted(count, 'part')}; each worker needs one or more: "
                f"use fewer workers, or --shards {num_workers}"
            )
    return ClipSource(
        tasks=tasks,
        labels=found.labels,
        features=features,
        shards=shards,
        max_rejects=max_rejects,
        on_long=manifest.on_long,
        notes=(*found.notes, *source_warnings(found.clips.names(), manifest, found.split_rule)),
    )


def source_data(clips: ClipSource) -> TrainingData:
    """Return clips as the data of a training. Their digest covers clips and settings, as the bytes are not known yet."""
    settings = [to_json(clips.features), to_json(clips.shards), clips.labels]
    if clips.on_long != "cut":  # the digest of a run without this setting stays the same
        settings.append(clips.on_long)
    names: tuple[str, ...] = ("clip_id", "label", "path", "excerpt")
    if any(task.clips.has_segments for task in clips.tasks):
        names = (*names, "segment")
    named = [[task.name, *task.clips.values(*names)] for task in clips.tasks]
    return TrainingData(
        summary=DataSummary(features=clips.features),
        shards="",
        digest=hashlib.sha256(json.dumps([settings, named]).encode()).hexdigest(),
        labels=clips.labels,
        training_counts=clips.training_counts,
    )


def _describe(plan: TrainPlan, clips: ClipSource) -> str:
    workers, batch = plan.cluster.num_workers, plan.fit.batch_size
    return (
        f"{plan.model.name} on {counted(clips.num_clips, 'clip')} of {counted(len(clips.labels), 'label')}, without shards "
        f"on disk; global batch size {workers * batch} ({counted(workers, 'worker')} x {batch})"
    )


@contextmanager
def _feed_reported(run: RunDirectory, plan: TrainPlan, on_progress: OnProgress) -> Iterator[None]:
    """Report how many clips are ready: those that the driver has counted, or that the ranks have received if that is more."""
    before, is_cut_told = -1, False

    def report() -> None:
        nonlocal before, is_cut_told
        fed = run.status.read_feed()
        statuses = [run.status.read(rank) for rank in range(plan.cluster.num_workers)] if fed else []
        received = sum(status.get("received", 0) for status in statuses)
        done = max(fed.get("done", 0), received)
        if fed and done != before:
            before = done
            on_progress(Progress(stage="features", done=done, total=fed["total"], unit="clips"))
        if fed.get("cut") and not is_cut_told:
            is_cut_told = True
            on_progress(Progress(stage="features", message=f"{fed['cut']}; {CUT_REMEDY}"))

    with PeriodicCall(report, POLL_S, "hybridspeech-feed"):
        yield
