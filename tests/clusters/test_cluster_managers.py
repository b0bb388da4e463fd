"""Masters yarn and k8s://, without a cluster: checks, settings, and how Spark interprets the settings."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest
from support.spark_gateway import Jvm, spark_jvm

from hybridspeech.backends.tfos import spark_conf
from hybridspeech.clusters.cluster_managers import IMAGE, check_manager, manager_settings
from hybridspeech.clusters.java import find_java
from hybridspeech.clusters.spark_settings import find_spark
from hybridspeech.config import ClusterConfig, EngineConfig
from hybridspeech.engines.spark import session_settings
from hybridspeech.errors import ConfigError
from hybridspeech.patches.pyspark_daemon import PRELOAD_VARIABLE

MAIN = Path(__file__).parents[2] / "deploy" / "main.py"


@pytest.fixture
def hadoop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the configuration of a YARN cluster, which HADOOP_CONF_DIR names."""
    (tmp_path / "yarn-site.xml").write_text("<configuration/>", encoding="ascii")
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this machine that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_master_that_cannot_work_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YARN_CONF_DIR", raising=False)
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    with pytest.raises(ConfigError, match="needs HADOOP_CONF_DIR or YARN_CONF_DIR, and neither is set"):
        check_manager("yarn", {})
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=r"has no yarn-site\.xml"):
        check_manager("yarn", {})
    for master in ("mesos://host:5050", "yarn-client", "host:7077"):
        with pytest.raises(ConfigError, match="is unknown; expected"):
            check_manager(master, {})
    with pytest.raises(ConfigError, match=f"--conf {IMAGE}=NAME"):
        check_manager("k8s://https://127.0.0.1:1", {})
    with pytest.raises(ConfigError, match=r"no Kubernetes API server answers at 127\.0\.0\.1:1"):
        check_manager("k8s://https://127.0.0.1:1", {IMAGE: "image"})
    with pytest.raises(ConfigError, match="expected k8s://https://HOST:PORT"):
        check_manager("k8s://https://", {IMAGE: "image"})


def test_valid_masters_are_accepted(hadoop: Path, listener: int) -> None:
    check_manager("yarn", {})
    check_manager(f"k8s://https://127.0.0.1:{listener}", {IMAGE: "image"})
    check_manager(f"k8s://127.0.0.1:{listener}", {IMAGE: "image"})
    for master in ("local", "local[*]", "local[2,3]", "local-cluster[2,1,1024]", "spark://a:1,b:2"):
        check_manager(master, {})


def test_a_pyspark_without_the_jars_is_named(hadoop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "pyspark" / "jars").mkdir(parents=True)
    (tmp_path / "site" / "pyspark" / "__init__.py").touch()
    code = (
        "from hybridspeech.clusters.cluster_managers import check_manager\n"
        "for master in ('yarn', 'k8s://https://host:1'):\n"
        "    try: check_manager(master, {})\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    root = str(MAIN.parents[1])
    path = os.pathsep.join([str(tmp_path / "site"), root])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert "has no jars for YARN" in done.stdout, done.stderr
    assert "has no jars for Kubernetes" in done.stdout


def test_executors_get_memory_for_their_python_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert manager_settings("spark://host:1", 512, 4) == {}
    assert manager_settings("yarn", 512, 4) == {"spark.executor.memoryOverhead": "2432m"}
    assert manager_settings("k8s://https://host", 512, 1) == {"spark.executor.memoryOverhead": "896m"}


def test_a_driver_in_a_pod_is_reached_at_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    settings = manager_settings("k8s://https://host", 512, 1)
    assert set(settings) == {
        "spark.executor.memoryOverhead",
        "spark.driver.host",
        "spark.kubernetes.driver.pod.name",
    }


def test_settings_of_the_caller_take_precedence(hadoop: Path, tmp_path: Path) -> None:
    conf = {"spark.executor.memoryOverhead": "1g"}
    assert session_settings(EngineConfig(master="yarn", conf=conf), tmp_path)["spark.executor.memoryOverhead"] == "1g"
    assert spark_conf(ClusterConfig(master="yarn", conf=conf), tmp_path)["spark.executor.memoryOverhead"] == "1g"


@pytest.fixture(scope="module")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jvm]:
    """A JVM with Spark's jars."""
    with spark_jvm(tmp_path_factory.mktemp("jvm")) as opened:
        yield opened


@pytest.mark.cluster
def test_every_setting_of_a_session_exists_in_spark(jvm: Jvm, hadoop: Path, listener: int, tmp_path: Path) -> None:
    for master in ("yarn", f"k8s://https://127.0.0.1:{listener}"):
        engine = EngineConfig(master=master, conf={IMAGE: "image"}, num_executors=2, environment="s3://b/e.tar.gz")
        cluster = ClusterConfig(master=master, conf={IMAGE: "image"}, num_workers=2, environment="s3://b/e.tar.gz")
        for conf in (session_settings(engine, tmp_path), spark_conf(cluster, tmp_path)):
            unknown = [name for name in conf if not jvm.is_setting(name)]
            assert unknown == [], unknown
    assert not jvm.is_setting("spark.no.such.setting")


@pytest.mark.cluster
def test_an_executor_pod_has_the_resources_of_the_settings(jvm: Jvm, listener: int, tmp_path: Path) -> None:
    config = EngineConfig(
        master=f"k8s://https://127.0.0.1:{listener}",
        conf={
            IMAGE: "hybridspeech:0.1.0",
            "spark.kubernetes.namespace": "hybridspeech",
            "spark.kubernetes.executor.volumes.persistentVolumeClaim.data.mount.path": "/data",
            "spark.kubernetes.executor.volumes.persistentVolumeClaim.data.options.claimName": "data",
        },
        num_executors=2,
        executor_cores=4,
        executor_memory="2g",
    )
    conf = {**session_settings(config, tmp_path), "spark.driver.host": "10.0.0.1", "spark.driver.port": "7078"}
    pod = jvm.executor_pod(conf)
    kubernetes_validate.validate(pod, "1.33", strict=True)
    (container,) = pod["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert container["args"] == ["executor"]  # what deploy/entrypoint.sh starts
    assert container["image"] == "hybridspeech:0.1.0"
    assert container["resources"]["requests"] == {"memory": "4480Mi", "cpu": "4"}  # 2g + 4 x 512m + 384m
    assert {"name": "data", "mountPath": "/data", "readOnly": False}.items() <= {
        **next(each for each in container["volumeMounts"] if each["name"] == "data"),
        "readOnly": False,
    }.items()
    assert variables["SPARK_DRIVER_URL"] == "spark://CoarseGrainedScheduler@10.0.0.1:7078"
    assert variables[PRELOAD_VARIABLE] == "hybridspeech.shards.worker:prepare_worker"
    needed = {name for name in (MAIN.parent / "entrypoint.sh").read_text().split('"') if name.startswith("$SPARK_E")}
    assert {name[1:] for name in needed} <= set(variables)


@pytest.mark.cluster
def test_a_session_under_spark_submit_has_the_master_and_settings_of_the_submission(
    tones: Path, tmp_path: Path
) -> None:
    (tmp_path / "events").mkdir()
    command = [
        str(find_spark() / "bin" / "spark-submit"),
        *("--master", "local[1]", "--name", "submitted", "--driver-memory", "512m"),
        *("--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir={tmp_path / 'events'}"),
        *("--conf", f"spark.pyspark.python={sys.executable}"),
        *(str(MAIN), "preprocess", str(tones), str(tmp_path / "out"), "--engine", "spark", "--json"),
    ]
    variables = {
        **os.environ,
        "JAVA_HOME": str(find_java()),
        "PYTHONPATH": str(MAIN.parents[1]),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "index.json").is_file()
    (log,) = (tmp_path / "events").iterdir()
    events = log.read_text(encoding="utf-8")
    assert '"spark.master":"local[1]"' in events
    assert '"spark.app.name":"submitted"' in events
    assert '"spark.python.daemon.module":"hybridspeech.patches.pyspark_daemon"' in events
