"""Spark on Ray -> DataFrame -> Ray Dataset -> TensorflowTrainer: features by RayDP, records through Ray's object store.

    Spark executors (Ray actors)   clips -> chunks, as Arrow batches of a DataFrame
    Ray's object store             one Dataset per rank, materialised; Ray spills it to disk when the store is full
    workers                        get_dataset_shard of their rank -> record store

Spark has ended, and its CPUs are free, when the workers start. Each rank has its own Dataset, because Ray Train would
divide a common one into equal parts and drop the rest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import pyarrow

from hybridspeech.backends.base import Worker, execute_in_worker_process
from hybridspeech.backends.launch import Job
from hybridspeech.backends.ray import OBJECT_STORE_BYTES, LocalRay, check_shared, connected, fit, launch
from hybridspeech.clusters.java import LIGHT_JVM
from hybridspeech.clusters.spark_errors import spark_cause
from hybridspeech.clusters.spark_on_ray import SparkOnRaySettings, environment_for_spark, spark_on_ray
from hybridspeech.config import ClusterConfig
from hybridspeech.engines.spark_job import QueueAccumulator
from hybridspeech.errors import BackendError, ConfigError
from hybridspeech.feeds.base import ClipSource, FedWorker, FeedJob
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
"""CPUs of a Ray that is started here besides the executors': for the tasks that turn Spark's results into a Dataset."""
NO_JAVA_OPTIONS = (
    "; the JVMs of RayDP need JDK_JAVA_OPTIONS in the environment of every `ray start` "
    "(see 'Run on a Ray cluster' in the documentation; `hybridspeech doctor --ray-address` names the nodes without it)"
)
MAX_DATASET_BYTES = 128 << 20
"""Records per executor in one DataFrame: Spark keeps its Arrow data until it is in Ray's object store."""


class RayFeed:
    """The backend `ray`, fed with the clips of `source`; a TrainingBackend.

    Parameters
    ----------
    memory_bytes : how much of its records is kept in memory per worker: half in Ray's store, half in the worker
    """

    name: ClassVar[str] = "ray"

    def __init__(self, source: ClipSource, memory_bytes: int) -> None:
        self._source, self._memory_bytes = source, memory_bytes

    def run(self, plan: TrainPlan, worker: Worker) -> list[WorkerReport]:
        """See `TrainingBackend.run` and `FeedJob.run`."""
        if plan.cluster.environment:
            raise ConfigError(
                "run --backend ray can't use --environment: RayDP's JVMs load the jars of pyspark and raydp from the "
                "driver's path on every node; use an image with hybridspeech, or preprocess and train --backend ray"
            )
        fed = FedWorker(worker=worker, memory_bytes=self._memory_bytes // 2)
        store_bytes = max(OBJECT_STORE_BYTES, self._memory_bytes // 2 * plan.cluster.num_workers)
        driver = partial(drive, self._source, store_bytes)
        options = " ".join([os.environ.get("JDK_JAVA_OPTIONS", ""), LIGHT_JVM, raydp_datasets.JAVA_OPTIONS]).strip()
        return launch(plan, fed, driver, {"JDK_JAVA_OPTIONS": options})


def drive(source: ClipSource, store_bytes: int, job: Job) -> None:
    """Run the driver process: Ray, Spark on it until all records are in Datasets, then the workers."""
    cluster, scratch = job.plan.cluster, Path.cwd()
    is_started_here = cluster.ray_address is None
    local = LocalRay(
        more_cpus=SPARE_CPUS,
        object_store_bytes=store_bytes,
        environment=environment_for_spark(scratch) if is_started_here else {},
    )
    skip_tensorflow_import()
    java_options = {"JDK_JAVA_OPTIONS": os.environ["JDK_JAVA_OPTIONS"]}  # also where `ray start` was without them
    with connected(cluster, local, java_options) as variables:
        check_shared(job.plan)
        datasets: list[list[Any]] = [[] for _ in range(cluster.num_workers)]
        feed = FeedJob(source, job.plan)
        with spark_on_ray(_spark_settings(cluster, variables), scratch) as context:
            index = feed.run(partial(_make_datasets, context, source, feed, datasets))
        plan, worker = job.plan, job.worker

        def loop() -> None:
            from ray.train import get_context, get_dataset_shard

            rank = get_context().get_world_rank()
            execute_in_worker_process(worker, plan, rank, chain(_read_chunks(get_dataset_shard(str(rank))), [index]))

        from ray.train import DataConfig

        whole = {str(rank): first.union(*others) if others else first for rank, (first, *others) in enumerate(datasets)}
        fit(plan, loop, datasets=whole, dataset_config=DataConfig(datasets_to_split=[]))


def _spark_settings(cluster: ClusterConfig, variables: Mapping[str, str]) -> SparkOnRaySettings:
    """Executors on all CPUs but a few, which turn their results into Datasets."""
    import ray

    is_started_here = cluster.ray_address is None
    free = int(ray.available_resources().get("CPU", 0))
    return SparkOnRaySettings(
        num_executors=num_cores() if is_started_here else max(1, free - SPARE_CPUS),
        executor_cores=1,
        executor_memory="1g",
        conf={**raydp_datasets.FETCH_SETTINGS, **cluster.conf},
        is_started_here=is_started_here,
        to_datasets=True,
        environment=variables,
        answer_timeout_s=cluster.start_timeout_s,
        verbose=cluster.verbose,
    )


def _make_datasets(
    context: Any,
    source: ClipSource,
    feed: FeedJob,
    datasets: list[list[Any]],
    parts: list[list[ShardTask]],
    generation: int,
) -> None:
    """Append the Datasets of each rank's shards, a group of shards at a time."""
    clip_bytes = 4 * math.prod(source.features.shape)
    max_clips = max(1, MAX_DATASET_BYTES * context.defaultParallelism // clip_bytes)
    for rank, tasks in enumerate(parts):
        for group in _split(tasks, max_clips):
            records = context.accumulator([], QueueAccumulator(feed))
            datasets[rank].append(_dataset(context, source.without_clips(), group, generation, records))


def _split(tasks: Sequence[ShardTask], max_clips: int) -> Iterator[list[ShardTask]]:
    """Split the tasks, in order, into groups of at most `max_clips` clips; a larger task is a separate group."""
    group: list[ShardTask] = []
    for task in tasks:
        if group and sum(len(each.clips) for each in (*group, task)) > max_clips:
            yield group
            group = []
        group.append(task)
    if group:
        yield group


def _dataset(context: Any, source: ClipSource, tasks: Sequence[ShardTask], generation: int, records: Any) -> Any:
    """Return a materialised Ray Dataset of the chunks of some shards; each Spark task makes a group of them."""
    import ray
    from pyspark.sql import SparkSession

    groups = group_tasks(tasks)

    def batches(numbers: Iterable[Any]) -> Iterator[Any]:
        for batch in numbers:
            for item in source.chunks(chain(*(groups[i] for i in batch.column(0).to_pylist())), generation):
                if isinstance(item, ShardRecord):
                    records.add([item])
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
    except Exception as error:  # of Spark or of Ray; its message is read while Spark's JVM runs
        cause = spark_cause(error)
        advice = NO_JAVA_OPTIONS if "died unexpectedly" in cause else ""
        raise BackendError(f"Spark on Ray could not make a Dataset of its records: {cause}{advice}") from error
    return dataset


def _read_chunks(shard: Any) -> Iterator[Chunk]:
    """Yield the chunks of a worker, without copies."""
    for batch in shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for number in range(batch.num_rows):
            row = {name: batch[name][number] for name in COLUMNS.names}
            data = memoryview(row.pop("data").as_buffer())
            yield Chunk(data=data, **{name: value.as_py() for name, value in row.items()})
