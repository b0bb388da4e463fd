"""The driver's side of a training: the run directory, restarts, and progress. Knows nothing of backends and TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from hybridspeech.config import OnProgress, Progress
from hybridspeech.errors import BackendError, WorkerError, counted
from hybridspeech.storage.output import claim_output
from hybridspeech.training.checkpoints import places
from hybridspeech.training.plan import TrainPlan, WorkerReport, check_resumable
from hybridspeech.training.progress import progress_reported
from hybridspeech.training.run_directory import PLAN_NAME, RunDirectory

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
        with _interrupt_reported(directory, on_progress), progress_reported(directory, plan, on_progress):
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
            left = counted(restarts_left - 1, "restart")
            message = f"{error}; starting again from the last checkpoint; {left} left after this one"
            on_progress(Progress(stage="start", message=message))
            plan = replace(plan, resume=True)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _interrupt_reported(run: RunDirectory, on_progress: OnProgress) -> Iterator[None]:
    """After an interrupt, report what is saved."""
    try:
        yield
    except KeyboardInterrupt:
        saved = "nothing is saved yet"
        if found := places(run):
            last = found[-1]
            steps = f" and {counted(last.steps, 'step')} of epoch {last.epochs + 1}" if last.steps else ""
            saved = f"{counted(last.epochs, 'epoch')}{steps} saved in {run.checkpoints_dir / last.name}"
        on_progress(Progress(stage="stop", message=f"stopped; {saved}"))
        raise
