"""`Engine.map_partitions` as one Spark job, on any open SparkContext: the engines spark and raydp share it.

Partitions travel inside their tasks. Results come back through an accumulator, as each task ends: Spark applies the
update of a finished partition once, whatever was retried or run twice. Knows nothing of how a session opens and closes.
"""

from __future__ import annotations

import contextlib
import queue
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import InheritableThread, SparkContext
from pyspark.accumulators import AccumulatorParam
from pyspark.errors import PySparkException

from hybridspeech.clusters.environment import executor_environment
from hybridspeech.engines.base import attempt, open_outcome
from hybridspeech.errors import EngineError, one_line
from hybridspeech.patches.pyspark_daemon import PRELOAD_VARIABLE, remove_spark_archives
from hybridspeech.processes.environment import SINGLE_THREADED

T = TypeVar("T")
R = TypeVar("R")

PRELOADED = ("hybridspeech.shards.worker:prepare_worker",)


def run_partitions(
    context: SparkContext,
    function: Callable[[Sequence[T]], R],
    partitions: Sequence[Sequence[T]],
    on_done: Callable[[R], None] | None = None,
) -> list[R]:
    """`Engine.map_partitions` on an open SparkContext. Leaves no task running, also after an error or Ctrl-C."""
    if not partitions:
        return []
    arrivals: queue.SimpleQueue[tuple[int, bytes] | BaseException | None] = queue.SimpleQueue()
    accumulator = context.accumulator([], Arrivals(arrivals))
    tag = f"hybridspeech-{uuid.uuid4().hex}"

    def task(items: Iterable[tuple[int, Sequence[T]]]) -> None:
        remove_spark_archives()
        for i, partition in items:
            accumulator.add([(i, attempt(function, i, partition))])

    def job() -> None:
        try:
            context.addJobTag(tag)
            context.parallelize(list(enumerate(partitions)), len(partitions)).foreachPartition(task)
            arrivals.put(None)
        except BaseException as error:  # noqa: BLE001 - raised on the caller's thread
            arrivals.put(error)

    thread = InheritableThread(target=job, daemon=True)
    try:
        thread.start()  # asks the JVM
    except (Py4JError, OSError) as error:
        raise EngineError(cause(error)) from error
    results: dict[int, R] = {}
    try:
        for i, outcome in _arriving(arrivals):
            results[i] = open_outcome(outcome)
            if on_done is not None:
                on_done(results[i])
    finally:
        if thread.is_alive():
            with contextlib.suppress(Py4JError, OSError):
                context.cancelJobsWithTag(tag)
            thread.join(timeout=30)
    lost = [i for i in range(len(partitions)) if i not in results]
    if lost:
        raise EngineError(f"Spark brought no result for {len(lost)} partitions (the first is {lost[0]}); run it again")
    return [results[i] for i in range(len(partitions))]


def worker_conf() -> dict[str, str]:
    """Spark settings of the Python workers in a session that is started here."""
    return {
        "spark.python.worker.faulthandler.enabled": "true",  # a crash of a worker names its line
        "spark.python.daemon.module": "hybridspeech.patches.pyspark_daemon",
        **executor_environment({**SINGLE_THREADED, PRELOAD_VARIABLE: ",".join(PRELOADED)}),
    }


def start_workers(context: SparkContext) -> None:
    """Have Spark start its Python workers, one a core: part of the start of a session, not of its first job.

    Raises
    ------
    EngineError: they do not start, e.g. because executors have another version of Python.
    """
    slots = context.defaultParallelism
    try:
        context.parallelize(range(slots), slots).foreachPartition(lambda items: None)
    except (Py4JError, PySparkException) as error:
        raise EngineError(
            f"Spark's Python workers do not start: {cause(error)}; executors need the driver's version of Python, with "
            "hybridspeech: name it with --conf spark.pyspark.python=PATH"
        ) from error


class Arrivals(AccumulatorParam):  # type: ignore[misc]
    """Collects a list in a task; on the driver, passes what arrives to a queue (a thing with `put`), which stays there."""

    def __init__(self, arrivals: Any = None) -> None:
        self._arrivals = arrivals

    def __reduce__(self) -> tuple[type[Arrivals], tuple[()]]:
        return (Arrivals, ())

    def zero(self, value: list[Any]) -> list[Any]:
        return []

    def addInPlace(self, value1: list[Any], value2: list[Any]) -> list[Any]:
        if self._arrivals is None:
            return value1 + value2
        for item in value2:
            self._arrivals.put(item)
        return value1


def _arriving(arrivals: queue.SimpleQueue[Any]) -> Iterator[tuple[int, bytes]]:
    """Outcomes as they come, until the job has ended."""
    while (item := arrivals.get()) is not None:
        if isinstance(item, BaseException):
            raise EngineError(cause(item)) from item
        yield item


def cause(error: BaseException) -> str:
    """One line on what went wrong, out of the pages that Spark writes about it."""
    no_answer = type(error) is Py4JError and "Trace:" not in str(error)  # py4j's word for a connection that broke
    if no_answer or isinstance(error, (Py4JNetworkError, ConnectionError)):
        return (
            "Spark's JVM has ended: it was killed, or ran out of memory (--conf spark.driver.memory=4g gives it more)"
        )
    text = str(error)
    for prefix, pattern in (
        ("", r"EngineError: (partition \d+ failed: .*)"),  # from `attempt`, at the end of a Python traceback
        ("Spark gave up on a task: ", r"most recent failure: .*?\): (?:[\w.$]+: )?(.*)"),
        ("", r"^: (?:[\w.$]+: )?(.*)$"),  # the Java exception behind a Py4JJavaError
    ):
        found = re.search(pattern, text, re.MULTILINE)
        if found:
            return prefix + found.group(1).strip(" :")
    return one_line(error)[:300]
