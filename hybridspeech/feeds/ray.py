"""Spark on Ray -> DataFrame -> Ray Dataset -> TensorflowTrainer: features by RayDP, records through Ray's object store.

    Spark executors (Ray actors)   clips -> chunks, as Arrow batches of a DataFrame
    Ray's object store             one Dataset a rank, materialised; it spills to disk when it is full
    workers                        get_dataset_shard of their rank -> a store of their own

Spark has ended, and its CPUs are free again, when the workers start. A rank is given a Dataset of its own: Ray Train would
deal out a common one in equal parts, and drop what is left over.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, cast

import pyarrow

from hybridspeech.backends.base import Worker, execute_apart
from hybridspeech.backends.launch import Job
from hybridspeech.backends.ray import OBJECT_STORE_BYTES, check_shared, connected, fit, launch
from hybridspeech.clusters.environment import LIGHT_JVM, loopback_conf, spark_environment
from hybridspeech.config import ClusterConfig, EngineConfig
from hybridspeech.engines.raydp import spark_on_ray
from hybridspeech.engines.spark_job import Arrivals, cause
from hybridspeech.errors import BackendError
from hybridspeech.feeds.base import ClipSource, Fed, Feeding
from hybridspeech.patches import raydp_datasets
from hybridspeech.patches.ray_train import skip_tensorflow_import
from hybridspeech.processes.resources import num_cores
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.plan import ShardTask, group_tasks
from hybridspeech.shards.record_store import Chunk
from hybridspeech.training.plan import TrainPlan, WorkerReport

COLUMNS = pyarrow.schema(
    {
        "shard": pyarrow.string(),
        "generation": pyarrow.int64(),
        "offset": pyarrow.int64(),
        "num_records": pyarrow.int64(),
        "data": pyarrow.binary(),
    }
)
SPARK_COLUMNS = "shard string, generation long, offset long, num_records long, data binary"
SPARE_CPUS = 2
"""Of a Ray that is started here, besides the executors': for the tasks that make a Dataset of what Spark has made."""
BYTES_AT_ONCE = 128 << 20
"""Records an executor that are a DataFrame together: its Arrow data is held by Spark until it is in Ray's store."""


class RayFeed:
    """The backend `ray`, fed with `source`; a TrainingBackend.

    Parameters
    ----------
    memory_bytes : of its records, how much is kept in memory for each worker: half in Ray's store, half in the worker's
    """

    name: ClassVar[str] = "ray"

    def __init__(self, source: ClipSource, memory_bytes: int) -> None:
        self._source, self._memory_bytes = source, memory_bytes

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run` and `Feeding.prepare`."""
        fed = cast("Worker", Fed(worker=worker, memory_bytes=self._memory_bytes // 2))
        store_bytes = max(OBJECT_STORE_BYTES, self._memory_bytes // 2 * plan.cluster.num_workers)
        driver = partial(drive, self._source, store_bytes)
        options = " ".join([os.environ.get("JDK_JAVA_OPTIONS", ""), LIGHT_JVM, raydp_datasets.JAVA_OPTIONS]).strip()
        return launch(plan, fed, driver, ("raydp", "pyspark"), {"JDK_JAVA_OPTIONS": options})


def drive(source: ClipSource, store_bytes: int, job: Job) -> None:
    """The driver process: Ray, Spark on it until all records are Datasets, then the workers."""
    cluster, scratch = job.plan.cluster, Path.cwd()
    here = cluster.ray_address is None
    os.environ.update(spark_environment(scratch, loopback=here))  # Ray's processes start JVMs too
    skip_tensorflow_import()
    with connected(cluster, more_cpus=SPARE_CPUS, object_store_bytes=store_bytes):
        check_shared(job.plan)
        datasets: list[list[Any]] = [[] for _ in range(cluster.num_workers)]
        feeding = Feeding(source, job.plan)
        with spark_on_ray(_engine_config(cluster, scratch), to_datasets=True) as context:
            index = feeding.prepare(partial(_make, context, source, feeding, datasets))
        plan, packed = job.plan, job.packed

        def loop() -> None:
            from ray.train import get_context, get_dataset_shard

            rank = get_context().get_world_rank()
            execute_apart(packed, plan, rank, chain(_arriving(get_dataset_shard(str(rank))), [index]))

        from ray.train import DataConfig

        whole = {str(rank): first.union(*others) if others else first for rank, (first, *others) in enumerate(datasets)}
        fit(plan, loop, datasets=whole, dataset_config=DataConfig(datasets_to_split=[]))


def _engine_config(cluster: ClusterConfig, scratch: Path) -> EngineConfig:
    """Executors for all CPUs but a few, on which their results become Datasets."""
    import ray

    here = cluster.ray_address is None
    free = int(ray.available_resources().get("CPU", 0))
    return EngineConfig(
        num_executors=num_cores() if here else max(1, free - SPARE_CPUS),
        executor_cores=1,
        conf={**raydp_datasets.FETCH_SETTINGS, **(loopback_conf(scratch) if here else {}), **cluster.conf},
        verbose=cluster.verbose,
    )


def _make(
    context: Any,
    source: ClipSource,
    feeding: Feeding,
    datasets: list[list[Any]],
    parts: list[list[ShardTask]],
    generation: int,
) -> None:
    """Add to the Datasets of each rank those of its shards, some shards at a time."""
    clip_bytes = 4 * math.prod(source.features.shape)
    most = max(1, BYTES_AT_ONCE * context.defaultParallelism // clip_bytes)
    for rank, tasks in enumerate(parts):
        for some in _split(tasks, most):
            account = context.accumulator([], Arrivals(feeding))
            datasets[rank].append(_dataset(context, source, some, generation, account))


def _split(tasks: Sequence[ShardTask], most: int) -> Iterator[list[ShardTask]]:
    """Runs of the tasks, in order, of at most so many clips; a larger task is a run of its own."""
    some: list[ShardTask] = []
    for task in tasks:
        if some and sum(len(each.clips) for each in (*some, task)) > most:
            yield some
            some = []
        some.append(task)
    if some:
        yield some


def _dataset(context: Any, source: ClipSource, tasks: Sequence[ShardTask], generation: int, account: Any) -> Any:
    """A materialised Ray Dataset of the chunks of some shards, which Spark makes, a task a group of shards."""
    import ray
    from pyspark.sql import SparkSession

    groups = group_tasks(tasks)

    def batches(numbers: Iterable[Any]) -> Iterator[Any]:
        for batch in numbers:
            for item in source.chunks(chain(*(groups[i] for i in batch.column(0).to_pylist())), generation):
                if isinstance(item, ShardRecord):
                    account.add([item])
                else:
                    row = [[getattr(item, name)] for name in COLUMNS.names]
                    yield pyarrow.RecordBatch.from_arrays(
                        [pyarrow.array(value, kind) for value, kind in zip(row, COLUMNS.types, strict=True)],
                        schema=COLUMNS,
                    )

    spark = SparkSession(context)
    frame = spark.range(0, len(groups), 1, len(groups)).mapInArrow(batches, SPARK_COLUMNS)
    try:
        dataset = ray.data.from_spark(frame).materialize()
        raydp_datasets.release(frame)
    except Exception as error:  # of Spark or of Ray; it must be read while Spark's JVM lives
        raise BackendError(f"Spark on Ray made no Dataset of its records: {cause(error)}") from error
    return dataset


def _arriving(shard: Any) -> Iterator[Chunk]:
    """In a worker: its chunks, without copies."""
    for batch in shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for number in range(batch.num_rows):
            row = {name: batch[name][number] for name in COLUMNS.names}
            data = memoryview(row.pop("data").as_buffer())
            yield Chunk(data=data, **{name: value.as_py() for name, value in row.items()})
