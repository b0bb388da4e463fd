"""A session that hybridspeech starts refuses clients without its secret, and no secret is in the list of processes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil
import pytest
from support.spark_other_user import open_ports
from support.spark_standalone import listening_sockets

from hybridspeech.config import EngineConfig
from hybridspeech.engines.raydp import RayDPEngine
from hybridspeech.engines.spark import SparkEngine
from hybridspeech.patches.pyspark_context import active_context

pytestmark = pytest.mark.cluster
CLUSTER = EngineConfig(master="local-cluster[1,1,512]", executor_memory="512m")


def ports() -> set[int]:
    """Ports on which this process and its descendants listen."""
    return {port for _, port in listening_sockets(os.getpid())}


def command_lines() -> str:
    lines = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended since
            lines.append(" ".join(process.cmdline()))
    return "\n".join(lines)


def test_a_session_refuses_another_local_user_and_shows_no_secret_in_the_list_of_processes(tmp_path: Path) -> None:
    """Its master, worker, driver and executor."""
    conf = {"spark.hadoop.fs.s3a.secret.key": "my-secret-value"}
    with SparkEngine(EngineConfig(**{**vars(CLUSTER), "conf": conf})) as engine:
        assert engine.map_partitions(sum, [[1, 2]]) == [3]
        settings = dict(active_context().getConf().getAll())
        assert settings["spark.hadoop.fs.s3a.secret.key"] == "my-secret-value"
        lines = command_lines()
        assert "CoarseGrainedExecutorBackend" in lines
        assert settings["spark.authenticate.secret"] not in lines
        assert "my-secret-value" not in lines
        found = ports()
        assert len(found) >= 4
        assert open_ports(found, tmp_path) == set()


def test_without_the_secret_they_would_answer(tmp_path: Path) -> None:
    conf = {"spark.authenticate": "false", "spark.network.crypto.enabled": "false"}
    with SparkEngine(EngineConfig(**{**vars(CLUSTER), "conf": conf})):
        assert len(open_ports(ports(), tmp_path)) >= 3


def test_spark_on_ray_refuses_another_local_user_and_hides_its_secret(tmp_path: Path) -> None:
    with RayDPEngine(
        EngineConfig(num_executors=1, conf={"spark.hadoop.fs.s3a.secret.key": "my-secret-value"})
    ) as engine:
        assert engine.map_partitions(sum, [[1, 2]]) == [3]
        settings = dict(active_context().getConf().getAll())
        assert settings["spark.hadoop.fs.s3a.secret.key"] == "my-secret-value"
        lines = command_lines()
        assert settings["spark.authenticate.secret"] not in lines
        assert "my-secret-value" not in lines
        assert open_ports(ports(), tmp_path) == set()
