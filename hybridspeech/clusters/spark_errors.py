"""The cause in an error of Spark, which is pages of Java and Python stack traces. Knows nothing of sessions."""

from __future__ import annotations

import re

from py4j.protocol import Py4JError, Py4JNetworkError

from hybridspeech.clusters.ray_errors import ran_out_of_memory, ray_cause
from hybridspeech.errors import one_line

JVM_ENDED = "Spark's JVM has ended: it was killed, or ran out of memory (--conf spark.driver.memory=4g gives it more)"
REFUSED_ADVICE = (
    "spark.authenticate or its secret differ: write spark.authenticate, spark.authenticate.secret and "
    "spark.network.crypto.enabled of the cluster to spark-defaults.conf in SPARK_CONF_DIR, where only you can read it"
)
_REFUSED = re.compile(r"SaslMessage|SaslException|AuthRpcHandler|Exception while bootstrapping client")
_PATTERNS = (
    ("", r"EngineError: (partition \d+ failed: .*)"),  # raised by hybridspeech in a Python worker
    ("", r"^([A-Za-z_][\w.]*(?:Error|Exception|Exit)\b.*)$"),  # the last line of a Python traceback
    ("Spark gave up on a task: ", r"most recent failure: .*?\): (?:[\w.$]+: )?(.*)"),
    ("", r"^: (?:[\w.$]+: )?(.*)$"),  # the Java exception in a Py4JJavaError
)


def spark_cause(error: BaseException) -> str:
    """Return the cause of an error that pyspark, py4j or Ray raised, in one line."""
    is_connection_lost = type(error) is Py4JError and "Trace:" not in str(error)
    if is_connection_lost or isinstance(error, (Py4JNetworkError, ConnectionError)):
        return JVM_ENDED
    if ran_out_of_memory(error):  # of Ray, under RayDP
        return ray_cause(error)
    return trace_cause(str(error)) or one_line(error)[:300]


def is_refused(log: str) -> bool:
    """Tell whether the output of a driver JVM shows that the master refused it: their secrets differ, or one has none."""
    return "Failed to connect to master" in log and _REFUSED.search(log) is not None


def trace_cause(text: str) -> str:
    """Return the line of a stack trace that names the cause; "" if there is none."""
    for prefix, pattern in _PATTERNS:
        found = re.search(pattern, text, re.MULTILINE)
        if found:
            return prefix + found.group(1).strip(" :")
    return ""
