"""The engine `spark`: settings, sessions of the caller, and clean-up."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession
from support.spark_standalone import listening_addresses

from hybridspeech.clusters.spark_session import private_jvm, unchanged_process
from hybridspeech.clusters.spark_settings import find_spark, loopback_settings, spark_environment
from hybridspeech.config import EngineConfig
from hybridspeech.engines.spark import SparkEngine, requested_settings, session_settings
from hybridspeech.errors import ConfigError, EngineError
from hybridspeech.patches.pyspark_context import active_context, current_gateway
from hybridspeech.processes.environment import environment


def squares(engine: SparkEngine) -> list[int]:
    return engine.map_partitions(lambda items: items[0] ** 2, [[0], [1], [2]])


@pytest.fixture
def callers_session(tmp_path: Path) -> Iterator[SparkSession]:
    with environment(spark_environment(tmp_path)), private_jvm(), unchanged_process():
        builder = SparkSession.builder.master("local[1]").appName("caller").config(map=loopback_settings(tmp_path))
        session = builder.getOrCreate()
        yield session
        session.stop()


@pytest.mark.parametrize(
    ("config", "conf"),
    [
        (EngineConfig(), {}),
        (EngineConfig(num_executors=2, executor_cores=3), {"spark.master": "local[6]"}),
        (EngineConfig(executor_memory="3g"), {"spark.driver.memory": "3g"}),
        (EngineConfig(conf={"spark.master": "local[1]"}), {"spark.master": "local[1]"}),
        (
            EngineConfig(master="spark://a:1", num_executors=2, executor_memory="2g"),
            {
                "spark.master": "spark://a:1",
                "spark.executor.instances": "2",
                "spark.cores.max": "2",
                "spark.executor.cores": "1",
                "spark.executor.memory": "2g",
            },
        ),
    ],
)
def test_the_engine_config_becomes_spark_settings(config: EngineConfig, conf: dict[str, str]) -> None:
    assert requested_settings(config) == conf


def test_executors_of_a_local_master_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"local\[2\] has no executors"):
        requested_settings(EngineConfig(master="local[2]", num_executors=2))


def test_settings_of_the_caller_take_precedence(tmp_path: Path) -> None:
    conf = session_settings(EngineConfig(conf={"spark.ui.enabled": "true"}), tmp_path)
    assert (conf["spark.master"], conf["spark.ui.enabled"]) == ("local[*]", "true")


def test_an_engine_that_is_not_open_is_an_error() -> None:
    with pytest.raises(EngineError, match="not open"):
        squares(SparkEngine(EngineConfig()))


def test_a_session_without_a_spark_context_is_refused() -> None:
    with pytest.raises(EngineError, match="classic SparkSession"):
        SparkEngine.from_session(object())


class TestOwnSession:
    pytestmark = pytest.mark.cluster

    def test_nothing_is_left_and_nothing_is_printed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        before = (dict(os.environ), list(sys.path), signal.getsignal(signal.SIGINT))
        capfd.readouterr()
        with SparkEngine(EngineConfig(master="local[1]")) as engine:
            assert squares(engine) == [0, 1, 4]
            with pytest.raises(EngineError, match="ZeroDivisionError"):
                engine.map_partitions(lambda items: 1 / items[0], [[0]])
            assert listening_addresses(os.getpid()) <= {"127.0.0.1", "::ffff:127.0.0.1"}
            jvm = psutil.Process(current_gateway().proc.pid)
        assert not jvm.is_running()
        assert capfd.readouterr() == ("", "")
        assert list(tmp_path.iterdir()) == []
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
        assert environ == {name: value for name, value in before[0].items() if not name.startswith("SPARK_")}
        assert (sys.path, signal.getsignal(signal.SIGINT)) == before[1:]

    def test_executors_on_this_machine_write_nothing_to_the_installed_package(self, tmp_path: Path) -> None:
        before = set(find_spark().iterdir())
        with SparkEngine(EngineConfig(master="local-cluster[1,1,512]", executor_memory="512m")) as engine:
            (folder,) = engine.map_partitions(lambda items: str(Path.cwd()), [[]])
            assert find_spark() not in Path(folder).parents
        assert set(find_spark().iterdir()) == before

    def test_it_opens_again_with_other_settings(self) -> None:
        with SparkEngine(EngineConfig(master="local[1]")):
            assert active_context().defaultParallelism == 1
        with SparkEngine(EngineConfig(master="local[2]")) as engine:
            assert active_context().defaultParallelism == 2
            assert squares(engine) == [0, 1, 4]

    def test_the_callers_session_is_used_and_left_open(self, callers_session: SparkSession) -> None:
        settings = callers_session.sparkContext.getConf().getAll()
        with SparkEngine.from_session(callers_session) as engine:
            assert squares(engine) == [0, 1, 4]
        assert callers_session.sparkContext.getConf().getAll() == settings
        assert callers_session.range(3).count() == 3
        with SparkEngine(EngineConfig()) as engine:
            assert squares(engine) == [0, 1, 4]
        with pytest.raises(EngineError, match=r"spark.master=local\[1\] is active in this process, and local\[2\]"):
            SparkEngine(EngineConfig(master="local[2]")).__enter__()
        assert callers_session.range(3).count() == 3

    def test_a_jvm_of_the_caller_is_put_aside_and_put_back(self, callers_session: SparkSession) -> None:
        callers_session.stop()
        gateway = current_gateway()
        with SparkEngine(EngineConfig(master="local[1]")) as engine:
            assert squares(engine) == [0, 1, 4]
        assert current_gateway() is gateway
        assert gateway.jvm.java.lang.Math.abs(-1) == 1

    def test_a_master_that_does_not_answer_is_refused_immediately(self) -> None:
        with pytest.raises(EngineError, match=r"no Spark master answers at 127.0.0.1:1 .*correct --master"):
            SparkEngine(EngineConfig(master="spark://127.0.0.1:1")).__enter__()

    def test_a_master_that_spark_does_not_know_is_one_sentence(self) -> None:
        with pytest.raises(ConfigError, match=r"^master 'nonsense' is unknown; expected local\[N\]"):
            SparkEngine(EngineConfig(master="nonsense")).__enter__()

    def test_a_jvm_that_cannot_start_is_one_sentence(self) -> None:
        config = EngineConfig(conf={"spark.driver.memory": "1"})
        with pytest.raises(EngineError, match=r"Spark did not start with master local\[\*\]: .*(heap|memory)"):
            SparkEngine(config).__enter__()

    def test_a_killed_jvm_is_reported_and_the_next_session_opens(self) -> None:
        def kill_the_jvm(result: int) -> None:
            current_gateway().proc.kill()

        with SparkEngine(EngineConfig(master="local[1]")) as engine:
            with pytest.raises(EngineError, match="Spark's JVM has ended: it was killed"):
                engine.map_partitions(lambda items: time.sleep(0.5), [[]] * 20, kill_the_jvm)
            with pytest.raises(EngineError, match="Spark's JVM has ended"):
                squares(engine)
        with SparkEngine(EngineConfig(master="local[1]")) as engine:
            assert squares(engine) == [0, 1, 4]

    def test_python_workers_that_cannot_start_are_reported_when_the_session_opens(self) -> None:
        config = EngineConfig(master="local[1]", conf={"spark.pyspark.python": "/bin/false"})
        with pytest.raises(EngineError, match=r"Python workers do not start: .*--conf spark.pyspark.python=PATH"):
            SparkEngine(config).__enter__()
