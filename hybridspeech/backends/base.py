"""The seam to training backends: who starts the training workers. Knows nothing of models, shards and TensorFlow.

A backend implements placement, rendezvous (the environment variable TF_CONFIG), supervision and collection. The parts that
all backends share are here: `execute` on the worker's side, `collect` and `first_failure` on the driver's. Both sides use one
small status file per rank in the run directory, so that the cause of a failure is known when the process has ended.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import cloudpickle

from hybridspeech.errors import BackendError, ConfigError, WorkerError, one_line
from hybridspeech.records import from_json, to_json
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.status_exchange import begin_attempt, store_problem
from hybridspeech.training.stored_run import rank_copy, rank_folder
from hybridspeech.training.worker import Worker, WorkerContext

if TYPE_CHECKING:
    from hybridspeech.shards.shared_storage import SharedStorage

__all__ = ["TrainingBackend", "Worker", "WorkerContext", "collect", "execute", "first_failure"]


DISK_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
"""Part of the messages of Python, TensorFlow and HDF5, each in a different error class."""


class TrainingBackend(Protocol):
    """Starts workers. ``name`` is its name in ``BACKENDS``; its class is called without arguments."""

    name: ClassVar[str]

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """Run worker(plan, context) once per rank, and return the reports ordered by rank.

        For num_workers > 1 TF_CONFIG is in the environment of every worker before `worker` is called.
        `worker` is picklable by cloudpickle. After an error the process can run again, and nothing is left running.

        Raises
        ------
        WorkerError: a worker failed; names the rank that failed first and its cause.
        BackendError: the workers could not be started, or were lost.
        """
        ...


def execute(worker: Worker, plan: TrainPlan, rank: int) -> WorkerReport:
    """Run `worker` in this process, and write its state, its report or its failure to the status file of the rank."""
    run = RunDirectory(plan.run)
    run.status.reserve_failure_record(rank)
    run.status.write(rank, state="running", phase="start", step=0, pid=os.getpid(), host=socket.gethostname())
    with _failure_written(plan, rank), rank_copy(plan, rank) as wait_for_copy, _failure_written(plan, rank):
        context = WorkerContext(
            rank=rank,
            num_workers=plan.cluster.num_workers,
            run=run,
            shares_run=not plan.store,
            on_saved=wait_for_copy,
        )
        report = worker(plan, context)
    run.status.write(rank, state="finished", report=to_json(report))
    return report


@contextmanager
def _failure_written(plan: TrainPlan, rank: int) -> Iterator[None]:
    """Write the first error of a rank to its status file; it names the location of the run, not a local folder."""
    status = RunDirectory(plan.run).status
    try:
        yield
    except BaseException as error:
        if status.read(rank).get("state") != "failed":
            cause, trace = cause_of(error), traceback.format_exc()
            if plan.store:
                cause, trace = cause.replace(plan.run, plan.store), trace.replace(plan.run, plan.store)
            status.write_failure(rank, cause=cause, traceback=trace)
        raise


def cause_of(error: BaseException) -> str:
    """Return an error in one line, with advice if the disk is full, which each library reports in another way."""
    line = one_line(error)
    if any(message in line for message in DISK_FULL):
        return f"RunError: the disk is full ({line[:500]}); free space, and --resume continues from the last checkpoint"
    return line


def execute_in_worker_process(pickled_worker: bytes, plan: TrainPlan, rank: int, *arguments: object) -> None:
    """Run `execute` in a process of the worker's own, and append the process's output to the log of the rank.

    Parameters
    ----------
    pickled_worker : worker function by cloudpickle; it is unpickled here only, where its imports are needed
    arguments : further arguments for it, after the plan and the context
    """
    if plan.cluster.num_workers == 1:
        os.environ.pop("TF_CONFIG", None)  # one worker needs no collectives
    with rank_folder(plan, rank) as local:
        _redirect_output(RunDirectory(local.run).log_path(rank))
        execute(lambda plan, context: cloudpickle.loads(pickled_worker)(plan, context, *arguments), local, rank)


def _redirect_output(log: Path) -> None:
    """Append all further output of this process, also that of native code, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def clear_status(plan: TrainPlan) -> None:
    """Remove the status files of an earlier attempt."""
    RunDirectory(plan.run).status.clear(plan.cluster.num_workers)
    if plan.store:
        begin_attempt(plan)


@contextmanager
def run_probe(plan: TrainPlan) -> Iterator[Callable[[], str]]:
    """Yield a function to call on every host; `check_hosts` takes its answers."""
    from hybridspeech.shards.shared_storage import probed_storage

    if plan.store:
        yield partial(store_problem, plan)
    else:
        with probed_storage(str(RunDirectory(plan.run).workers_dir)) as storage:
            yield partial(host_without, storage)


def host_without(storage: SharedStorage) -> str:
    """Return the name of this host if it does not see a folder of the driver, else an empty text."""
    try:
        storage.check()
    except ConfigError:
        return socket.gethostname()
    return ""


def check_hosts(plan: TrainPlan, answers: Iterable[str]) -> None:
    """Check the answers of all hosts to `run_probe`.

    Raises
    ------
    BackendError: a host does not see the run directory, or can not use its store.
    """
    hosts = sorted({answer for answer in answers if answer})
    if hosts and plan.store:
        raise BackendError(
            f"{plan.store}: can not be used from every host ({'; '.join(hosts)}); give each Spark worker or `ray start` the "
            "network access, the credentials and the endpoint that the driver has"
        )
    if hosts:
        raise BackendError(
            f"{plan.run}: is not on shared storage: {', '.join(hosts)} can not see what the driver ({socket.gethostname()}) "
            "writes there; give a folder that all hosts mount at the same path, or the URL of an object store"
        )


def first_failure(plan: TrainPlan, lost: Mapping[int, float] | None = None) -> WorkerError | None:
    """Return the earliest failure of all ranks, if there is one.

    Parameters
    ----------
    lost : ranks whose process has ended without a report or a failure record, and the Unix time when they were last seen
    """
    run = RunDirectory(plan.run)
    failed = []
    for rank in range(plan.cluster.num_workers):
        status = run.status.read(rank)
        if status.get("state") == "failed":
            failed.append((status["failed_at"], rank, status["cause"]))
        elif lost and rank in lost:
            process = f"process {status.get('pid')} on {status.get('host')}"
            cause = f"its {process} was killed or ended without an error; its last output is in {run.log_path(rank)}"
            failed.append((lost[rank], rank, cause))
    if not failed:
        return None
    _, rank, cause = min(failed)
    return WorkerError(rank, cause)


def collect(plan: TrainPlan) -> list[WorkerReport]:
    """Return the reports of all ranks, ordered by rank.

    Raises
    ------
    WorkerError: a rank failed. BackendError: a rank left no report.
    """
    failure = first_failure(plan)
    if failure:
        raise failure
    run = RunDirectory(plan.run)
    reports = []
    for rank in range(plan.cluster.num_workers):
        status = run.status.read(rank)
        if status.get("state") != "finished":
            phase = f"in phase {status['phase']!r}" if status else "before it started"
            raise BackendError(
                f"worker {rank} was lost {phase}; look into {run.workers_dir}, or train again with --resume"
            )
        reports.append(from_json(WorkerReport, status["report"]))
    return reports
