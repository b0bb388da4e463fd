"""The verb `train`: shards -> run directory, through a TrainingBackend. Knows nothing of Spark, Ray and TensorFlow."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from hybridspeech.backends import BACKENDS, TrainingBackend
from hybridspeech.commands.training_negatives import negative_source
from hybridspeech.config import ClusterConfig, FeatureConfig, OnProgress, Progress, silent
from hybridspeech.errors import counted
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.config import FitConfig
from hybridspeech.training.driver import open_run, train_with_restarts
from hybridspeech.training.fine_tuning import find_initial_weights
from hybridspeech.training.loop import run_worker
from hybridspeech.training.negatives import planned_negatives
from hybridspeech.training.partition import count_steps
from hybridspeech.training.plan import TrainPlan, TrainRequest, make_plan, shards_data
from hybridspeech.training.result import TrainResult, result_of
from hybridspeech.training.reverberation import plan_responses

__all__ = ["TrainResult", "train"]

WAVEFORM_HINT = (
    "waveform shards give a better network (dscnn: 93 % instead of 59 % on 12 words, docs/models.md): preprocess with "
    "--features waveform, and train again"
)
"""Reported after a training on STFT shards."""


def train(
    shards: str | Path,
    run: str | Path,
    *,
    features: FeatureConfig | None = None,
    model: ModelConfig | None = None,
    fit: FitConfig | None = None,
    recipe: str = "default",
    init_from: str | Path | None = None,
    rir: str | Path | None = None,
    negatives: str | Path | None = None,
    cluster: ClusterConfig | None = None,
    backend: str | TrainingBackend = "tfos",
    overwrite: bool = False,
    resume: bool = False,
    on_progress: OnProgress = silent,
) -> TrainResult:
    """Train a classifier on shards.

    Parameters
    ----------
    shards : folder or URL that `preprocess` has written; every worker must reach it. Shards of an object store are copied to
        each worker's disk before they are needed
    run : run directory to make, on storage that every worker reaches; `resume` continues from its last checkpoint. For a URL,
        each worker writes to a folder of its own, which is copied to the store
    features : features that the network takes, for waveform shards; None: log-mel, or the stored features. Sample rate
        and clip duration are those of the shards
    model, fit : settings that differ from the recipe (see `training.recipes`); input shape and number of labels come
        from the shards
    recipe : "default", or "report" (the settings of the 2020 report, and by default its features and network)
    init_from : path or URL of a finished run with the same network and features, whose weights the training starts from.
        The output layer is new if the labels differ. The run is copied from when the training starts, and not needed for
        `resume`. Network and features that are not given are those of this run
    rir : folder or URL of room impulse responses, with which training clips of waveform shards are reverberated. They are
        copied into the run when the training starts; `fit.augment.rir_frequency` is the share of the clips
    negatives : sound without the words of the run: a recording of any length, a folder or URL of recordings, or waveform
        shards, whose training clips of other words are used. Windows of it are copied into the run when the training starts,
        and fill up each batch (`fit.negatives_percentage`) with the label _unknown_. With `init_from`, a run with the same
        labels, those windows of recordings are used in which its network hears a word most clearly (hard negatives); else
        they are evenly spread
    backend : a name in BACKENDS, or a TrainingBackend

    Raises
    ------
    ConfigError: a setting is invalid, e.g. fewer shards than workers, or does not fit `init_from`; before anything starts.
    AudioError: a room impulse response, or all sound of `negatives`, can't be used; before anything starts.
    RunError: the run `init_from` is not finished, or a training can not be resumed with these settings.
    ShardError: a shard is missing or damaged. OutputExistsError: `run` is not empty. BackendError: workers could not start.
    WorkerError: a worker failed. KeyboardInterrupt: after Ctrl-C, when a checkpoint was saved or the time limit has passed.
    """
    started_at = time.time()
    cluster = cluster or ClusterConfig()
    starter: TrainingBackend = BACKENDS.load(backend)() if isinstance(backend, str) else backend
    index = ShardIndex.load(shards)
    plan = make_plan(
        shards_data(index, shards, cluster.num_workers),
        TrainRequest(
            run=run,
            backend=starter.name,
            cluster=cluster,
            features=features,
            model=model,
            fit=fit,
            recipe=recipe,
            init_from=find_initial_weights(init_from, run, resume=resume, model=model),
            rir=plan_responses(
                rir,
                run,
                resume=resume,
                augment=fit.augment if fit else None,
                sample_rate_hz=index.features.sample_rate_hz,
            ),
            negatives=(
                None if fit and fit.negatives_percentage == 0 else planned_negatives(negatives, run, resume=resume)
            ),
            resume=resume,
        ),
    )
    find_negatives = None
    if plan.negatives and not resume:
        source = negative_source(plan, index.splits["training"], model.name if model else None)
        find_negatives = partial(source.find, on_progress)
    steps = count_steps(index, "training", cluster.num_workers, plan.fit.batch_size)
    on_progress(Progress(stage="plan", message=_describe(plan, index, steps)))
    if plan.init_from:
        on_progress(Progress(stage="plan", message=plan.init_from.describe(plan.labels)))
    if plan.rir:
        rooms = counted(plan.rir.count, "room impulse response")
        message = f"reverberates {100 * plan.fit.augment.rir_frequency:g} % of the training clips, with {rooms}"
        on_progress(Progress(stage="plan", message=message))
    with open_run(plan, overwrite, on_progress, find_negatives) as local:
        reports = train_with_restarts(lambda attempt: starter.run(attempt, run_worker), local, on_progress)
    if plan.stored.kind == "stft":
        on_progress(Progress(stage="train", message=WAVEFORM_HINT))
    return result_of(plan, reports[0], steps, started_at)


def _describe(plan: TrainPlan, index: ShardIndex, steps: int) -> str:
    workers, batch = plan.cluster.num_workers, plan.fit.batch_size
    return (
        f"{plan.model.name} on {counted(index.splits['training'], 'clip')} of {counted(len(index.labels), 'label')}; "
        f"{counted(steps, 'step')} per epoch, global batch size {workers * batch} ({counted(workers, 'worker')} x {batch})"
    )
