"""Training workers on Ray, placed and introduced to each other by TensorflowTrainer of Ray Train.

Besides this module only `feeds.ray` knows it.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from hybridspeech.backends.base import Worker, check_hosts, execute_apart, host_without
from hybridspeech.backends.launch import Driver, Job, Launch, check_installed, run_apart, worker_environment
from hybridspeech.clusters.environment import LOOPBACK, ray_environment, refusals
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, one_line
from hybridspeech.patches.ray_core import local_options
from hybridspeech.patches.ray_train import skip_tensorflow_import
from hybridspeech.processes.resources import num_cores
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory

_NOTHING: Mapping[str, str] = MappingProxyType({})
OBJECT_STORE_BYTES = 80 * 1024**2  # nothing but the worker function goes through it; Ray's least is 75 MiB


class RayBackend:
    """One worker per Ray actor: in a Ray started here, or in the cluster at `cluster.ray_address`."""

    name: ClassVar[str] = "ray"

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run`.

        Raises
        ------
        MissingExtraError: Ray or TensorFlow is not installed; before anything starts.
        """
        return launch(plan, worker, drive)


def launch(
    plan: TrainPlan,
    worker: Worker,
    driver: Driver,
    needs: Sequence[str] = (),
    environment: Mapping[str, str] = _NOTHING,
) -> list[WorkerReport]:
    """Check what can be checked, and run `driver` apart; as `RayBackend.run`.

    Parameters
    ----------
    needs : packages, besides those of every run on Ray
    environment : variables for the driver process, besides those
    """
    cluster = plan.cluster
    check_installed("ray", RayBackend.name, ("ray", "tensorflow", *needs))
    apart = Launch(
        driver=driver,
        advice=(
            f"each worker needs {_cpus(cluster)} free CPU(s) of the Ray at {cluster.ray_address or 'this machine'} "
            "and the run directory at the same path: free some, lower --num-workers, or raise the start time-out"
        ),
        environment={**_environment(cluster), **environment},
        leave_s=0.0 if cluster.ray_address is None else 20.0,
    )
    return run_apart(apart, plan, worker)


def _cpus(cluster: ClusterConfig) -> int:
    """CPUs that a worker holds. In a Ray of our own one is as good as many: it is book-keeping, not a limit."""
    return 1 if cluster.ray_address is None else cluster.threads_per_worker or 1


def _environment(cluster: ClusterConfig) -> dict[str, str]:
    """Variables that must stand before Ray is imported."""
    always = {
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(cluster.start_timeout_s),
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # else what a worker prints stands twice in its log
        "RAY_TRAIN_METRICS_ENABLED": "0",
    }
    if cluster.ray_address is not None:
        return always
    return {
        **always,
        **ray_environment(),
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less
        "RAY_prestart_worker_first_driver": "0",  # the workers have surroundings of their own: these would idle
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one into the home directory
    }


def drive(job: Job) -> None:
    """The driver process: start or join Ray, run the workers, wait until they have ended."""
    with connected(job.plan.cluster):
        check_shared(job.plan)
        _train(job)


def check_shared(plan: TrainPlan) -> None:
    """Check that every node of a Ray that is joined sees the run directory.

    Raises
    ------
    BackendError: a node does not see it, or does not answer.
    """
    if plan.cluster.ray_address is None:
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from hybridspeech.shards.shared_storage import probed_storage

    run = RunDirectory(plan.run)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    with probed_storage(str(run.workers_dir), ()) as storage:
        task = ray.remote(num_cpus=0)(host_without)
        asked = [task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)) for node in nodes]
        try:
            answers = ray.get([each.remote(storage) for each in asked], timeout=plan.cluster.start_timeout_s)
        except Exception as error:
            raise BackendError(f"a node of Ray does not answer: {one_line(error)}") from error
    check_hosts(run, answers)


@contextmanager
def connected(
    cluster: ClusterConfig, more_cpus: int = 0, object_store_bytes: int = OBJECT_STORE_BYTES
) -> Iterator[None]:
    """Connected to the Ray that is joined, or to one that is started here; it has CPUs for all workers.

    Parameters
    ----------
    more_cpus, object_store_bytes : of a Ray that is started here: CPUs besides the workers', and its store

    Raises
    ------
    BackendError: Ray can't be started or joined, or has too few CPUs.
    """
    import ray

    _check_reachable(cluster)
    try:
        _connect(ray, cluster, more_cpus, object_store_bytes)
    except Exception as error:
        where = f"be joined at {cluster.ray_address}" if cluster.ray_address else "start"
        advice = "; use this Python and this Ray on every node" if "Version mismatch" in str(error) else ""
        raise BackendError(f"Ray could not {where}: {one_line(error)}{advice}") from error
    try:
        _check_cpus(ray, cluster)
        yield
    finally:
        if cluster.ray_address is not None:
            ray.shutdown()  # a Ray of our own ends with this process


def _check_reachable(cluster: ClusterConfig) -> None:
    """Refuse in seconds an address that nobody answers at; Ray itself takes minutes."""
    address = cluster.ray_address or ""
    reasons = refusals((host, int(port)) for host, port in re.findall(r"^(?:ray://)?([^:/]+):(\d+)$", address))
    if reasons:
        raise BackendError(f"no Ray answers at {reasons[0]}; start it, mend --ray-address, or leave it out")


def _connect(ray: Any, cluster: ClusterConfig, more_cpus: int, object_store_bytes: int) -> None:
    joined = cluster.ray_address is not None
    surroundings = {
        "env_vars": worker_environment(cluster, joined=joined),
        "worker_process_setup_hook": "hybridspeech.patches.ray_train.skip_tensorflow_import",
    }
    if joined:
        ray.init(address=cluster.ray_address, runtime_env=surroundings)
        return
    settings = {
        "runtime_env": surroundings,
        "address": "local",
        "num_cpus": max(num_cores(), cluster.num_workers) + more_cpus,
        "num_gpus": 0,
        "include_dashboard": False,
        "object_store_memory": object_store_bytes,
        **local_options(Path.cwd(), LOOPBACK),
    }
    try:
        ray.init(**settings)
    except Exception:  # noqa: BLE001 - it gives up after 30 s on a busy machine, in several ways; once more
        ray.shutdown()
        ray.init(**settings)


def _check_cpus(ray: Any, cluster: ClusterConfig) -> None:
    found, wanted = int(ray.cluster_resources().get("CPU", 0)), cluster.num_workers * _cpus(cluster)
    if found < wanted:
        raise BackendError(
            f"the Ray at {cluster.ray_address} has {found} CPU(s), and {cluster.num_workers} workers need {wanted}; "
            "add nodes, lower --num-workers or lower the threads of a worker"
        )


def _train(job: Job) -> None:
    skip_tensorflow_import()
    from ray.train import get_context

    plan, packed = job.plan, job.packed

    def loop() -> None:
        execute_apart(packed, plan, get_context().get_world_rank())

    fit(plan, loop)


def fit(plan: TrainPlan, loop: Callable[[], None], **data: Any) -> None:
    """Run `loop` in every worker through TensorflowTrainer; `data` is what that takes of datasets.

    Raises
    ------
    BackendError: Ray Train failed; the cause is in the words of the ranks.
    """
    skip_tensorflow_import()
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.tensorflow.tensorflow_trainer import TensorflowTrainer

    joined = plan.cluster.ray_address is not None
    storage = RunDirectory(plan.run).workers_dir / "ray" if joined else Path.cwd() / "storage"
    trainer = TensorflowTrainer(
        loop,
        scaling_config=ScalingConfig(
            num_workers=plan.cluster.num_workers, resources_per_worker={"CPU": _cpus(plan.cluster)}
        ),
        run_config=RunConfig(
            name="hybridspeech", storage_path=str(storage), failure_config=FailureConfig(max_failures=0)
        ),
        **data,
    )
    try:
        trainer.fit()
    except Exception as error:
        raise BackendError(f"Ray Train failed: {one_line(error)}") from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)
