"""Training workers as Ray actors, placed and connected by TensorflowTrainer of Ray Train. Knows nothing of models and shards.

Besides this module only `feeds.ray` knows Ray Train.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from hybridspeech.clusters.packed_environment import check_holds, ray_runtime_env
from hybridspeech.clusters.ray_errors import ray_cause
from hybridspeech.clusters.ray_session import RaySettings, ray_session
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError
from hybridspeech.patches.ray_train import skip_tensorflow_import
from hybridspeech.processes.resources import num_cores
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory

OBJECT_STORE_BYTES = 80 * 1024**2
"""Only the worker function goes through the object store; Ray's minimum is 75 MiB."""


class RayBackend:
    """Runs one worker per Ray actor: in a Ray that is started here, or in the cluster at `cluster.ray_address`."""

    name: ClassVar[str] = "ray"

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run`."""
        return launch(plan, worker, drive)


def launch(
    plan: TrainPlan,
    worker: WorkerFunction,
    driver: Driver,
    environment: Mapping[str, str] | None = None,
) -> list[WorkerReport]:
    """Check the settings, and run `driver` in a separate process; otherwise as `RayBackend.run`.

    Parameters
    ----------
    environment : further variables for the driver process
    """
    cluster = plan.cluster
    if cluster.environment:
        ray_runtime_env(cluster.environment, cluster.ray_address)
        check_holds(cluster.environment, "ray", "tensorflow")
    settings = Launch(
        driver=driver,
        advice=(
            f"each worker needs {_cpus(cluster)} free CPU(s) of the Ray at {cluster.ray_address or 'this machine'} "
            "and the run directory at the same path or on a store: free some, lower --num-workers, or raise the start time-out"
        ),
        environment={**_environment(cluster), **(environment or {})},
        leave_s=0.0 if cluster.ray_address is None else 20.0,
    )
    return run_apart(settings, plan, worker)


def _cpus(cluster: ClusterConfig) -> int:
    """Return the CPUs that a worker reserves; in a Ray that is started here one is enough: Ray does not limit their use."""
    return 1 if cluster.ray_address is None else cluster.threads_per_worker or 1


def _environment(cluster: ClusterConfig) -> dict[str, str]:
    """Return variables that must be set before Ray is imported."""
    always = {
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(cluster.start_timeout_s),
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # else the output of a worker is in its log twice
        "RAY_TRAIN_METRICS_ENABLED": "0",
    }
    if cluster.ray_address is not None:
        return always
    return {
        **always,
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # saves a process
        "RAY_prestart_worker_first_driver": "0",  # training workers have another environment: these would be idle
    }


def drive(job: Job) -> None:
    """Run the driver process: start or join Ray, run the workers, and wait until they have ended."""
    with connected(job.plan.cluster, LocalRay()):
        check_shared(job.plan)
        _train(job)


def check_shared(plan: TrainPlan) -> None:
    """Check that every node of a Ray that is joined can use the run directory.

    Raises
    ------
    BackendError: a node can not, or does not answer.
    """
    if plan.cluster.ray_address is None:
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    with run_probe(plan) as probe:
        task = ray.remote(num_cpus=0)(lambda: probe())
        asked = [task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)) for node in nodes]
        try:
            answers = ray.get([each.remote() for each in asked], timeout=plan.cluster.start_timeout_s)
        except Exception as error:
            raise BackendError(f"a node of Ray does not answer: {ray_cause(error)}") from error
    check_hosts(plan, answers)


@dataclass(frozen=True, kw_only=True)
class LocalRay:
    """What a Ray that is started here has besides the CPUs of its workers; a Ray that is joined ignores it."""

    more_cpus: int = 0
    object_store_bytes: int = OBJECT_STORE_BYTES
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def connected(
    cluster: ClusterConfig, local: LocalRay, environment: Mapping[str, str] | None = None
) -> Iterator[Mapping[str, str]]:
    """Connect to the Ray of a ClusterConfig, with CPUs for all workers; yields as `ray_session`.

    Parameters
    ----------
    environment : further variables for all processes that Ray starts for this job

    Raises
    ------
    BackendError: Ray can't be started or joined, or has too few CPUs.
    """
    settings = RaySettings(
        address=cluster.ray_address,
        num_cpus=max(num_cores(), cluster.num_workers) + local.more_cpus,
        object_store_bytes=local.object_store_bytes,
        environment=local.environment,
        runtime_env={
            "env_vars": {**worker_environment(cluster, joined=cluster.ray_address is not None), **(environment or {})},
            "worker_process_setup_hook": f"{skip_tensorflow_import.__module__}.{skip_tensorflow_import.__name__}",
            **ray_runtime_env(cluster.environment, cluster.ray_address),
        },
        answer_timeout_s=cluster.start_timeout_s,
        verbose=True,  # to the log of this process
        error=BackendError,
    )
    with ray_session(settings, Path.cwd()) as variables:
        _check_cpus(cluster)
        yield variables


def _check_cpus(cluster: ClusterConfig) -> None:
    import ray

    found, wanted = int(ray.cluster_resources().get("CPU", 0)), cluster.num_workers * _cpus(cluster)
    if found < wanted:
        raise BackendError(
            f"the Ray at {cluster.ray_address} has {found} CPU(s), and {cluster.num_workers} workers need {wanted}; "
            "add nodes, lower --num-workers or lower the threads of a worker"
        )


def _train(job: Job) -> None:
    skip_tensorflow_import()
    from ray.train import get_context

    plan, worker = job.plan, job.worker

    def loop() -> None:
        execute_in_worker_process(worker, plan, get_context().get_world_rank())

    fit(plan, loop)


def fit(plan: TrainPlan, loop: Callable[[], None], **data: Any) -> None:
    """Run `loop` in every worker through TensorflowTrainer; `data` are its arguments about datasets.

    Raises
    ------
    BackendError: Ray Train failed; the status files of the ranks have the cause.
    """
    skip_tensorflow_import()
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.tensorflow.tensorflow_trainer import TensorflowTrainer

    is_joined = plan.cluster.ray_address is not None
    storage = RunDirectory(plan.run).workers_dir / "ray" if is_joined else Path.cwd() / "storage"
    trainer = TensorflowTrainer(
        loop,
        scaling_config=ScalingConfig(
            num_workers=plan.cluster.num_workers,
            resources_per_worker={"CPU": _cpus(plan.cluster)},
            placement_strategy=plan.cluster.placement.upper(),
        ),
        run_config=RunConfig(
            name="hybridspeech", storage_path=str(storage), failure_config=FailureConfig(max_failures=0)
        ),
        **data,
    )
    try:
        trainer.fit()
    except Exception as error:
        raise BackendError(f"Ray Train failed: {ray_cause(error)}") from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)
