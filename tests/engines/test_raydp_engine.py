"""The engine `raydp`: Ray and Spark start and end together, in a process that uses them elsewhere too.

The contract tests open it again in the same process.
"""

from __future__ import annotations

import os
import time

import psutil
import pytest
from support.spark_standalone import listening_addresses

from hybridspeech.clusters.spark_on_ray import SparkOnRaySettings, executor_advice
from hybridspeech.config import EngineConfig
from hybridspeech.engines.raydp import RayDPEngine
from hybridspeech.engines.spark import SparkEngine
from hybridspeech.errors import EngineError
from hybridspeech.patches.pyspark_context import current_gateway

pytestmark = pytest.mark.cluster


def squares(engine: RayDPEngine | SparkEngine) -> list[int]:
    return engine.map_partitions(lambda items: items[0] ** 2, [[0], [1], [2]])


def test_it_listens_on_loopback_prints_nothing_and_leaves_no_trace(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = set(psutil.Process().children(recursive=True))
    with RayDPEngine(EngineConfig(num_executors=1)) as engine:
        assert squares(engine) == [0, 1, 4]
        assert listening_addresses(os.getpid()) <= {"127.0.0.1", "::ffff:127.0.0.1"}
        started = set(psutil.Process().children(recursive=True)) - before
        assert {"raylet", "java"} <= {process.name() for process in started}
    assert [process for process in started if process.is_running()] == []
    with SparkEngine(EngineConfig(master="local[1]")) as engine:
        assert squares(engine) == [0, 1, 4]
    assert capfd.readouterr() == ("", "")
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False)
    try:
        assert ray.get(ray.remote(lambda: 1).remote()) == 1
    finally:
        ray.shutdown()


@pytest.mark.soak
def test_after_a_killed_jvm_the_next_session_opens() -> None:
    def kill_the_jvm(result: int) -> None:
        current_gateway().proc.kill()

    with RayDPEngine(EngineConfig(num_executors=1)) as engine, pytest.raises(EngineError, match="JVM has ended"):
        engine.map_partitions(lambda items: time.sleep(0.5), [[]] * 20, kill_the_jvm)
    with SparkEngine(EngineConfig(master="local[1]")) as engine:
        assert squares(engine) == [0, 1, 4]


def test_too_few_cpus_are_reported_immediately() -> None:
    with pytest.raises(EngineError, match=r"Ray has \d+ free CPUs, and 99 executors of 2 cores need 198"):
        RayDPEngine(EngineConfig(num_executors=99, executor_cores=2)).__enter__()


def test_an_active_spark_session_is_not_changed() -> None:
    with SparkEngine(EngineConfig(master="local[1]")) as spark:
        with pytest.raises(EngineError, match="RayDP needs one of its own"):
            RayDPEngine(EngineConfig()).__enter__()
        assert squares(spark) == [0, 1, 4]


def test_an_address_without_a_ray_is_refused_immediately() -> None:
    with pytest.raises(EngineError, match=r"no Ray answers at 127.0.0.1:1 .*--ray-address"):
        RayDPEngine(EngineConfig(ray_address="127.0.0.1:1")).__enter__()


@pytest.mark.parametrize(
    ("authenticate", "is_started_here", "names_the_variable"),
    [("true", False, True), ("true", True, False), ("false", False, False)],
)
def test_without_executors_the_variable_for_the_secret_of_spark_is_named(
    authenticate: str, is_started_here: bool, names_the_variable: bool
) -> None:
    """Executors of RayDP take the secret from the environment of `ray start`."""
    settings = SparkOnRaySettings(
        num_executors=1,
        executor_cores=1,
        executor_memory="1g",
        conf={},
        is_started_here=is_started_here,
        answer_timeout_s=60,
        verbose=False,
    )
    advice = executor_advice({"spark.authenticate": authenticate}, settings)
    assert ("_SPARK_AUTH_SECRET" in advice) is names_the_variable
