"""YARN and Kubernetes as Spark masters, and sessions that spark-submit has started: checks and settings.

Finds jars and settings by their files and variables; imports pyspark only to ask the JVM of spark-submit. Knows nothing of
engines and backends.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from hybridspeech.clusters.addresses import connection_errors
from hybridspeech.clusters.spark_settings import find_spark
from hybridspeech.errors import ConfigError

IMAGE = "spark.kubernetes.container.image"
PYTHON_WORKER_MB = 512
"""Memory of a Python worker that computes features."""
_KNOWN = re.compile(r"local(\[.*\])?|local-cluster\[.*\]|spark://.+|yarn|k8s://.+")
_API_SERVER = re.compile(r"k8s://(?:(?P<scheme>https?)://)?(?P<host>[^:/]+)(?::(?P<port>\d+))?/?")


def check_manager(master: str, conf: Mapping[str, str]) -> None:
    """Check a master URL, and that this machine has what its cluster manager needs, before anything starts.

    Parameters
    ----------
    conf : Spark settings of the session

    Raises
    ------
    ConfigError: the master is unknown, the installed pyspark lacks its jars, or a setting or variable is missing.
    """
    if not _KNOWN.fullmatch(master):
        raise ConfigError(
            f"master {master!r} is unknown; expected local[N], local-cluster[N,CORES,MB], spark://HOST:PORT, yarn, or "
            "k8s://https://HOST:PORT"
        )
    if master == "yarn":
        _check_jars("yarn", "YARN")
        _check_hadoop_folder()
    elif master.startswith("k8s://"):
        _check_jars("kubernetes", "Kubernetes")
        _check_kubernetes(master, conf)


def _check_jars(name: str, manager: str) -> None:
    if not any((find_spark() / "jars").glob(f"spark-{name}_*.jar")):
        raise ConfigError(
            f"the pyspark at {find_spark()} has no jars for {manager}; install pyspark from PyPI, which has them, or use a "
            "spark:// master"
        )


def _check_hadoop_folder() -> None:
    folder = os.environ.get("HADOOP_CONF_DIR") or os.environ.get("YARN_CONF_DIR")
    if not folder or not (Path(folder) / "yarn-site.xml").is_file():
        found = f"{folder} has no yarn-site.xml" if folder else "neither is set"
        raise ConfigError(
            f"master yarn needs HADOOP_CONF_DIR or YARN_CONF_DIR, and {found}; set it to the folder with the cluster's "
            "yarn-site.xml and core-site.xml"
        )


def _check_kubernetes(master: str, conf: Mapping[str, str]) -> None:
    address = _API_SERVER.fullmatch(master)
    if address is None:
        raise ConfigError(
            f"master {master!r}: expected k8s://https://HOST:PORT, the address of the Kubernetes API server"
        )
    if not conf.get(IMAGE) and not conf.get("spark.kubernetes.executor.container.image"):
        raise ConfigError(
            f"master {master} needs an image for its executors: build deploy/Dockerfile and add --conf {IMAGE}=NAME"
        )
    port = int(address["port"] or (80 if address["scheme"] == "http" else 443))
    if reasons := connection_errors([(address["host"], port)]):
        raise ConfigError(f"no Kubernetes API server answers at {reasons[0]}; correct --master {master}")


def manager_settings(master: str, worker_mb: int, workers_per_executor: int) -> dict[str, str]:
    """Return default settings for executors that YARN or Kubernetes starts; none for other masters.

    Parameters
    ----------
    worker_mb : memory of one Python worker, in MiB: these managers end an executor that uses more than it requested
    workers_per_executor : Python workers of one executor
    """
    if master != "yarn" and not master.startswith("k8s://"):
        return {}
    overhead = {"spark.executor.memoryOverhead": f"{worker_mb * workers_per_executor + 384}m"}
    if master == "yarn":
        return overhead
    driver = {}
    if (
        "KUBERNETES_SERVICE_HOST" in os.environ
    ):  # the driver is in a pod: executors connect to its address, and end with it
        host = socket.gethostname()
        driver = {"spark.driver.host": socket.gethostbyname(host), "spark.kubernetes.driver.pod.name": host}
    return {**overhead, **driver}


def is_submitted() -> bool:
    """Tell whether spark-submit has started this process: its JVM, and not one of our own, then has the session."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def submitted_settings() -> dict[str, str]:
    """Return the Spark settings of the spark-submit that has started this process; empty if none has."""
    if not is_submitted():
        return {}
    from pyspark import SparkConf
    from pyspark.java_gateway import launch_gateway

    gateway = launch_gateway()
    try:
        return dict(SparkConf(loadDefaults=True, _jvm=gateway.jvm).getAll())
    finally:
        gateway.close()
