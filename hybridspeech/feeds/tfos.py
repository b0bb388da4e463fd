"""Spark features -> InputMode.SPARK of TensorFlowOnSpark: each executor makes and feeds the records of its rank.

    executor   feed task: clips -> chunks -> TensorFlowOnSpark's queue -> the rank's process, which stores them

Each round of the feed is a Spark job with one task per executor. A task finds out which rank runs on its executor, and
makes that rank's shards. It waits until all tasks of the round have started, so that no executor has two tasks and none has
no task. No record crosses from one host to another, nothing is shuffled, and the order in which executors finish does not
matter.

Spark's barrier stages would do the same, but everyone who connects to the port that they open can end the executor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any, ClassVar

from hybridspeech.backends.base import Worker
from hybridspeech.backends.launch import Job
from hybridspeech.backends.tfos import (
    POLL_S,
    Node,
    executors,
    launch,
    new_node,
    start_nodes,
    translated_errors,
)
from hybridspeech.engines.spark_job import QueueAccumulator
from hybridspeech.errors import BackendError
from hybridspeech.feeds.base import ClipSource, FedWorker, FeedJob
from hybridspeech.patches.tensorflowonspark import close_inherited_connections, feed_nodes, node_rank, patch_fed_nodes
from hybridspeech.processes.supervision import is_alive
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.plan import ShardTask
from hybridspeech.shards.record_store import Chunk
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.status_exchange import EXCHANGE_S, messages_of
from hybridspeech.training.worker_status import WorkerStatus

WORKER_REUSE = {"spark.python.worker.reuse": "true"}
"""InputMode.SPARK needs it: the rank is a child of the Python worker, and later tasks find its queue through the worker."""


class TFoSFeed:
    """The backend `tfos`, fed with the clips of `source`; a TrainingBackend.

    Parameters
    ----------
    memory_bytes : how much of its records each worker keeps in memory
    """

    name: ClassVar[str] = "tfos"

    def __init__(self, source: ClipSource, memory_bytes: int) -> None:
        self._source, self._memory_bytes = source, memory_bytes

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run` and `FeedJob.run`."""
        fed = FedWorker(worker=worker, memory_bytes=self._memory_bytes)
        return launch(plan, fed, partial(drive, self._source))


def drive(source: ClipSource, job: Job) -> None:
    """Run the driver process: start Spark and the ranks, feed them, and wait until they have ended."""
    plan = job.plan
    with executors(job, WORKER_REUSE) as context, translated_errors():
        node = new_node(FedNode, job)
        cluster = start_nodes(context, plan.cluster, node, "SPARK")
        while context.statusTracker().getActiveJobsIds():  # they occupy the executors until each rank's process runs
            time.sleep(POLL_S)
        rounds, feed = count(1), FeedJob(source, plan)

        def on_executors(items: Callable[[int], Iterable[Any]]) -> Any:
            """Return an RDD of items(rank) on the executor of each rank."""
            ranks = plan.cluster.num_workers
            return context.parallelize(range(ranks), ranks).mapPartitions(FeedTask(node, next(rounds), items))

        def make(parts: list[list[ShardTask]], generation: int) -> None:
            records = context.accumulator([], QueueAccumulator(feed))
            chunks = partial(_shard_chunks, source.without_clips(), parts, generation, records)
            feed_nodes(cluster, on_executors(chunks))

        index = feed.run(make)
        feed_nodes(cluster, on_executors(lambda rank: [index]))
        on_executors(partial(_await_end, plan)).count()


def _shard_chunks(
    source: ClipSource, parts: list[list[ShardTask]], generation: int, records: Any, rank: int
) -> Iterator[Chunk]:
    """Yield the chunks of one rank on its executor, and send the records of its shards to the driver."""
    for item in source.chunks(parts[rank], generation):
        if isinstance(item, ShardRecord):
            records.add([item])
        else:
            yield item


def _await_end(plan: TrainPlan, rank: int) -> Iterator[Any]:
    """Wait on an executor until the process of its rank has ended; if the executor is lost, Spark's job fails."""
    status = WorkerStatus(messages_of(plan))
    while not (pid := status.read(rank).get("pid")):  # its first status is on the way to the store
        time.sleep(EXCHANGE_S)
    while is_alive(pid):
        time.sleep(POLL_S)
    yield from ()


class FeedTask:
    """The function of a task on each executor: returns items(rank) for the rank there, once all tasks of the round run.

    An executor has one slot, so each executor then has one task.
    """

    def __init__(self, node: Node, round_: int, items: Callable[[int], Iterable[Any]]) -> None:
        self._plan, self._round, self._items = node.job.plan, round_, items
        self.key, self.address = node.key, node.address

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        patch_fed_nodes(self.key, self.address)

    def __call__(self, _: Iterable[int]) -> Iterable[Any]:
        rank = node_rank()
        self._wait_for_all(rank)
        return self._items(rank)

    def _wait_for_all(self, rank: int) -> None:
        status, cluster = WorkerStatus(messages_of(self._plan)), self._plan.cluster
        status.write_feeder_round(rank, self._round)
        deadline = time.monotonic() + cluster.start_timeout_s
        while absent := [each for each in range(cluster.num_workers) if status.read_feeder_round(each) < self._round]:
            if time.monotonic() > deadline:
                raise BackendError(
                    f"no task to feed worker {absent[0]} has started within {cluster.start_timeout_s:g} s; its executor "
                    "was lost or is busy: raise the start time-out, or free it"
                )
            time.sleep(EXCHANGE_S if self._plan.store else POLL_S)


class FedNode(Node):
    """A node that is fed: its rank runs in a child of Spark's Python worker."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        patch_fed_nodes(self.key, self.address)

    def worker_arguments(self, context: Any) -> tuple[object, ...]:
        """Return the items in the node's queue."""
        close_inherited_connections()
        return (_queued_items(context.mgr.get_queue("input")),)


def _queued_items(queue: Any) -> Iterator[Chunk | ShardIndex]:
    while True:
        item = queue.get()
        yield item
        queue.task_done()  # only now: the feed task ends when its items are stored
