"""`Engine.map_partitions` as one Spark job on an open SparkContext: the engines spark and raydp share it.

The partitions are part of their tasks. Each result comes back through an accumulator when its task ends: Spark applies the
update of a finished partition once, also after retries and speculative copies. Knows nothing of how a session starts.
"""

from __future__ import annotations

import math
import os
import queue
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import psutil
from py4j.protocol import Py4JError
from pyspark import InheritableThread, SparkContext
from pyspark.accumulators import AccumulatorParam

from hybridspeech.clusters.process_roles import cluster_processes, describe_ended, describe_stopped
from hybridspeech.clusters.spark_errors import spark_cause
from hybridspeech.engines.base import attempt, open_outcome, stalled
from hybridspeech.errors import EngineError
from hybridspeech.patches.pyspark_daemon import remove_spark_archives
from hybridspeech.processes.supervision import process_tree
from hybridspeech.processes.time_limit import finishes_within

T = TypeVar("T")
R = TypeVar("R")

CANCEL_TIMEOUT_S = 10.0


def run_partitions(
    context: SparkContext,
    function: Callable[[Sequence[T]], R],
    partitions: Sequence[Sequence[T]],
    on_done: Callable[[R], None] | None = None,
    stall_timeout_s: float = math.inf,
) -> list[R]:
    """Run `Engine.map_partitions` on an open SparkContext. No task runs afterwards, also after an error or Ctrl-C.

    Parameters
    ----------
    stall_timeout_s : longest time in which no partition is finished

    Raises
    ------
    EngineError: Spark failed or stalled; the message names the processes of this machine that were killed or are stopped.
    """
    if not partitions:
        return []
    processes = cluster_processes(os.getpid())
    arrivals: queue.SimpleQueue[tuple[int, bytes] | BaseException | None] = queue.SimpleQueue()
    accumulator = context.accumulator([], QueueAccumulator(arrivals))
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
        thread.start()  # it calls the JVM
    except (Py4JError, OSError) as error:
        raise EngineError(spark_cause(error)) from error
    results: dict[int, R] = {}
    try:
        for i, outcome in _outcomes(arrivals, processes, stall_timeout_s):
            results[i] = open_outcome(outcome)
            if on_done is not None:
                on_done(results[i])
    finally:
        if thread.is_alive() and finishes_within(CANCEL_TIMEOUT_S, lambda: context.cancelJobsWithTag(tag)):
            thread.join(timeout=30)
    lost = [i for i in range(len(partitions)) if i not in results]
    if lost:
        raise EngineError(f"Spark lost the results of {len(lost)} partitions (the first is {lost[0]}); run it again")
    return [results[i] for i in range(len(partitions))]


class QueueAccumulator(AccumulatorParam):  # type: ignore[misc]
    """Collects a list in each task, and passes its items to an object with ``put`` on the driver, which stays there."""

    def __init__(self, arrivals: Any = None) -> None:
        self._arrivals = arrivals

    def __reduce__(self) -> tuple[type[QueueAccumulator], tuple[()]]:
        return (QueueAccumulator, ())

    def zero(self, value: list[Any]) -> list[Any]:
        return []

    def addInPlace(self, value1: list[Any], value2: list[Any]) -> list[Any]:
        if self._arrivals is None:
            return value1 + value2
        for item in value2:
            self._arrivals.put(item)
        return value1


def _outcomes(
    arrivals: queue.SimpleQueue[Any], processes: Mapping[psutil.Process, str], stall_timeout_s: float
) -> Iterator[tuple[int, bytes]]:
    """Yield outcomes as they arrive, until the job has ended."""
    timeout_s = None if math.isinf(stall_timeout_s) else stall_timeout_s
    while True:
        try:
            item = arrivals.get(timeout=timeout_s)
        except queue.Empty:
            raise stalled(stall_timeout_s, describe_stopped(process_tree(os.getpid()), processes)) from None
        if item is None:
            return
        if isinstance(item, BaseException):
            raise EngineError(f"{spark_cause(item)}{describe_ended(processes)}") from item
        yield item
