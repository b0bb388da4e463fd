"""Spark features -> InputMode.SPARK of TensorFlowOnSpark: each executor makes the records of its own rank, and feeds them.

    executor   feeding task: clips -> chunks -> TensorFlowOnSpark's queue -> the rank's process, which keeps them

Each round of the feed is a job with one task an executor. A task finds out which rank lives beside it, and makes that
rank's shards; it begins when all tasks have started, so no executor gets two and none is left out. No record crosses from
one host to another, nothing is shuffled, and it does not matter who is done first.

Spark's own barrier stages would do the same, but a stranger who connects to the port that they open ends the executor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any, ClassVar, cast

from hybridspeech.backends.base import Worker
from hybridspeech.backends.launch import Job
from hybridspeech.backends.tfos import (
    POLL_S,
    Node,
    failures_told,
    introduce,
    launch,
    secret_and_address,
    spark_of,
)
from hybridspeech.engines.spark_job import Arrivals
from hybridspeech.errors import BackendError
from hybridspeech.feeds.base import ClipSource, Fed, Feeding
from hybridspeech.patches.tensorflowonspark import close_inherited_connections, feed_nodes, node_rank, patch_fed_nodes
from hybridspeech.processes.supervision import is_alive
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.plan import ShardTask
from hybridspeech.shards.record_store import Chunk
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory

REUSE = {"spark.python.worker.reuse": "true"}
"""InputMode.SPARK asks for it: the rank is a child of the Python worker, and the queue is found again through it."""


class TFoSFeed:
    """The backend `tfos`, fed with `source`; a TrainingBackend.

    Parameters
    ----------
    memory_bytes : of its records, how much each worker keeps in memory
    """

    name: ClassVar[str] = "tfos"

    def __init__(self, source: ClipSource, memory_bytes: int) -> None:
        self._source, self._memory_bytes = source, memory_bytes

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run` and `Feeding.prepare`."""
        fed = cast("Worker", Fed(worker=worker, memory_bytes=self._memory_bytes))
        return launch(plan, fed, partial(drive, self._source))


def drive(source: ClipSource, job: Job) -> None:
    """The driver process: start Spark and the ranks, feed them, wait until they have ended."""
    plan = job.plan
    with spark_of(job, REUSE) as context, failures_told():
        node = FedNode(job, *secret_and_address(plan.cluster))
        cluster = introduce(context, plan.cluster, node, "SPARK")
        while context.statusTracker().getActiveJobsIds():  # they hold the executors until each rank's process runs
            time.sleep(POLL_S)
        rounds, feeding = count(1), Feeding(source, plan)

        def everywhere(items: Callable[[int], Iterable[Any]]) -> Any:
            """An RDD of items(rank), on each rank's executor."""
            ranks = plan.cluster.num_workers
            return context.parallelize(range(ranks), ranks).mapPartitions(Serving(node, next(rounds), items))

        def make(parts: list[list[ShardTask]], generation: int) -> None:
            account = context.accumulator([], Arrivals(feeding))
            feed_nodes(cluster, everywhere(partial(_made, source, parts, generation, account)))

        index = feeding.prepare(make)
        feed_nodes(cluster, everywhere(lambda rank: [index]))
        everywhere(partial(_await_end, plan)).count()


def _made(
    source: ClipSource, parts: list[list[ShardTask]], generation: int, account: Any, rank: int
) -> Iterator[Chunk]:
    """On an executor: the chunks of one rank; the records of the shards go to the driver."""
    for item in source.chunks(parts[rank], generation):
        if isinstance(item, ShardRecord):
            account.add([item])
        else:
            yield item


def _await_end(plan: TrainPlan, rank: int) -> Iterator[Any]:
    """On an executor: nothing, once the rank's process has ended; Spark loses this task if it loses the executor."""
    while is_alive(RunDirectory(plan.run).status.read(rank)["pid"]):
        time.sleep(POLL_S)
    yield from ()


class Serving:
    """What a task on each executor does: `items(rank)` of the rank that lives there, once all tasks of this round run.

    As an executor has room for one task, that is when each has one.
    """

    def __init__(self, node: Node, round_: int, items: Callable[[int], Iterable[Any]]) -> None:
        self._plan, self._round, self._items = node.job.plan, round_, items
        self.key, self.address = node.key, node.address

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        patch_fed_nodes(self.key, self.address)

    def __call__(self, _: Iterable[int]) -> Iterable[Any]:
        rank = node_rank()
        self._meet(rank)
        return self._items(rank)

    def _meet(self, rank: int) -> None:
        run, cluster = RunDirectory(self._plan.run), self._plan.cluster
        run.status.write_feeder_round(rank, self._round)
        deadline = time.monotonic() + cluster.start_timeout_s
        while absent := [
            each for each in range(cluster.num_workers) if run.status.read_feeder_round(each) < self._round
        ]:
            if time.monotonic() > deadline:
                raise BackendError(
                    f"no task to feed worker {absent[0]} has started within {cluster.start_timeout_s:g} s; its executor is "
                    "gone or has other work: raise the start time-out, or free it"
                )
            time.sleep(POLL_S)


class FedNode(Node):
    """A node that is fed: its rank runs in a child of Spark's Python worker."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        patch_fed_nodes(self.key, self.address)

    def given(self, context: Any) -> tuple[object, ...]:
        """What arrives in the queue."""
        close_inherited_connections()
        return (_arriving(context.mgr.get_queue("input")),)


def _arriving(items: Any) -> Iterator[Chunk | ShardIndex]:
    while True:
        item = items.get()
        yield item
        items.task_done()  # only now: the feeding task ends when what it fed is kept
