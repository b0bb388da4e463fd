"""Calls classes of Spark's jars in a JVM, as spark-submit and Spark's cluster managers do, without a cluster."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark import SparkConf
from pyspark.java_gateway import launch_gateway

from hybridspeech.clusters.spark_settings import spark_environment
from hybridspeech.processes.environment import environment

_CONFIG = "org.apache.spark.internal.config"
CONFIG_OBJECTS = (
    *(f"{_CONFIG}.{name}" for name in ("package", "Python", "UI", "Network", "Status")),
    "org.apache.spark.deploy.yarn.config.package",
    "org.apache.spark.deploy.k8s.Config",
)
PREFIXES = (
    "spark.executorEnv.",
    "spark.yarn.appMasterEnv.",
    "spark.kubernetes.driver.label.",
    "spark.kubernetes.executor.label.",
    "spark.kubernetes.driver.volumes.",
    "spark.kubernetes.executor.volumes.",
    "spark.hadoop.",
)
"""Prefixes of settings with arbitrary names."""
UNREGISTERED = ("spark.master", "spark.app.name", "spark.python.daemon.module")
"""Settings that Spark reads by name, without an entry in its registry."""


@dataclass(frozen=True)
class Submission:
    """The result of spark-submit's preparation: main class, its arguments, and the Spark settings."""

    main_class: str
    arguments: tuple[str, ...]
    conf: Mapping[str, str]


class Jvm:
    """A JVM with Spark's jars on its class path."""

    def __init__(self, gateway: Any) -> None:
        self._jvm = gateway.jvm
        for name in CONFIG_OBJECTS:  # their settings are registered when they are loaded
            self._object(name)

    def _object(self, name: str) -> Any:
        return self._jvm.java.lang.Class.forName(f"{name}$").getField("MODULE$").get(None)

    def _sequence(self, items: Sequence[str]) -> Any:
        values = self._jvm.java.util.ArrayList()
        for item in items:
            values.append(item)
        return self._jvm.scala.collection.JavaConverters.asScalaBufferConverter(values).asScala().toSeq()

    def submission(self, arguments: Sequence[str]) -> Submission:
        """Parse the arguments of spark-submit, and return what it would start."""
        spark = self._jvm.org.apache.spark.deploy
        parsed = spark.SparkSubmitArguments(self._sequence(arguments), self._jvm.scala.sys.package.env())
        prepared = spark.SparkSubmit().prepareSubmitEnvironment(parsed, self._jvm.scala.Option.empty())
        return Submission(
            main_class=prepared._4(),
            arguments=tuple(prepared._1().apply(number) for number in range(prepared._1().size())),
            conf={pair._1(): pair._2() for pair in prepared._3().getAll()},
        )

    def is_setting(self, name: str) -> bool:
        """Return whether Spark has a setting of this name."""
        entries = self._object(f"{_CONFIG}.ConfigEntry")
        return name.startswith(PREFIXES) or name in UNREGISTERED or entries.findEntry(name) is not None

    def executor_pod(self, conf: Mapping[str, str]) -> dict[str, Any]:
        """Return the pod that Spark would request from Kubernetes, as a complete resource."""
        jvm, spark = self._jvm, self._jvm.org.apache.spark
        settings = spark.SparkConf(False)
        for name, value in conf.items():
            settings.set(name, value)
        profile = self._object("org.apache.spark.resource.ResourceProfile").getOrCreateDefaultProfile(settings)
        executor = spark.deploy.k8s.KubernetesConf.createExecutorConf(
            settings, "1", "application", jvm.scala.Option.empty(), 0
        )
        security = spark.SecurityManager(settings, jvm.scala.Option.empty(), None)
        client = jvm.io.fabric8.kubernetes.client.KubernetesClientBuilder().build()
        builder = spark.scheduler.cluster.k8s.KubernetesExecutorBuilder()
        made = builder.buildFromFeatures(executor, security, client, profile).pod()
        to_json = jvm.io.fabric8.kubernetes.client.utils.Serialization.asJson
        pod: dict[str, Any] = json.loads(to_json(made.pod()))
        pod["spec"]["containers"] = [json.loads(to_json(made.container()))]
        return pod


@contextlib.contextmanager
def spark_jvm(folder: Path) -> Iterator[Jvm]:
    """Start a JVM with Spark's jars; `folder` gets its files and an empty Hadoop configuration."""
    (folder / "yarn-site.xml").write_text("<configuration/>", encoding="ascii")
    variables = {**spark_environment(folder), "HADOOP_CONF_DIR": str(folder)}
    with environment(variables), (folder / "jvm.log").open("wb") as log:
        gateway = launch_gateway(SparkConf(loadDefaults=False), {"stdout": log, "stderr": log})
    try:
        yield Jvm(gateway)
    finally:
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(timeout=30)
