"""The driver's side of a training: the run directory, restarts, and progress. Knows nothing of backends and TensorFlow."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from hybridspeech.config import OnProgress, Progress
from hybridspeech.errors import BackendError, RunError, StorageError, WorkerError, counted
from hybridspeech.storage.locations import is_url, join
from hybridspeech.storage.objects import list_files
from hybridspeech.storage.output import claim_output
from hybridspeech.training.checkpoints import Place, place_of, places
from hybridspeech.training.fine_tuning import copy_initial_weights
from hybridspeech.training.negatives import FoundNegatives, write_negatives
from hybridspeech.training.plan import TrainPlan, WorkerReport, check_resumable
from hybridspeech.training.progress import progress_reported
from hybridspeech.training.reverberation import copy_responses
from hybridspeech.training.run_directory import PLAN_NAME, RunDirectory
from hybridspeech.training.stored_run import WRITTEN, driver_copy, driver_folder

NOT_RESTARTED = ("ArithmeticError", "RunError", "ShardError")
"""Causes that a restart can not remove: a loss that is not finite, a damaged checkpoint, a full disk, a damaged shard."""

FindNegatives = Callable[[], FoundNegatives]
StartWorkers = Callable[[TrainPlan], list[WorkerReport]]
"""Runs all ranks of a plan to their end, and returns their reports in the order of ranks."""


@contextmanager
def open_run(
    plan: TrainPlan, overwrite: bool, on_progress: OnProgress, find_negatives: FindNegatives | None = None
) -> Iterator[TrainPlan]:
    """Claim the run directory of `plan`, write the plan there, and report progress until the context ends.

    Parameters
    ----------
    find_negatives : finds the negatives of a new run whose plan has some; called when the run directory is claimed

    Yields
    ------
    The plan to train by: its run is a local folder of the driver. For a URL, `store` is that URL.

    Raises
    ------
    OutputExistsError, ConfigError: as `claim_output`. RunError: as `check_resumable`. StorageError: an object store fails.
    """
    claim = claim_output(plan.run, marks=(PLAN_NAME,), ours=WRITTEN, overwrite=overwrite, resume=plan.resume)
    with claim, driver_folder(plan.run, resume=plan.resume) as folder:
        directory = RunDirectory(folder)
        with _named_by_location(str(folder), plan.run):
            if plan.resume:
                check_resumable(directory.read_plan(), plan)
                directory.create(plan)
            else:
                plan = _create(plan, directory, find_negatives)
            with (
                driver_copy(plan.run, folder),
                _interrupt_reported(plan.run, on_progress),
                progress_reported(directory, plan, on_progress),
            ):
                yield replace(plan, run=str(folder), store=plan.run if is_url(plan.run) else "")


def _create(plan: TrainPlan, directory: RunDirectory, find_negatives: FindNegatives | None) -> TrainPlan:
    """Write the files of a new run, and return its plan with the negatives that were found."""
    found = find_negatives() if plan.negatives and find_negatives else None
    if plan.negatives and found:
        plan = replace(plan, negatives=found.record(plan.negatives.source))
    directory.create(plan)
    if plan.init_from:
        copy_initial_weights(plan.init_from, directory)
    if plan.rir:
        copy_responses(plan.rir, plan.features.sample_rate_hz, directory)
    if found:
        write_negatives(found, directory)
    return plan


def train_with_restarts(start_workers: StartWorkers, plan: TrainPlan, on_progress: OnProgress) -> list[WorkerReport]:
    """Run all ranks; after a failure start them again from the last checkpoint, as often as the plan allows.

    Raises
    ------
    BackendError, WorkerError: the last failure, or one that a restart can not remove.
    """
    for restarts_left in range(plan.cluster.max_restarts, -1, -1):
        try:
            return start_workers(replace(plan, attempt=uuid.uuid4().hex))
        except BackendError as error:
            if not restarts_left or (isinstance(error, WorkerError) and error.cause.startswith(NOT_RESTARTED)):
                raise
            left = counted(restarts_left - 1, "restart")
            message = f"{error}; starting again from the last checkpoint; {left} left after this one"
            on_progress(Progress(stage="start", message=message))
            plan = replace(plan, resume=True)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _named_by_location(folder: str, location: str) -> Iterator[None]:
    """Name the location of the run in errors, where they name the local folder."""
    try:
        yield
    except (BackendError, RunError) as error:
        if folder == location or folder not in str(error):
            raise
        if isinstance(error, WorkerError):
            raise WorkerError(error.rank, error.cause.replace(folder, location)) from error
        raise type(error)(str(error).replace(folder, location)) from error


@contextmanager
def _interrupt_reported(location: str, on_progress: OnProgress) -> Iterator[None]:
    """After an interrupt, report what is saved."""
    try:
        yield
    except KeyboardInterrupt:
        saved = "nothing is saved yet"
        if found := _saved(location):
            last = found[-1]
            steps = f" and {counted(last.steps, 'step')} of epoch {last.epochs + 1}" if last.steps else ""
            saved = f"{counted(last.epochs, 'epoch')}{steps} saved in {location}/checkpoints/{last.name}"
        on_progress(Progress(stage="stop", message=f"stopped; {saved}"))
        raise


def _saved(location: str) -> list[Place]:
    """Return the places of the complete checkpoints at the location of a run; none if the store does not answer."""
    if not is_url(location):
        return places(RunDirectory(location))
    names: list[str] = []
    with suppress(StorageError):
        names = [stat.name for stat in list_files(join(location, "checkpoints"))]
    return sorted(place for name in names if (place := place_of(name.removesuffix("/state.index"))))
