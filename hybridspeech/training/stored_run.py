"""A run directory on a store: local folders, whose files are copied to the store while training writes them.

    driver        plan, labels, initial weights, room responses and negatives when the run starts; rejects and last messages
                  when it ends
    chief         checkpoints, metrics, TensorBoard files and the model, while it trains
    every rank    its log

Driver and ranks have folders of their own, on any hosts; only the backend `local` trains in the folder of the driver. A rank
that continues a training fetches its checkpoints first. Knows nothing of TensorFlow, Spark and Ray.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from hybridspeech.errors import HybridspeechError, RunError, StorageError, one_line, reason_of
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import is_url, join, normalized
from hybridspeech.storage.objects import delete_files, list_files
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_copy import RunCopy
from hybridspeech.training.run_directory import PLAN_NAME, RunDirectory
from hybridspeech.training.status_exchange import check_attempt, rank_exchange, remove_messages

COPY_S = 1.0
"""Least time between two copies: a file that is written more often is copied once in this time."""
_DRIVER = ("plan.json", "labels.txt", "initial/*", "rir/*", "negatives/*", "rejects.jsonl", "workers/*")
_CHIEF = ("metrics.jsonl", "tensorboard/*", "checkpoints/*", "model/*")
WRITTEN = (*_DRIVER, *_CHIEF)
"""Patterns of the names that a training writes."""


def stored_plan(location: str | Path) -> TrainPlan | None:
    """Return the plan of a run at a path or URL; None if there is none, or it is damaged."""
    with fetched(normalized(location), PLAN_NAME) as folder:
        try:
            return RunDirectory(folder).read_plan()
        except RunError:  # reported when the run is opened
            return None


def check_same_source(given: str | Path | None, before: str, *, run: str | Path, name: str, option: str) -> None:
    """Check that a resumed training is given the source of its data that it was started with, or none.

    Parameters
    ----------
    before : location that it was started with; empty: none
    name, option : of the data, for the message

    Raises
    ------
    RunError: it was started with another source, or without one.
    """
    if given is None or (before and before == normalized(given)):
        return
    start = f"with the {name} of {before}" if before else f"without {option}"
    raise RunError(f"{run}: was started {start}; resume it without {option}, or start again with --overwrite")


@contextlib.contextmanager
def driver_folder(location: str, *, resume: bool) -> Iterator[Path]:
    """Give a local folder for the driver's files of a run, until the context ends; a local location is given as it is.

    Parameters
    ----------
    resume : fetch what decides whether a resume is possible

    Raises
    ------
    StorageError: the store fails.
    """
    if not is_url(location):
        yield Path(location)
        return
    with scratch_folder() as scratch:
        folder = Path(scratch, "run")
        folder.mkdir()
        if resume:
            RunCopy(location, folder, _DRIVER).fetch(("plan.json", "labels.txt", "metrics.jsonl"))
        yield folder


@contextlib.contextmanager
def driver_copy(location: str, folder: Path) -> Iterator[None]:
    """Copy the driver's files to the store of a run, now and when the context ends; nothing for a local run.

    Raises
    ------
    StorageError: the store fails, unless the context ends with another error.
    """
    if not is_url(location):
        yield
        return
    copy = RunCopy(location, folder, _DRIVER)
    old = [stat.name for stat in list_files(location) if stat.name.startswith(("workers/", "model/"))]
    delete_files(join(location, name) for name in sorted(old, key=lambda name: not name.endswith(".weights.h5")))
    copy.copy()
    try:
        yield
    except BaseException:
        with contextlib.suppress(HybridspeechError, OSError):
            remove_messages(location)
            copy.copy()
        raise
    remove_messages(location)
    copy.copy()


@contextlib.contextmanager
def rank_folder(plan: TrainPlan, rank: int) -> Iterator[TrainPlan]:
    """Give a rank the plan with a folder of its own, if the run is on a store; its messages are exchanged meanwhile.

    The log of an attempt before is in the folder.

    Raises
    ------
    StorageError: the store fails.
    """
    if not plan.store:
        yield plan
        return
    with scratch_folder() as scratch:
        run = RunDirectory(Path(scratch, "run"))
        run.make_folders()
        local = replace(plan, run=str(run.path))
        if plan.resume:
            RunCopy(plan.store, run.path, ()).fetch((_log_of(run, rank),))
        with rank_exchange(local, rank):
            yield local


@contextlib.contextmanager
def rank_copy(plan: TrainPlan, rank: int) -> Iterator[Callable[[], None]]:
    """Copy the files of a rank to the store of its run: periodically, and at the end, also after an error.

    If the last copy fails, the local run is moved to a folder that stays.

    Parameters
    ----------
    plan : `run` is the folder of the rank; initial weights, room responses, negatives and, with `resume`, the checkpoints
        are fetched into it first

    Yields
    ------
    A function that waits for a copy that is being made. It bounds how far the copies fall behind.

    Raises
    ------
    StorageError: the store fails at the start or at the end; names the folder, and an error that the context ended with.
    RunError: another attempt has begun.
    """
    if not plan.store:
        yield lambda: None
        return
    run = RunDirectory(plan.run)
    log = _log_of(run, rank)
    copy = RunCopy(plan.store, run.path, (log, *_CHIEF) if rank == 0 else (log,), partial(check_attempt, plan))
    needed = ["initial/*"] if plan.init_from else []
    needed += ["rir/*"] if plan.rir else []
    needed += ["negatives/*.npy"] if plan.negatives else []
    needed += ["metrics.jsonl", "checkpoints/*"] if plan.resume else []
    if needed:
        copy.fetch(needed)

    def copy_if_possible() -> None:
        with contextlib.suppress(StorageError, RunError, OSError):  # the last copy raises it
            copy.copy()

    error: BaseException | None = None
    try:
        with PeriodicCall(copy_if_possible, COPY_S, "hybridspeech-run-copy"):
            yield copy.wait
    except BaseException as raised:
        error = raised
        raise
    finally:
        _copy_last(copy, rank, error)


def _log_of(run: RunDirectory, rank: int) -> str:
    return str(run.log_path(rank).relative_to(run.path))


def _copy_last(copy: RunCopy, rank: int, error: BaseException | None) -> None:
    """Copy a run for the last time; see `rank_copy`."""
    try:
        copy.copy()
    except RunError:
        if error is None:
            raise
    except (StorageError, OSError) as failure:
        if rank == 0:  # the others have nothing but their log
            before = f"{one_line(error)}; " if error else ""
            raise StorageError(f"{before}{reason_of(failure)}; {copy.keep_local()}") from failure
