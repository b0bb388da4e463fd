"""The cause of an error in Spark's stack traces."""

from __future__ import annotations

import re

import pytest
from py4j.protocol import Py4JError

from hybridspeech.clusters.spark_errors import JVM_ENDED, spark_cause, trace_cause
from hybridspeech.clusters.spark_workers import start_python_workers
from hybridspeech.errors import EngineError


def test_the_cause_in_a_stack_trace_is_its_python_error():
    trace = (
        "An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.\n"
        ": org.apache.spark.SparkException: Job aborted due to stage failure\nTraceback (most recent call last):\n"
        '  File "worker.py", line 1, in main\nFileNotFoundError: [Errno 2] No such file: run\n\n\tat org.apache'
    )
    assert trace_cause(trace) == "FileNotFoundError: [Errno 2] No such file: run"


def test_the_cause_in_a_java_error_is_its_message():
    trace = "An error occurred while calling o1.x.\n: java.net.BindException: Address already in use\n\tat sun.nio"
    assert trace_cause(trace) == "Address already in use"


def test_a_failed_partition_is_the_cause():
    trace = "Traceback (most recent call last):\nValueError: x\nhybridspeech.errors.EngineError: partition 3 failed: no"
    assert trace_cause(trace) == "partition 3 failed: no"


def test_a_lost_connection_means_that_the_jvm_has_ended():
    assert spark_cause(Py4JError("Answer from Java side is empty")) == JVM_ENDED
    assert spark_cause(ConnectionResetError()) == JVM_ENDED


def test_another_error_is_one_line():
    assert spark_cause(KeyError("a\nb")) == "KeyError: 'a\\nb'"


def test_a_jvm_that_ends_before_the_python_workers_start_is_one_sentence() -> None:
    class Ended:
        @property
        def defaultParallelism(self) -> int:
            raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(EngineError, match=f"^{re.escape(JVM_ENDED)}$"):
        start_python_workers(Ended())  # type: ignore[arg-type]
