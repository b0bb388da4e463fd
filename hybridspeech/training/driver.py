"""The driver's side of a training: the run directory, restarts, and progress. Knows nothing of backends and TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from hybridspeech.config import OnProgress, Progress
from hybridspeech.errors import BackendError, WorkerError
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.storage.output import claim_output
from hybridspeech.training.checkpoints import places
from hybridspeech.training.plan import TrainPlan, WorkerReport, check_resumable
from hybridspeech.training.run_directory import PLAN_NAME, RunDirectory

POLL_S = 0.5
NOT_RESTARTED = ("ArithmeticError", "RunError", "ShardError")
"""Causes that a restart can not remove: a loss that is not finite, a damaged checkpoint, a full disk, a damaged shard."""

StartWorkers = Callable[[TrainPlan], list[WorkerReport]]
"""Runs all ranks of a plan to their end, and returns their reports in the order of ranks."""


@contextmanager
def open_run(plan: TrainPlan, overwrite: bool, on_progress: OnProgress) -> Iterator[RunDirectory]:
    """Claim the run directory of `plan`, write the plan there, and report progress until the context ends.

    Raises
    ------
    OutputExistsError, ConfigError: as `claim_output`. RunError: as `check_resumable`.
    """
    directory = RunDirectory(plan.run)
    with claim_output(directory.path, marks=(PLAN_NAME,), overwrite=overwrite, resume=plan.resume):
        if plan.resume:
            check_resumable(directory.read_plan(), plan)
        directory.create(plan)
        with _interrupt_reported(directory, on_progress), _progress_reported(directory, plan, on_progress):
            yield directory


def train_with_restarts(start_workers: StartWorkers, plan: TrainPlan, on_progress: OnProgress) -> list[WorkerReport]:
    """Run all ranks; after a failure start them again from the last checkpoint, as often as the plan allows.

    Raises
    ------
    BackendError, WorkerError: the last failure, or one that a restart can not remove.
    """
    for restarts_left in range(plan.cluster.max_restarts, -1, -1):
        try:
            return start_workers(plan)
        except BackendError as error:
            if not restarts_left or (isinstance(error, WorkerError) and error.cause.startswith(NOT_RESTARTED)):
                raise
            message = f"{error}; starting again from the last checkpoint, {restarts_left} restarts are left"
            on_progress(Progress(stage="start", message=message))
            plan = replace(plan, resume=True)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _progress_reported(run: RunDirectory, plan: TrainPlan, on_progress: OnProgress) -> Iterator[None]:
    """Report phases of the chief and the metrics of each epoch, as the workers write them to the run directory."""
    num_reported = len(run.read_metrics()) if plan.resume else 0
    phase, is_stopping = "", False

    def report() -> None:
        nonlocal num_reported, phase, is_stopping
        if run.status.is_stop_requested() and not is_stopping:
            is_stopping = True
            on_progress(Progress(stage="stop", message="saving a checkpoint; press Ctrl-C again to end without it"))
        status = run.status.read(0)
        if status.get("phase") not in (None, phase, "step", "validate", "save"):
            phase = status["phase"]
            on_progress(Progress(stage="start", message=f"worker 0: {phase}"))
        for row in run.read_metrics()[num_reported:]:
            num_reported += 1
            on_progress(
                Progress(
                    stage="epochs", done=num_reported, total=plan.fit.epochs, unit="epochs", message=_epoch_line(row)
                )
            )

    on_progress(Progress(stage="start", message=f"starting {plan.cluster.num_workers} workers on {plan.backend}"))
    with PeriodicCall(report, POLL_S, "hybridspeech-progress"):
        yield


@contextmanager
def _interrupt_reported(run: RunDirectory, on_progress: OnProgress) -> Iterator[None]:
    """After an interrupt, report what is saved."""
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


def _epoch_line(row: Mapping[str, float]) -> str:
    validation = (
        f"  val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.3f}" if "val_loss" in row else ""
    )
    return (
        f"epoch {row['epoch']:.0f}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.3f}{validation}  "
        f"{row['examples_per_s']:.0f} examples/s"
    )
