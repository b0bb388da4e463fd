"""Spark's Python workers in a session that hybridspeech starts: their settings, and their start. Knows nothing of sessions."""

from __future__ import annotations

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from hybridspeech.clusters.spark_errors import JVM_ENDED, spark_cause
from hybridspeech.clusters.spark_settings import executor_environment
from hybridspeech.errors import EngineError
from hybridspeech.patches.pyspark_daemon import PRELOAD_VARIABLE
from hybridspeech.processes.environment import SINGLE_THREADED

PRELOADED = ("hybridspeech.shards.worker:prepare_worker",)


def worker_settings() -> dict[str, str]:
    """Return Spark settings of the Python workers."""
    return {
        "spark.python.worker.faulthandler.enabled": "true",  # a crash of a worker names its line
        "spark.python.daemon.module": "hybridspeech.patches.pyspark_daemon",
        **executor_environment({**SINGLE_THREADED, PRELOAD_VARIABLE: ",".join(PRELOADED)}),
    }


def start_python_workers(context: SparkContext) -> None:
    """Have Spark start its Python workers, one per core, so that the first job does not wait for them.

    Raises
    ------
    EngineError: they do not start, e.g. because executors have another version of Python, or the JVM has ended.
    """
    try:
        slots = context.defaultParallelism
        context.parallelize(range(slots), slots).foreachPartition(lambda items: None)
    except (Py4JError, PySparkException, OSError) as error:
        cause = spark_cause(error)
        if cause == JVM_ENDED:
            raise EngineError(cause) from error
        raise EngineError(
            f"Spark's Python workers do not start: {cause}; executors need the driver's version of Python, "
            "with hybridspeech: name it with --conf spark.pyspark.python=PATH"
        ) from error
