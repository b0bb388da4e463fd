"""Spark settings and environment variables that do not depend on what a session is used for.

Finds pyspark without importing it. Knows nothing of engines and backends.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from hybridspeech.clusters.addresses import LOOPBACK
from hybridspeech.clusters.java import LIGHT_JVM, find_java
from hybridspeech.errors import MissingExtraError
from hybridspeech.processes.environment import python_path
from hybridspeech.registry import missing_extra


def find_spark() -> Path:
    """Find the SPARK_HOME of the installed pyspark. Another Spark, named by SPARK_HOME, would not fit its Python code.

    Raises
    ------
    MissingExtraError: pyspark is not installed.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingExtraError(missing_extra("spark", "Spark", "pyspark"))
    folder = Path(spec.origin).parent
    if not folder.is_dir():  # spark-submit imports pyspark from an archive, and sets SPARK_HOME
        return Path(os.environ["SPARK_HOME"])
    return folder


def has_executors(master: str) -> bool:
    """Tell whether tasks run in processes other than the driver's JVM."""
    return re.fullmatch(r"local(\[.*\])?", master) is None


def is_started_here(master: str) -> bool:
    """Tell whether the session starts all of Spark's processes (``local``, ``local-cluster``) and ends them."""
    return master.startswith("local")


def is_on_this_machine(master: str) -> bool:
    """Tell whether all of Spark's processes run on this machine, also if another process has started them."""
    hosts = [host for host, _ in master_addresses(master)]
    return is_started_here(master) or (bool(hosts) and set(hosts) <= {LOOPBACK, "localhost"})


def master_addresses(master: str) -> list[tuple[str, int]]:
    """Return (host, port) of each standalone master in a master URL; empty for other kinds of master."""
    return [(host, int(port)) for host, port in re.findall(r"(?:^spark://|,)([^:,]+):(\d+)", master)]


def spark_environment(scratch: Path, *, loopback: bool = True) -> dict[str, str]:
    """Return environment variables for a process that starts Spark.

    Parameters
    ----------
    scratch : folder for Spark's own files (shuffle, logs of executors); the caller removes it
    loopback : listen on 127.0.0.1 only; False for a cluster on other machines, which must reach this one

    Raises
    ------
    JavaError: there is no Java that Spark can use. MissingExtraError: pyspark is not installed.
    """
    java = find_java()
    return {
        "JAVA_HOME": str(java),
        "PATH": os.pathsep.join([str(java / "bin"), os.environ.get("PATH", os.defpath)]),  # RayDP starts a bare `java`
        "SPARK_HOME": str(find_spark()),
        "PYSPARK_PYTHON": sys.executable,  # else executors take the python3 of PATH
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(scratch / "local"),
        "SPARK_WORKER_DIR": str(scratch / "work"),
        **({"SPARK_LOCAL_IP": LOOPBACK} if loopback else {}),
    }


def executor_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return Spark settings that put `variables` into the environment of executors and their Python workers."""
    return {f"spark.executorEnv.{name}": value for name, value in variables.items()}


def loopback_settings(scratch: Path) -> dict[str, str]:
    """Return Spark settings for a master on this machine: listen on loopback, keep all files in `scratch`, no web page."""
    return {
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.jars.ivy": str(scratch / "ivy"),  # else below the home folder, which a user without an account lacks
        # A separate folder: an executor that is killed leaves libraries there.
        "spark.executor.extraJavaOptions": f"-Djava.io.tmpdir={scratch} {LIGHT_JVM}",
        **executor_environment({"SPARK_LOCAL_IP": LOOPBACK, "PYTHONPATH": python_path()}),
    }


def authentication_settings(master: str) -> dict[str, str]:
    """Return Spark settings with a new secret, if the session starts all of Spark's processes; else none.

    Without a secret every local user could run code through the ports of the driver, the master and the workers.
    """
    if not is_started_here(master):
        return {}
    return {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secrets.token_hex(32),
        "spark.network.crypto.enabled": "true",
    }


def is_secret(key: str) -> bool:
    """Tell whether a Spark setting holds a secret, by its name; Spark uses the same rule for its logs."""
    return re.search(r"(?i)secret|password|token|access[.]?key", key) is not None


def driver_jvm_settings(scratch: Path) -> dict[str, str]:
    """Return Spark settings of a driver JVM that only schedules work: light, with its temporary files in `scratch`."""
    return {"spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={scratch} {LIGHT_JVM}"}
