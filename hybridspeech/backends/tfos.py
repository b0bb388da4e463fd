"""Training workers on Spark executors, placed and introduced to each other by TensorFlowOnSpark.

TensorFlowOnSpark 2.2.5 is used through `TFCluster.run`, here in InputMode.TENSORFLOW. Its traps (exits, alarms, globals,
a service open to everybody) end here. Besides this module only `feeds.tfos` knows it.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hybridspeech.backends.base import Worker, check_hosts, execute_apart, host_without
from hybridspeech.backends.launch import Driver, Job, Launch, check_installed, run_apart, worker_environment
from hybridspeech.clusters.environment import (
    LIGHT_JVM,
    LOOPBACK,
    executor_environment,
    loopback_conf,
    refusals,
    spark_environment,
)
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, ConfigError, TooManyRejectsError, one_line
from hybridspeech.patches.pyspark_context import count_executors
from hybridspeech.patches.tensorflowonspark import patch_nodes, recorded_error
from hybridspeech.processes.resources import parse_memory_size
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory

POLL_S = 0.1
SMALLEST_EXECUTOR_MB = 450  # below, Spark refuses to start one
RESERVATION_TIMEOUT_S = 180.0


class TFoSBackend:
    """One worker per Spark executor: of a `local-cluster` started here, or of the cluster at `cluster.master`."""

    name: ClassVar[str] = "tfos"

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run`.

        Raises
        ------
        MissingExtraError, ConfigError: before anything starts. JavaError: no Java that Spark can use.
        """
        return launch(plan, worker, drive)


def launch(plan: TrainPlan, worker: Worker, driver: Driver) -> list[WorkerReport]:
    """Check what can be checked, and run `driver` apart; as `TFoSBackend.run`."""
    cluster = plan.cluster
    check_installed("tfos", TFoSBackend.name, ("pyspark", "tensorflowonspark", "tensorflow"))
    check_master(cluster)
    apart = Launch(
        driver=driver,
        advice=(
            f"each worker needs an executor with {_cores(cluster)} core(s) and {cluster.executor_memory} of memory "
            f"at {_master(cluster)} and the run directory at the same path: free some, lower --num-workers, or "
            "raise the start time-out"
        ),
        leave_s=0.0 if is_here(cluster) else 20.0,
    )
    return run_apart(apart, plan, worker)


def is_here(cluster: ClusterConfig) -> bool:
    """Whether the cluster lives in processes of the driver, and goes with it."""
    return cluster.master is None or cluster.master.startswith("local")


def _cores(cluster: ClusterConfig) -> int:
    """Cores that a worker holds. Here one is as good as many: the count is Spark's book-keeping, not a limit."""
    return 1 if is_here(cluster) else cluster.threads_per_worker or 1


def _memory_mb(cluster: ClusterConfig) -> int:
    megabytes = parse_memory_size(cluster.executor_memory, "executor memory") >> 20
    if megabytes < SMALLEST_EXECUTOR_MB:
        raise ConfigError(
            f"executor memory is {cluster.executor_memory!r}; expected {SMALLEST_EXECUTOR_MB}m or more, such as 2g"
        )
    return megabytes


def _master(cluster: ClusterConfig) -> str:
    return cluster.master or f"local-cluster[{cluster.num_workers},1,{_memory_mb(cluster)}]"


def check_master(cluster: ClusterConfig) -> None:
    """Refuse what can't work.

    Raises
    ------
    ConfigError: the memory of an executor is too small or no size; several workers in one executor.
    """
    _memory_mb(cluster)
    if re.match(r"local(\[|$)", _master(cluster)) and cluster.num_workers > 1:
        raise ConfigError(
            f"master {cluster.master!r} is one process, and backend 'tfos' needs an executor for each of "
            f"{cluster.num_workers} workers; leave --master out, or use local-cluster[{cluster.num_workers},1,2048]"
        )


def spark_conf(cluster: ClusterConfig, scratch: Path) -> dict[str, str]:
    """Settings of the Spark application: exactly one slot in each of `num_workers` executors, and no second attempt.

    `cluster.conf` overrides the ones that are a matter of taste.
    """
    cores, here = str(_cores(cluster)), is_here(cluster)
    wishes = {
        "spark.app.name": "hybridspeech train",
        "spark.executor.memory": f"{_memory_mb(cluster)}m",
        "spark.ui.enabled": "false",
        **({"spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={scratch} {LIGHT_JVM}"} if here else {}),
        **(loopback_conf(scratch) if here else {}),
        **executor_environment(worker_environment(cluster, joined=not here)),
    }
    needs = {
        "spark.executor.cores": cores,
        "spark.task.cpus": cores,
        "spark.cores.max": str(cluster.num_workers * int(cores)),
        "spark.executor.instances": str(cluster.num_workers),
        "spark.dynamicAllocation.enabled": "false",
        "spark.speculation": "false",
        "spark.task.maxFailures": "1",  # a second attempt would hide the cause for minutes
        "spark.python.worker.reuse": "false",  # TensorFlow's collectives can be set up once in a process
    }
    return {**wishes, **cluster.conf, **needs}


def _check_reachable(cluster: ClusterConfig) -> None:
    """Refuse in seconds a standalone master that nobody answers for; Spark itself gives up after a minute."""
    reasons = refusals(
        (host, int(port)) for host, port in re.findall(r"(?:^spark://|,)([^:,]+):(\d+)", _master(cluster))
    )
    if reasons:
        raise BackendError(
            f"no Spark master answers at {', '.join(reasons)}; start it, or mend --master {cluster.master}"
        )


def drive(job: Job) -> None:
    """The driver process: start Spark, place the workers, wait until they have ended. Works in its scratch folder."""
    with spark_of(job) as context:
        _train(context, job)


@contextmanager
def spark_of(job: Job, conf: Mapping[str, str] | None = None) -> Iterator[Any]:
    """A SparkContext with an executor for each worker; it has stopped afterwards.

    Parameters
    ----------
    conf : settings that win over those of `spark_conf`

    Raises
    ------
    BackendError: Spark or its executors do not start.
    """
    cluster, scratch = job.plan.cluster, Path.cwd()
    _check_reachable(cluster)
    os.environ.update(spark_environment(scratch, loopback=is_here(cluster)))
    os.environ["PYSPARK_PYTHON"] = cluster.conf.get("spark.pyspark.python", os.environ["PYSPARK_PYTHON"])
    os.environ["SPARK_HOME"] = str(_linked_home(Path(os.environ["SPARK_HOME"]), scratch))
    from pyspark import SparkConf, SparkContext

    settings = {**spark_conf(cluster, scratch), **(conf or {})}
    try:
        context = SparkContext(conf=SparkConf().setMaster(_master(cluster)).setAll(list(settings.items())))
    except Exception as error:
        cause = first_cause(str(error))
        advice = "; choose another port, or leave the setting out" if "BindException" in cause else ""
        raise BackendError(f"Spark could not start at master {_master(cluster)}: {cause}{advice}") from error
    try:
        _await_executors(context, job)
        if not is_here(cluster):
            _check_shared(context, job.plan)
        yield context
    finally:
        context.stop()


def _linked_home(home: Path, scratch: Path) -> Path:
    """A SPARK_HOME of links: local-cluster executors write below it, and must not do so in the installed package."""
    linked = scratch / "spark"
    linked.mkdir()
    for entry in home.iterdir():
        if entry.name != "work":  # the folder that they write to
            (linked / entry.name).symlink_to(entry)
    return linked


def _await_executors(context: Any, job: Job) -> None:
    """Return when there are enough executors: the workers would wait for each other without a word."""
    cluster = job.plan.cluster
    wanted = cluster.num_workers if "local[" not in _master(cluster) else 0
    while (found := count_executors(context)) < wanted:
        if time.time() > job.start_by:
            raise BackendError(
                f"Spark at {_master(cluster)} gave {found} of {wanted} executors with {_cores(cluster)} core(s) and "
                f"{cluster.executor_memory} each; free or add some, lower --num-workers or raise the start time-out"
            )
        time.sleep(POLL_S)


def _check_shared(context: Any, plan: TrainPlan) -> None:
    """Raise BackendError if an executor does not see the run directory; a barrier stage runs on all at the same time."""
    from hybridspeech.shards.shared_storage import probed_storage

    run, workers = RunDirectory(plan.run), plan.cluster.num_workers
    with failures_told(), probed_storage(str(run.workers_dir), ()) as storage:
        tasks = context.parallelize(range(workers), workers).barrier()
        answers = tasks.mapPartitions(lambda _: [host_without(storage)]).collect()
    check_hosts(run, answers)


def _train(context: Any, job: Job) -> None:
    """Run the workers through TensorFlowOnSpark.

    `TFCluster.shutdown` is left out: with nothing to feed it only waits (10 s and more), starts a second round of
    Python workers, arms an alarm and exits. Spark's own job says when the workers have ended.
    """
    with failures_told():
        introduce(context, job.plan.cluster, Node(job, *secret_and_address(job.plan.cluster)), "TENSORFLOW")
        while context.statusTracker().getActiveJobsIds():
            time.sleep(POLL_S)


def secret_and_address(cluster: ClusterConfig) -> tuple[bytes, str | None]:
    """What `patch_nodes` takes, for a new run."""
    return secrets.token_bytes(32), LOOPBACK if is_here(cluster) else None


def introduce(context: Any, cluster: ClusterConfig, node: Node, mode: str) -> Any:
    """Start the nodes and let them know each other; the TFCluster. `mode` is the name of an InputMode."""
    patch_nodes(node.key, node.address)
    from tensorflowonspark import TFCluster

    return TFCluster.run(
        context,
        node,
        {},
        cluster.num_workers,
        num_ps=0,
        master_node="chief",
        input_mode=getattr(TFCluster.InputMode, mode),
        reservation_timeout=max(RESERVATION_TIMEOUT_S, cluster.start_timeout_s),
    )


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn whatever TensorFlowOnSpark raises, or notes in its global, into a BackendError with the cause.

    Raises
    ------
    ConfigError, TooManyRejectsError: pass as they are.
    """
    try:
        yield
    except (ConfigError, TooManyRejectsError):
        raise
    except (Exception, SystemExit) as error:
        raise _failed(recorded_error() or one_line(error)) from error
    if noted := recorded_error():
        raise _failed(noted)


def _failed(trace: str) -> BackendError:
    """What TensorFlowOnSpark says, with what to do where that is known."""
    cause, advice = first_cause(trace), ""
    missing = re.search(r"Cannot run program [^\n]*", trace)
    if missing or "PYTHON_VERSION_MISMATCH" in trace:
        cause, version = missing[0] if missing else cause, ".".join(map(str, sys.version_info[:2]))
        advice = f"; executors need a Python {version} too, name it with --conf spark.pyspark.python=PATH"
    return BackendError(f"TensorFlowOnSpark failed: {cause}{advice}")


def first_cause(text: str) -> str:
    """The line of a Java and Python stack trace that names the Python error; without one, its beginning."""
    match = re.search(r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit)\b.*$", text, re.MULTILINE)
    return match[0] if match else " ".join(text.split())[:300]


class Node:
    """What TensorFlowOnSpark calls on each executor, once the nodes know each other.

    It is unpickled there before any code of TensorFlowOnSpark runs, and prepares that process.
    """

    def __init__(self, job: Job, key: bytes, address: str | None) -> None:
        self.job = job
        self.key = key
        self.address = address

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        patch_nodes(self.key, self.address)

    def __call__(self, arguments: object, context: Any) -> None:
        rank = 0 if context.job_name == "chief" else 1 + context.task_index
        execute_apart(self.job.packed, self.job.plan, rank, *self.given(context))

    def given(self, context: Any) -> tuple[object, ...]:
        """Further arguments for the worker function."""
        return ()
