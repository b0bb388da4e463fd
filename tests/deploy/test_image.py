"""The container image: Dockerfile, build context and entry point."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hybridspeech.clusters.java import find_java
from hybridspeech.clusters.pack import EXTRAS
from hybridspeech.clusters.spark_settings import find_spark

FOLDER = Path(__file__).parents[2] / "deploy"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
ENTRYPOINT = FOLDER / "entrypoint.sh"


def program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def test_the_dockerfile_has_no_finding_of_hadolint() -> None:
    done = subprocess.run([program("hadolint"), str(FOLDER / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_entry_point_has_no_finding_of_shellcheck() -> None:
    done = subprocess.run([program("shellcheck"), str(ENTRYPOINT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_is_pinned_and_does_not_run_as_root() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    assert len(stages) == 2
    assert "--constraint requirements.lock" in stages[0]
    assert re.search(r"^USER (\d+):\1$", stages[1], re.MULTILINE)
    assert "pip" not in stages[1]
    chosen = set(re.findall(r"--extra=(\w+)", DOCKERFILE))
    assert chosen <= set(EXTRAS)


def test_the_build_context_has_only_the_files_that_are_copied() -> None:
    given = set(re.findall(r"^!(\S+)$", (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {name for line in copied for name in line.split()} == given
    assert all((FOLDER.parent / name).exists() for name in given)


@pytest.mark.cluster
def test_the_entry_point_starts_an_executor_with_valid_options(tmp_path: Path) -> None:
    """The address of the driver does not answer: with valid arguments, Spark's executor gets as far as connecting to it."""
    variables = {
        "PATH": os.environ["PATH"],
        "JAVA_HOME": str(find_java()),
        "SPARK_HOME": str(find_spark()),
        "SPARK_JAVA_OPT_0": "-Dspark.rpc.numRetries=1",
        "SPARK_JAVA_OPT_1": f"-Djava.io.tmpdir={tmp_path}",
        "SPARK_EXECUTOR_MEMORY": "512m",
        "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@127.0.0.1:1",
        "SPARK_EXECUTOR_ID": "1",
        "SPARK_EXECUTOR_CORES": "1",
        "SPARK_APPLICATION_ID": "application",
        "SPARK_EXECUTOR_POD_IP": "127.0.0.1",
        "SPARK_RESOURCE_PROFILE_ID": "0",
        "SPARK_EXECUTOR_POD_NAME": "pod",
    }
    command = ["bash", str(ENTRYPOINT), "executor"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "Failed to connect to /127.0.0.1:1" in done.stderr, done.stderr
    assert "Unrecognized option" not in done.stderr


def test_the_entry_point_runs_other_commands(tmp_path: Path) -> None:
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", str(ENTRYPOINT), "--version"], env=variables, capture_output=True, text=True)
    assert done.stdout.startswith("hybridspeech "), done.stderr


def test_spark_submit_starts_the_command_line() -> None:
    done = subprocess.run([sys.executable, str(FOLDER / "main.py"), "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("hybridspeech "), done.stderr
