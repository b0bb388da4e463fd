"""Runs a backend's driver in a separate process, and supervises it from the caller's process.

Drivers of clusters change the process they run in: TensorFlowOnSpark exits it, sets alarms and keeps globals; a process can
hold one JVM, one Ray and one set of TensorFlow collectives. So each run has a new process, independent of the caller's own
Spark, Ray or TensorFlow. `python -m hybridspeech.backends.launch FOLDER` is its entry point. Knows nothing of Spark and Ray.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle

from hybridspeech.backends.base import clear_status, collect
from hybridspeech.backends.interrupt import stop_after_checkpoint
from hybridspeech.backends.rank_monitor import RankMonitor
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, HybridspeechError, StorageError, WorkerError, one_line
from hybridspeech.processes.environment import python_path
from hybridspeech.processes.resources import num_cores
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.processes.supervision import GuardedProcess, describe_exit
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory

POLL_S = 0.2
DRIVER_ERROR_WAIT_S = 5.0
"""How long to wait, after a time-out, for the driver's own error, which names the cause."""
NOT_INHERITED = (
    "TF_CONFIG",
    "PYSPARK_GATEWAY_PORT",
    "PYSPARK_GATEWAY_SECRET",
    "PYSPARK_PIN_THREAD",
    "SPARK_ENV_LOADED",
)
"""Environment variables of a caller's own cluster, which must not reach the driver process."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a driver gets.

    Parameters
    ----------
    worker : worker function by cloudpickle; only workers unpickle it
    start_by : Unix time at which a driver that waits for resources raises an error, shortly before the caller's time-out
    """

    plan: TrainPlan
    worker: bytes
    start_by: float


WorkerFunction = Callable[..., WorkerReport]
"""A Worker, or a worker function with further arguments, which its driver supplies."""
Driver = Callable[[Job], None]
"""A module-level function. It starts the workers, returns when they have ended, and may be killed at any time."""


def worker_environment(cluster: ClusterConfig, *, joined: bool) -> dict[str, str]:
    """Return the environment variables of every worker; they must be set before TensorFlow is imported.

    Parameters
    ----------
    joined : whether the cluster was running before, so that the cores of its hosts are unknown here
    """
    threads = cluster.threads_per_worker or (None if joined else max(1, num_cores() // cluster.num_workers))
    return {
        "TF_USE_LEGACY_KERAS": "1",  # Keras 3 can't train on several workers
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": "" if cluster.environment else python_path(),
        **({"OMP_NUM_THREADS": str(threads)} if threads else {}),
    }


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a backend starts its driver.

    Parameters
    ----------
    advice : what to do if too few workers start
    environment : variables for the driver process
    leave_s : how long the driver may take to disconnect from a running cluster; 0 if the cluster ends with the driver
    """

    driver: Driver
    advice: str
    environment: Mapping[str, str] = field(default_factory=dict)
    leave_s: float = 0.0


def run_apart(launch: Launch, plan: TrainPlan, worker: WorkerFunction) -> list[WorkerReport]:
    """Run the driver in a separate process until all ranks have reported; return the reports ordered by rank.

    Raises
    ------
    WorkerError, BackendError: as `TrainingBackend.run`. HybridspeechError: as the driver raised it.
    KeyboardInterrupt: after the ranks have saved a checkpoint, or had time for it.
    """
    clear_status(plan)
    log = RunDirectory(plan.run).launcher_log_path
    log.touch()
    variables = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    variables |= {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1", **launch.environment}
    show = _follow(log) if plan.cluster.verbose else _show_nothing
    with scratch_folder() as folder:
        start_by = time.time() + 0.9 * plan.cluster.start_timeout_s
        job = Job(plan=plan, worker=cloudpickle.dumps(worker), start_by=start_by)
        (Path(folder) / "job.pickle").write_bytes(pickle.dumps((launch.driver, job)))
        command = [sys.executable, "-m", "hybridspeech.backends.launch", folder]
        with (
            contextlib.closing(RankMonitor(plan, f"{launch.advice}; the output is in {log}")) as monitor,
            GuardedProcess(command, env=variables, log=log, terminate_s=launch.leave_s) as process,
        ):
            try:
                code = _supervise(process, monitor, show)
            except KeyboardInterrupt:
                stop_after_checkpoint(monitor, is_over=lambda: process.poll() is not None)
                raise
            except WorkerError:
                raise
            except (BackendError, StorageError):  # the driver may know the cause, and be about to report it
                process.wait(min(DRIVER_ERROR_WAIT_S, plan.cluster.start_timeout_s / 2))
                _raise_driver_error(Path(folder))
                raise
            if code is not None:
                monitor.raise_failure()
                _raise_driver_end(Path(folder), code, log)
            process.wait(launch.leave_s)
    return collect(plan)


def _supervise(process: GuardedProcess, monitor: RankMonitor, show: Callable[[], None]) -> int | None:
    """Return None when all ranks have finished, or the driver's exit code when it has ended before."""
    while True:
        code = process.poll()  # before the poll of the ranks: it then includes all that they wrote until the end
        finished = monitor.poll(newest=code is not None)
        show()
        if finished or code is not None:
            return None if finished else code
        time.sleep(POLL_S)


def _raise_driver_end(folder: Path, code: int, log: Path) -> None:
    """Raise the reason why the driver has failed, if it has."""
    _raise_driver_error(folder)
    if code:
        raise BackendError(
            f"the driver process ended ({describe_exit(code)}); train again with --resume; the last line of its output in "
            f"{log} is: {_last_line(log)}"
        )


def _last_line(log: Path) -> str:
    """Return the last line of a log, without control sequences, shortened to 200 characters."""
    lines = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", log.read_text(encoding="utf-8", errors="replace")).split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return lines[-1][-200:] if lines else "(empty)"


def _raise_driver_error(folder: Path) -> None:
    """Raise the error that the driver process has written, if any."""
    path = folder / "error.pickle"
    if path.exists():
        raise pickle.loads(path.read_bytes())


def _show_nothing() -> None:
    pass


def _follow(log: Path) -> Callable[[], None]:
    """Return a function that copies what was added to `log` since its last call to standard error."""
    position = log.stat().st_size

    def show() -> None:
        nonlocal position
        with log.open("rb") as file:
            file.seek(position)
            added = file.read()
        position += len(added)
        sys.stderr.write(added.decode("utf-8", errors="replace"))

    return show


def main(folder: Path) -> int:
    """Run the driver process: read the job, run its driver, and write its error if there is one."""
    path = folder / "job.pickle"
    driver, job = pickle.loads(path.read_bytes())
    path.unlink()
    try:
        driver(job)
    except BaseException as error:  # noqa: BLE001 - all are passed on: TensorFlowOnSpark raises SystemExit
        traceback.print_exc()
        is_ours = isinstance(error, HybridspeechError)
        draft = folder / "error.draft"
        passed_on = error if is_ours else BackendError(f"the driver process failed: {one_line(error)}")
        draft.write_bytes(pickle.dumps(passed_on))
        draft.rename(folder / "error.pickle")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
