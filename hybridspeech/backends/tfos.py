"""Training workers on Spark executors, placed and connected by TensorFlowOnSpark. Knows nothing of models and shards.

TensorFlowOnSpark 2.2.5 is used through `TFCluster.run`, here in InputMode.TENSORFLOW; `patches.tensorflowonspark` secures
it. Besides this module only `feeds.tfos` knows it.
"""

from __future__ import annotations

import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hybridspeech.backends.base import Worker, check_hosts, execute_in_worker_process, run_probe
from hybridspeech.backends.launch import (
    Driver,
    Job,
    Launch,
    WorkerFunction,
    run_apart,
    worker_environment,
)
from hybridspeech.clusters.addresses import LOOPBACK
from hybridspeech.clusters.cluster_managers import check_manager, manager_settings
from hybridspeech.clusters.packed_environment import check_holds, spark_environment_settings
from hybridspeech.clusters.spark_settings import (
    driver_jvm_settings,
    executor_environment,
    has_executors,
    is_started_here,
    loopback_settings,
)
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, ConfigError, TooManyRejectsError, one_line
from hybridspeech.patches.tensorflowonspark import patch_nodes, recorded_error
from hybridspeech.processes.resources import parse_memory_size
from hybridspeech.training.plan import TrainPlan, WorkerReport

POLL_S = 0.1
MIN_EXECUTOR_MB = 450
"""Spark refuses to start an executor with less."""
TRAINING_WORKER_MB = 2048
"""Memory of a worker beside its executor's JVM, on YARN and Kubernetes."""
RESERVATION_TIMEOUT_S = 180.0


class TFoSBackend:
    """Runs one worker per Spark executor: of a `local-cluster` started here, or of the cluster at `cluster.master`."""

    name: ClassVar[str] = "tfos"

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run`.

        Raises
        ------
        ConfigError: before anything starts. JavaError: there is no Java that Spark can use.
        """
        return launch(plan, worker, drive)


def launch(plan: TrainPlan, worker: WorkerFunction, driver: Driver) -> list[WorkerReport]:
    """Check the settings, and run `driver` in a separate process; otherwise as `TFoSBackend.run`."""
    cluster = plan.cluster
    check_master(cluster)
    if cluster.environment:
        spark_environment_settings(cluster.environment, _master(cluster))
        check_holds(cluster.environment, "pyspark", "tensorflowonspark", "tensorflow")
    settings = Launch(
        driver=driver,
        advice=(
            f"each worker needs an executor with {_cores(cluster)} core(s) and {cluster.executor_memory} of memory "
            f"at {_master(cluster)} and the run directory at the same path or on a store: free some, lower --num-workers, or "
            "raise the start time-out"
        ),
        leave_s=0.0 if is_started_here(_master(cluster)) else 20.0,
    )
    return run_apart(settings, plan, worker)


def _cores(cluster: ClusterConfig) -> int:
    """Return the cores that a worker reserves; on this machine one is enough, because Spark does not limit their use."""
    return 1 if is_started_here(_master(cluster)) else cluster.threads_per_worker or 1


def _memory_mb(cluster: ClusterConfig) -> int:
    megabytes = parse_memory_size(cluster.executor_memory, "executor memory") >> 20
    if megabytes < MIN_EXECUTOR_MB:
        raise ConfigError(
            f"executor memory is {cluster.executor_memory!r}; expected {MIN_EXECUTOR_MB}m or more, such as 2g"
        )
    return megabytes


def _master(cluster: ClusterConfig) -> str:
    return cluster.master or f"local-cluster[{cluster.num_workers},1,{_memory_mb(cluster)}]"


def check_master(cluster: ClusterConfig) -> None:
    """Check the master and the executors before anything starts.

    Raises
    ------
    ConfigError: the memory of an executor is too small or no size, the master can't be used, or several workers would
        share an executor.
    """
    _memory_mb(cluster)
    check_manager(_master(cluster), cluster.conf)
    if not has_executors(_master(cluster)) and cluster.num_workers > 1:
        raise ConfigError(
            f"master {cluster.master!r} is one process, and backend 'tfos' needs an executor for each of "
            f"{cluster.num_workers} workers; leave --master out, or use local-cluster[{cluster.num_workers},1,2048]"
        )


def spark_conf(cluster: ClusterConfig, scratch: Path) -> dict[str, str]:
    """Return the settings of the Spark application: one slot in each of `num_workers` executors, and no second attempt.

    `cluster.conf` overrides the settings that are not required.
    """
    cores, is_ours = str(_cores(cluster)), is_started_here(_master(cluster))
    defaults = {
        "spark.app.name": "hybridspeech train",
        "spark.executor.memory": f"{_memory_mb(cluster)}m",
        "spark.ui.enabled": "false",
        **({**driver_jvm_settings(scratch), **loopback_settings(scratch)} if is_ours else {}),
        **executor_environment(worker_environment(cluster, joined=not is_ours)),
        **manager_settings(_master(cluster), TRAINING_WORKER_MB, 1),
        **spark_environment_settings(cluster.environment, _master(cluster)),
    }
    required = {
        "spark.master": _master(cluster),
        "spark.executor.cores": cores,
        "spark.task.cpus": cores,
        "spark.cores.max": str(cluster.num_workers * int(cores)),
        "spark.executor.instances": str(cluster.num_workers),
        "spark.dynamicAllocation.enabled": "false",
        "spark.speculation": "false",
        "spark.task.maxFailures": "1",  # a second attempt would hide the cause for minutes
        "spark.python.worker.reuse": "false",  # TensorFlow's collectives can be configured once in a process
    }
    return {**defaults, **cluster.conf, **required}


def drive(job: Job) -> None:
    """Run the driver process: start Spark and the workers, and wait until they have ended."""
    with executors(job) as context:
        _train(context, job)


@contextmanager
def executors(job: Job, conf: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Open a SparkContext with an executor for each worker, with its files in the working directory.

    Parameters
    ----------
    conf : settings that override those of `spark_conf`

    Raises
    ------
    BackendError: Spark or its executors do not start.
    """
    from hybridspeech.clusters.spark_session import SparkSettings, spark_session  # needs pyspark

    cluster, scratch = job.plan.cluster, Path.cwd()
    settings = SparkSettings(
        conf={**spark_conf(cluster, scratch), **(conf or {})},
        num_executors=cluster.num_workers if has_executors(_master(cluster)) else 0,
        start_timeout_s=max(0.0, job.start_by - time.time()),
        executor_advice=(
            f"each needs {_cores(cluster)} core(s) and {cluster.executor_memory}; free or add some, lower --num-workers or "
            "raise the start time-out"
        ),
        answer_timeout_s=cluster.start_timeout_s,
        verbose=True,  # to the log of this process
        error=BackendError,
    )
    with spark_session(settings, scratch) as context:
        if not is_started_here(_master(cluster)):
            _check_shared(context, job.plan)
        yield context


def _check_shared(context: Any, plan: TrainPlan) -> None:
    """Check that every executor can use the run directory; a barrier stage runs on all at the same time.

    Raises
    ------
    BackendError: one can not.
    """
    workers = plan.cluster.num_workers
    with translated_errors(), run_probe(plan) as probe:
        tasks = context.parallelize(range(workers), workers).barrier()
        answers = tasks.mapPartitions(lambda _: [probe()]).collect()
    check_hosts(plan, answers)


def _train(context: Any, job: Job) -> None:
    """Run the workers through TensorFlowOnSpark.

    `TFCluster.shutdown` is not called: with nothing to feed it only waits (10 s and more), starts a second round of
    Python workers, sets an alarm and exits the process. Spark's own job ends when the workers have ended.
    """
    with translated_errors():
        start_nodes(context, job.plan.cluster, new_node(Node, job), "TENSORFLOW")
        while context.statusTracker().getActiveJobsIds():
            time.sleep(POLL_S)


def start_nodes(context: Any, cluster: ClusterConfig, node: Node, mode: str) -> Any:
    """Start the nodes, and return the TFCluster when they have registered. `mode` is the name of an InputMode."""
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
def translated_errors() -> Iterator[None]:
    """Turn what TensorFlowOnSpark raises, or leaves in its module global, into a BackendError with the cause.

    Raises
    ------
    ConfigError, TooManyRejectsError: are not changed.
    """
    try:
        yield
    except (ConfigError, TooManyRejectsError):
        raise
    except (Exception, SystemExit) as error:
        raise _backend_error(recorded_error() or one_line(error)) from error
    if recorded := recorded_error():
        raise _backend_error(recorded)


def _backend_error(trace: str) -> BackendError:
    """Return the error for a stack trace from TensorFlowOnSpark, with advice where the cause is known."""
    from hybridspeech.clusters.spark_errors import trace_cause  # needs pyspark

    cause, advice = trace_cause(trace) or " ".join(trace.split())[:300], ""
    missing = re.search(r"Cannot run program [^\n]*", trace)
    if missing or "PYTHON_VERSION_MISMATCH" in trace:
        cause, version = missing[0] if missing else cause, ".".join(map(str, sys.version_info[:2]))
        advice = f"; executors need a Python {version} too, name it with --conf spark.pyspark.python=PATH"
    return BackendError(f"TensorFlowOnSpark failed: {cause}{advice}")


class Node:
    """The function that TensorFlowOnSpark calls on each executor when all nodes have registered.

    It is unpickled there before any code of TensorFlowOnSpark runs, and patches it in that process.

    Parameters
    ----------
    key, address : as of `patch_nodes`
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
        execute_in_worker_process(self.job.worker, self.job.plan, rank, *self.worker_arguments(context))

    def worker_arguments(self, context: Any) -> tuple[object, ...]:
        """Return further arguments for the worker function."""
        return ()


def new_node(kind: type[Node], job: Job) -> Any:
    """Return a node of a new run: with its own secret, on loopback if all executors are on this machine."""
    address = LOOPBACK if is_started_here(_master(job.plan.cluster)) else None
    return kind(job, secrets.token_bytes(32), address)
