"""The verb `train`: shards -> run directory, through a TrainingBackend. Knows nothing of Spark, Ray and TensorFlow."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hybridspeech.backends import BACKENDS, TrainingBackend
from hybridspeech.config import ClusterConfig, FeatureConfig, OnProgress, Progress, silent
from hybridspeech.errors import BackendError, ConfigError, RunError, ShardError, WorkerError
from hybridspeech.models.build import check_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.label_counts import count_labels
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.storage.output import claim_output
from hybridspeech.training.checkpoints import places
from hybridspeech.training.config import FitConfig
from hybridspeech.training.dataset import count_steps, rank_shards
from hybridspeech.training.loop import run_worker
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.recipes import recipe_for, why_not
from hybridspeech.training.run_directory import PLAN_NAME, RunDirectory

VERSIONS_OF = ("hybridspeech", "tensorflow", "tf-keras", "tensorflowonspark", "pyspark", "ray", "numpy", "librosa")
POLL_S = 0.5
DECIDE_THE_CURVE = ("batch_size", "seed", "optimizer", "label_smoothing", "class_weights", "augment")
COMES_AGAIN = ("ArithmeticError", "RunError", "ShardError")
"""Causes that a restart does not mend: a loss that is not finite, a damaged checkpoint, a full disk, a damaged shard."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What `train` made. `startup_s` ends with the first step; `examples_per_s` is the median epoch after the first.

    `history` has one row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, examples_per_s, seconds.
    """

    run_dir: str
    backend: str
    num_workers: int
    global_batch_size: int
    steps_per_epoch: int
    startup_s: float
    train_s: float
    examples_per_s: float
    history: tuple[Mapping[str, float], ...]


def train(
    shards: str | Path,
    run: str | Path,
    *,
    features: FeatureConfig | None = None,
    model: ModelConfig | None = None,
    fit: FitConfig | None = None,
    cluster: ClusterConfig | None = None,
    backend: str | TrainingBackend = "tfos",
    overwrite: bool = False,
    resume: bool = False,
    on_progress: OnProgress = silent,
) -> TrainResult:
    """Train a classifier on shards.

    Parameters
    ----------
    shards : folder that `preprocess` has written; every worker must reach it under the same path
    run : run directory to make, on storage that every worker reaches; `resume` goes on from its last checkpoint
    features : what the network takes, for shards of waveforms; None: log-mel, or what the shards hold
    model : name, dropout and width are taken from it; input shape and labels come from the shards. None: the network
        that suits the features
    fit : None: the network's own recipe (see `recipes`)
    backend : a name in BACKENDS, or a TrainingBackend

    Raises
    ------
    ConfigError: a setting can't work, e.g. fewer shards than workers; said before anything starts. ShardError.
    OutputExistsError: `run` is not empty. BackendError: workers could not start. WorkerError: a worker failed.
    KeyboardInterrupt: after what was done is saved, if that took no longer than some seconds.
    """
    refuse_urls(SHARDS=shards, RUN=run)
    started = time.time()
    cluster = cluster or ClusterConfig()
    starter: TrainingBackend = BACKENDS.load(backend)() if isinstance(backend, str) else backend
    index = ShardIndex.load(shards)
    plan = make_plan(index, shards, run, model, fit, cluster, starter.name, resume, features)
    steps = count_steps(index, "training", cluster.num_workers, plan.fit.batch_size)
    on_progress(Progress(stage="plan", message=_describe(plan, index, steps)))
    with opened(plan, overwrite, on_progress):
        reports = run_with_restarts(starter, plan, on_progress)
    return result_of(plan, reports[0], steps, started)


@contextmanager
def opened(plan: TrainPlan, overwrite: bool, on_progress: OnProgress) -> Iterator[RunDirectory]:
    """The run directory of `plan`, claimed, with the plan in it, and reported on until the context ends.

    Raises
    ------
    OutputExistsError, ConfigError: as `claim_output`. RunError: as `check_resumable`.
    """
    directory = RunDirectory(plan.run)
    with claim_output(directory.path, marks=(PLAN_NAME,), overwrite=overwrite, resume=plan.resume):
        if plan.resume:
            check_resumable(directory, plan)
        directory.create(plan)
        with interrupt_explained(directory, on_progress), reported(directory, plan, on_progress):
            yield directory


def result_of(plan: TrainPlan, chief: WorkerReport, steps: int, started: float) -> TrainResult:
    """What a training that was called at `started` (seconds since the epoch) has made."""
    epochs = [row for row in chief.history if row["epoch"] > 1] or list(chief.history)
    return TrainResult(
        run_dir=plan.run,
        backend=plan.backend,
        num_workers=plan.cluster.num_workers,
        global_batch_size=plan.fit.batch_size * plan.cluster.num_workers,
        steps_per_epoch=steps,
        startup_s=(chief.first_step_at or chief.finished_at) - started,
        train_s=chief.finished_at - (chief.first_step_at or chief.finished_at),
        examples_per_s=statistics.median(row["examples_per_s"] for row in epochs),
        history=chief.history,
    )


def run_with_restarts(
    starter: TrainingBackend, plan: TrainPlan, on_progress: OnProgress = silent
) -> list[WorkerReport]:
    """Run the training loop; after a failure again, from the last checkpoint, as often as the plan allows.

    Raises
    ------
    BackendError, WorkerError: the last failure; or one that would come again, at once.
    """
    for left in range(plan.cluster.max_restarts, -1, -1):
        try:
            return starter.run(plan, run_worker)
        except BackendError as error:
            if not left or (isinstance(error, WorkerError) and error.cause.startswith(COMES_AGAIN)):
                raise
            message = f"{error}; starting again from the last checkpoint, {left} restarts are left"
            on_progress(Progress(stage="start", message=message))
            plan = replace(plan, resume=True)
    raise AssertionError("the last attempt returns or raises")


def make_plan(
    index: ShardIndex,
    shards: str | Path,
    run: str | Path,
    model: ModelConfig | None,
    fit: FitConfig | None,
    cluster: ClusterConfig,
    backend: str,
    resume: bool = False,
    features: FeatureConfig | None = None,
) -> TrainPlan:
    """Everything that the workers need, checked on the driver before a cluster starts."""
    for split in ("training", "validation"):
        if index.of_split(split):
            rank_shards(index, split, 0, cluster.num_workers)
    if not index.of_split("training"):
        raise ConfigError(
            f"{shards}: has no training clips (splits: {dict(index.splits)}); preprocess with other splits"
        )
    if lacking := index.lacking(shards):
        raise ShardError(
            f"{lacking[0]}; {len(lacking)} shards of {shards} are not whole: preprocess again with --resume"
        )
    usual = recipe_for(index, features=features.kind if features else None, model=model.name if model else None)
    features, fit = features or usual.features, fit or usual.fit
    if problem := why_not(fit.augment, index):
        raise ConfigError(f"augment is {fit.augment}; {problem}")
    model = replace(model or usual.model, input_shape=features.shape, num_labels=len(index.labels))
    check_model(model)
    return TrainPlan(
        shards=str(Path(shards).absolute()),
        run=str(Path(run).absolute()),
        backend=backend,
        digest=index.digest,
        labels=index.labels,
        features=features,
        stored=index.features,
        model=model,
        fit=fit,
        cluster=cluster,
        label_weights=weights_of(_training_counts(Path(shards), index)) if fit.class_weights else (),
        resume=resume,
        versions=versions_here(),
    )


def _training_counts(shards: Path, index: ShardIndex) -> list[int]:
    return [of_split.get("training", 0) for of_split in count_labels(shards, index).values()]


def weights_of(counts: Sequence[int]) -> tuple[float, ...]:
    """Inverse to the number of training clips of each label, and 1 on average over the clips; 0 for one without any."""
    present = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (present * count) if count else 0.0 for count in counts)


def check_resumable(run: RunDirectory, plan: TrainPlan) -> None:
    """A resumed run must see the same data and the same model, or its curve would mean nothing.

    Raises
    ------
    RunError: data, model, batch size, seed or the number of workers differ from those of the run.
    """
    before = run.read_plan()
    same = {
        "shards (another digest)": (before.digest, plan.digest),
        "features": (before.features, plan.features),
        "model": (before.model, plan.model),
        **{name.replace("_", " "): (getattr(before.fit, name), getattr(plan.fit, name)) for name in DECIDE_THE_CURVE},
        "number of workers": (before.cluster.num_workers, plan.cluster.num_workers),
    }
    changed = [name for name, (old, new) in same.items() if old != new]
    if changed:
        raise RunError(
            f"{run.path}: was begun with other {', '.join(changed)}; resume with the same, or start anew with --overwrite"
        )


def _describe(plan: TrainPlan, index: ShardIndex, steps: int) -> str:
    workers, batch = plan.cluster.num_workers, plan.fit.batch_size
    return (
        f"{plan.model.name} on {index.splits['training']:,} clips of {len(index.labels)} words; {workers} workers x "
        f"{batch} = {workers * batch} clips a step (the global batch), {steps} steps an epoch"
    )


def versions_here() -> dict[str, str]:
    """Versions of what decides the numbers of a run, as far as it is installed."""
    versions = {"python": platform.python_version()}
    for name in VERSIONS_OF:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@contextmanager
def reported(run: RunDirectory, plan: TrainPlan, on_progress: OnProgress) -> Iterator[None]:
    """Pass on what the workers write down while they train: phases of the chief, and each epoch's line."""
    seen = len(run.read_metrics()) if plan.resume else 0
    phase, stops = "", False

    def look() -> None:
        nonlocal seen, phase, stops
        if run.is_stop_requested() and not stops:
            stops = True
            on_progress(Progress(stage="stop", message="saving a checkpoint first; once more ends at once"))
        status = run.read_status(0)
        if status.get("phase") not in (None, phase, "step", "validate", "save"):
            phase = status["phase"]
            on_progress(Progress(stage="start", message=f"worker 0: {phase}"))
        for row in run.read_metrics()[seen:]:
            seen += 1
            on_progress(Progress(stage="epochs", done=seen, total=plan.fit.epochs, unit="epochs", message=_line(row)))

    on_progress(Progress(stage="start", message=f"starting {plan.cluster.num_workers} workers on {plan.backend}"))
    with PeriodicCall(look, POLL_S, "hybridspeech-progress"):
        yield


@contextmanager
def interrupt_explained(run: RunDirectory, on_progress: OnProgress) -> Iterator[None]:
    """After an interrupt, say what is saved."""
    try:
        yield
    except KeyboardInterrupt:
        saved = "nothing is saved yet"
        if found := places(run):
            last = found[-1]
            steps = f" and {last.steps} steps of epoch {last.epochs + 1}" if last.steps else ""
            saved = f"{last.epochs} epochs{steps} are saved in {run.checkpoints_dir / last.name}"
        on_progress(Progress(stage="stop", message=f"stopped; {saved}"))
        raise


def _line(row: Mapping[str, float]) -> str:
    validation = (
        f"  val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.3f}" if "val_loss" in row else ""
    )
    return (
        f"epoch {row['epoch']:.0f}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.3f}{validation}  "
        f"{row['examples_per_s']:.0f} examples/s"
    )
