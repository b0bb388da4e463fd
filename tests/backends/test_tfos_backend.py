"""The backend `tfos`: settings, errors, and a standalone cluster."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hybridspeech.backends.tfos import TFoSBackend, spark_conf
from hybridspeech.clusters.spark_settings import spark_environment
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, ConfigError
from hybridspeech.processes.environment import python_path
from hybridspeech.processes.supervision import GuardedProcess
from hybridspeech.training.plan import TrainPlan, WorkerReport


def test_each_executor_has_one_slot_whatever_the_caller_sets(tmp_path):
    cluster = ClusterConfig(
        num_workers=3,
        master="spark://10.0.0.1:7077",
        threads_per_worker=4,
        conf={"spark.task.maxFailures": "9", "spark.executor.memory": "8g"},
    )
    conf = spark_conf(cluster, tmp_path)
    assert (conf["spark.executor.cores"], conf["spark.task.cpus"], conf["spark.cores.max"]) == ("4", "4", "12")
    assert (conf["spark.task.maxFailures"], conf["spark.executor.memory"]) == ("1", "8g")
    assert "spark.driver.host" not in conf


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"executor_memory": "much"}, "executor memory is 'much'; expected a number and a unit"),
        ({"executor_memory": "300m"}, "executor memory is '300m'; expected 450m or more, such as 2g"),
        ({"num_workers": 2, "master": "local[2]"}, r"'local\[2\]' is one process"),
    ],
)
def test_invalid_settings_are_refused_before_a_cluster_starts(settings, message, tmp_path):
    plan = TrainPlan(shards="", run=str(tmp_path / "run"), cluster=ClusterConfig(**settings))
    with pytest.raises(ConfigError, match=message):
        TFoSBackend().run(plan, lambda plan, context: WorkerReport(rank=0))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """Start a standalone Spark with one executor core in other processes; yields its address."""
    env = {**os.environ, **spark_environment(tmp_path), "PYTHONPATH": python_path()}
    deploy = [f"{env['SPARK_HOME']}/bin/spark-class", "org.apache.spark.deploy"]
    url = f"spark://127.0.0.1:{free_port()}"
    host = ["--host", "127.0.0.1", "--webui-port", "0"]
    commands = {
        "master": [deploy[0], f"{deploy[1]}.master.Master", *host, "--port", url.rpartition(":")[2]],
        "worker": [deploy[0], f"{deploy[1]}.worker.Worker", *host, "--cores", "1", "--memory", "600m", url],
    }
    with ExitStack() as running:
        for name, command in commands.items():
            running.enter_context(GuardedProcess(command, env=env, log=tmp_path / f"{name}.log"))
        await_port(int(url.rpartition(":")[2]))
        yield url


def await_port(port: int, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise TimeoutError(f"no process listens on port {port} after {timeout_s:g} s")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.cluster
def test_a_standalone_cluster_is_used_and_its_executors_are_counted(master, tmp_path):
    def worker(plan, context):
        return WorkerReport(rank=context.rank, values={"folder": str(Path.cwd())})

    def plan(num_workers: int, start_timeout_s: float) -> TrainPlan:
        cluster = ClusterConfig(
            num_workers=num_workers, master=master, executor_memory="512m", start_timeout_s=start_timeout_s
        )
        return TrainPlan(shards="", run=str(tmp_path / "run"), backend="tfos", cluster=cluster)

    (report,) = TFoSBackend().run(plan(1, start_timeout_s=300), worker)
    assert str(tmp_path) in report.values["folder"]
    with pytest.raises(
        BackendError, match=rf"Spark at {master} gave [01] of 2 executors within \d+ s; each needs 1 core\(s\) and 512m"
    ):
        TFoSBackend().run(plan(2, start_timeout_s=30), worker)
