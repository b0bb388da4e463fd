"""Access to the gateway (the py4j connection to the JVM) that pyspark keeps in private class attributes.

Written against: pyspark 3.5.7.

Reason: pyspark keeps one JVM per process for ever, prints its output, and has no public way to start another, to put one
aside, or to count the executors.

Without it: a second session with other settings reuses the first JVM with its old settings; a killed JVM makes every later
session of the process fail; the output of the JVM appears on the user's terminal.

It can go when: pyspark can start and end a JVM of its own for a session (Spark Connect does).
"""

from __future__ import annotations

from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway


def active_context() -> SparkContext | None:
    """Return the SparkContext that is active in this process, if there is one."""
    return SparkContext._active_spark_context


def current_gateway() -> Any:
    """Return pyspark's gateway to the JVM; None if no JVM was started. Its `proc` is the JVM's process, if pyspark owns it."""
    return SparkContext._gateway


def exchange_gateway(gateway: Any) -> Any:
    """Make pyspark use `gateway` (None: start a new JVM when one is needed); return the one that it used before."""
    before = SparkContext._gateway
    SparkContext._gateway = gateway
    SparkContext._jvm = None if gateway is None else gateway.jvm
    return before


def start_jvm(settings: SparkConf, popen_options: dict[str, Any]) -> None:
    """Start a JVM for the next SparkContext.

    Parameters
    ----------
    popen_options : arguments for subprocess.Popen, e.g. where the output goes
    """
    exchange_gateway(launch_gateway(settings, popen_options))


def count_executors(context: SparkContext) -> int:
    """Count the executors that have registered; 0 for a local master, whose only executor is the driver."""
    return int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1
