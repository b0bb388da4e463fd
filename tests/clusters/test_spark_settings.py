"""Settings and environment of Spark, and kinds of masters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybridspeech.clusters.spark_settings import find_spark, has_executors, is_on_this_machine, spark_environment


def test_spark_is_found_without_importing_it() -> None:
    code = (
        "import sys; from hybridspeech.clusters.spark_settings import find_spark; find_spark(); "
        "assert 'pyspark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    assert (find_spark() / "bin" / "spark-class").is_file()


def test_spark_finds_java_python_and_its_own_home(tmp_path: Path) -> None:
    variables = spark_environment(tmp_path)
    assert Path(variables["PATH"].split(os.pathsep)[0]) == Path(variables["JAVA_HOME"]) / "bin"
    assert variables["PYSPARK_PYTHON"] == sys.executable
    assert Path(variables["SPARK_HOME"]) == find_spark()


def test_a_cluster_on_other_machines_can_reach_the_driver(tmp_path: Path) -> None:
    assert spark_environment(tmp_path)["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert "SPARK_LOCAL_IP" not in spark_environment(tmp_path, loopback=False)


@pytest.mark.parametrize(
    ("master", "here"),
    [
        ("local[*]", True),
        ("local-cluster[2,1,1024]", True),
        ("spark://127.0.0.1:7077", True),
        ("spark://127.0.0.1:7077,far:7077", False),
        ("spark://far:7077", False),
        ("yarn", False),
    ],
)
def test_loopback_is_for_masters_on_this_machine(master: str, here: bool) -> None:
    assert is_on_this_machine(master) is here


@pytest.mark.parametrize(
    ("master", "executors"),
    [
        ("local", False),
        ("local[2]", False),
        ("local[*,4]", False),
        ("local-cluster[2,1,1024]", True),
        ("spark://a:1", True),
    ],
)
def test_only_a_local_master_has_no_executors(master: str, executors: bool) -> None:
    assert has_executors(master) is executors
