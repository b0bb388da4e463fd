"""A backend's driver in a process of its own, watched from here.

Drivers of clusters spoil the process they run in: TensorFlowOnSpark exits it, arms alarms and keeps globals; one JVM,
one Ray and one set of TensorFlow collectives fit into it. So each run gets a fresh one, and the caller's own Spark, Ray
or TensorFlow does not matter. `python -m hybridspeech.backends.launch FOLDER` is its entry.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle

from hybridspeech.backends.base import Worker, collect, forget
from hybridspeech.backends.stop import stop_in_order
from hybridspeech.backends.watch import Watch
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, HybridspeechError, WorkerError, one_line
from hybridspeech.processes.environment import python_path
from hybridspeech.processes.resources import num_cores
from hybridspeech.processes.supervision import GuardedProcess
from hybridspeech.registry import requires
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory

POLL_S = 0.2
LAST_WORD_S = 5.0
"""How long a driver that is late may take to say why, once the caller has lost patience."""
NOT_INHERITED = (
    "TF_CONFIG",
    "PYSPARK_GATEWAY_PORT",
    "PYSPARK_GATEWAY_SECRET",
    "PYSPARK_PIN_THREAD",
    "SPARK_ENV_LOADED",
)
"""Variables by which a caller's own cluster would reach into the driver process."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a driver gets: the plan, and the worker function by cloudpickle, which only workers open.

    After `start_by`, seconds since the epoch, a driver that waits for room should say what is missing: the caller is
    about to lose patience, and knows less.
    """

    plan: TrainPlan
    packed: bytes
    start_by: float


Driver = Callable[[Job], None]
"""A module-level function; it starts the workers, returns when they have ended, and may die at any time."""


def check_installed(extra: str, backend: str, packages: Sequence[str]) -> None:
    """Look for the packages of a backend without importing them.

    Raises
    ------
    MissingExtraError: one is not there.
    """
    with requires(extra, f"backend {backend!r}"):
        for package in packages:
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def worker_environment(cluster: ClusterConfig, *, joined: bool) -> dict[str, str]:
    """Environment variables of every worker; they are read when TensorFlow is imported.

    Parameters
    ----------
    joined : whether the cluster is somebody else's, and its workers' share of cores is not ours to say
    """
    threads = cluster.threads_per_worker or (None if joined else max(1, num_cores() // cluster.num_workers))
    return {
        "TF_USE_LEGACY_KERAS": "1",  # Keras 3 can't train on several workers
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": python_path(),
        **({"OMP_NUM_THREADS": str(threads)} if threads else {}),
    }


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a backend starts its driver.

    Parameters
    ----------
    advice : what to do if too few workers start
    environment : variables for the driver process
    leave_s : how long the driver may take to leave a cluster in good order; 0 if the cluster ends with it
    """

    driver: Driver
    advice: str
    environment: Mapping[str, str] = field(default_factory=dict)
    leave_s: float = 0.0


def run_apart(launch: Launch, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
    """Run the driver in a process of its own until all ranks have reported; reports ordered by rank.

    Raises
    ------
    WorkerError, BackendError: as `TrainingBackend.run`. HybridspeechError: as the driver raised it.
    KeyboardInterrupt: after the ranks have saved a checkpoint, or had time for it.
    """
    forget(plan)
    log = RunDirectory(plan.run).launcher_log_path
    log.touch()
    variables = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    variables |= {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1", **launch.environment}
    show = _follow(log) if plan.cluster.verbose else _keep_quiet
    with tempfile.TemporaryDirectory(prefix="hybridspeech-job-") as folder:  # readable by this user only
        start_by = time.time() + 0.9 * plan.cluster.start_timeout_s
        job = Job(plan=plan, packed=cloudpickle.dumps(worker), start_by=start_by)
        (Path(folder) / "job.pickle").write_bytes(pickle.dumps((launch.driver, job)))
        command = [sys.executable, "-m", "hybridspeech.backends.launch", folder]
        with GuardedProcess(command, env=variables, log=log, terminate_s=launch.leave_s) as process:
            watch = Watch(plan, f"{launch.advice}; the output is in {log}")
            try:
                code = _supervise(process, watch, show)
            except KeyboardInterrupt:
                stop_in_order(watch, is_over=lambda: process.poll() is not None)
                raise
            except WorkerError:
                raise
            except BackendError:  # the driver may know better what is missing, and be about to say it
                process.wait(min(LAST_WORD_S, plan.cluster.start_timeout_s / 2))
                _pass_on(Path(folder))
                raise
            if code is not None:
                watch.conclude()
                _explain(Path(folder), code, log)
            process.wait(launch.leave_s)
    return collect(plan)


def _supervise(process: GuardedProcess, watch: Watch, show: Callable[[], None]) -> int | None:
    """Return None when all ranks have finished, or the driver's exit code when it has ended before."""
    while True:
        code = process.poll()  # before looking: what the ranks said until then will be seen
        finished = watch.look()
        show()
        if finished or code is not None:
            return None if finished else code
        time.sleep(POLL_S)


def _explain(folder: Path, code: int, log: Path) -> None:
    """Raise why the driver has failed, if it has."""
    _pass_on(folder)
    if code:
        tail = " | ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])
        raise BackendError(f"the driver process ended with code {code}; its last words in {log} are: {tail}")


def _pass_on(folder: Path) -> None:
    """Raise what the driver left as its error, if it left one."""
    letter = folder / "error.pickle"
    if letter.exists():
        raise pickle.loads(letter.read_bytes())


def _keep_quiet() -> None:
    pass


def _follow(log: Path) -> Callable[[], None]:
    """A function that passes what has been added to `log` since its last call to standard error."""
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
    """The driver process: read the job, run its driver, leave the error if there is one."""
    letter = folder / "job.pickle"
    driver, job = pickle.loads(letter.read_bytes())
    letter.unlink()
    try:
        driver(job)
    except BaseException as error:  # noqa: BLE001 - all are passed on: TensorFlowOnSpark raises SystemExit
        traceback.print_exc()
        known = isinstance(error, HybridspeechError)
        draft = folder / "error.draft"
        left = error if known else BackendError(f"the driver process failed: {one_line(error)}")
        draft.write_bytes(pickle.dumps(left))
        draft.rename(folder / "error.pickle")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
