"""What every feed does, independent of the cluster: clips to chunks, progress and rejects, and the worker's end.

    driver     FeedJob.run: which shards are made for which rank, and again after clips were rejected
    executor   ClipSource.chunks: the clips of one shard -> chunks of records
    worker     FedWorker: chunks -> record store -> the worker function, which reads it like a folder of shards

The plan of the shards decides which rank gets which clips in which order, as if the shards were on disk. So the result does
not depend on Spark's partitions, and equals that of training from shards. Knows nothing of Spark, Ray and TensorFlow.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybridspeech.audio.long_clips import describe_cut
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import BackendError, ConfigError, counted
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.manifest.clips import Clip
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord, encode_clips, make_balanced, read_ahead
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import number_of
from hybridspeech.shards.plan import ShardTask
from hybridspeech.shards.record_store import Chunk, RecordStore
from hybridspeech.shards.rejects import Reject, Rejects
from hybridspeech.shards.writer import ShardEncoder
from hybridspeech.training.partition import count_steps, rank_shards
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.worker import Worker, WorkerContext

CHUNK_BYTES = 4 << 20
REPORT_INTERVAL_S = 0.5

MakeShards = Callable[[list[list[ShardTask]], int], None]
"""make(parts, generation): send the shards of parts[rank] to that rank, and call `FeedJob.put` with their ShardRecords."""


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """The clips to feed, in the shards in which `preprocess` would store them, and how they are encoded.

    Parameters
    ----------
    labels : in index order
    max_rejects : as in `preprocess`
    on_long : as in `ManifestConfig`
    notes : sentences for the user, as `preprocess` reports them
    """

    tasks: tuple[ShardTask, ...]
    labels: tuple[str, ...]
    features: FeatureConfig
    shards: ShardConfig
    max_rejects: float = math.inf
    on_long: str = "cut"
    notes: tuple[str, ...] = ()

    def without_clips(self) -> ClipSource:
        """Return the settings alone: an executor gets them with the tasks that it makes."""
        return replace(self, tasks=(), notes=())

    @property
    def num_clips(self) -> int:
        """Number of clips of all shards."""
        return sum(len(task.clips) for task in self.tasks)

    def training_counts(self) -> list[int]:
        """Count the training clips of each label, in index order; some may turn out to be unusable."""
        training = (task for task in self.tasks if task.split == "training")
        counts = Counter(label for task in training for label in task.clips.column("label"))
        return [counts[label] for label in range(len(self.labels))]

    def _encoded(
        self, task: ShardTask, extractor: FeatureExtractor, encoder: ShardEncoder, cuts_s: dict[str, float]
    ) -> Iterator[Reject | None]:
        """Encode the clips of a shard; `cuts_s` gets the duration that is cut off each long one."""
        decode = read_ahead(task.clips, self.features, self.on_long)

        def read(clip: Clip) -> np.ndarray:
            decoded = decode(clip)
            if decoded.cut_s:
                cuts_s[clip.clip_id] = decoded.cut_s
            return decoded.wave

        return encode_clips(task.clips, extractor, encoder, read)

    def chunks(self, tasks: Iterable[ShardTask], generation: int) -> Iterator[Chunk | ShardRecord]:
        """Yield the chunks of each shard, in order, and then its record; called on an executor."""
        extractor = FeatureExtractor(self.features)
        for task in tasks:
            buffer = _ChunkBuffer(task.name, generation)
            encoder = ShardEncoder(task.name, self.shards, self.features.shape, buffer.pending.extend)
            rejects, cuts_s = list[Reject](), dict[str, float]()
            for reject in self._encoded(task, extractor, encoder, cuts_s):
                if reject:
                    rejects.append(reject)
                else:
                    buffer.num_records += 1
                if len(buffer.pending) >= CHUNK_BYTES:
                    yield buffer.take()
            info = encoder.finish()
            yield buffer.take()
            yield ShardRecord(info=info, rejects=tuple(rejects), cuts_s=cuts_s)


class _ChunkBuffer:
    """The bytes of one shard that are not in a chunk yet."""

    def __init__(self, shard: str, generation: int) -> None:
        self.pending = bytearray()
        self.num_records = 0
        self._shard, self._generation, self._offset = shard, generation, 0

    def take(self) -> Chunk:
        chunk = Chunk(
            shard=self._shard,
            generation=self._generation,
            offset=self._offset,
            data=bytes(self.pending),
            num_records=self.num_records,
        )
        self._offset += len(self.pending)
        self.pending.clear()
        self.num_records = 0
        return chunk


class FeedJob:
    """One feed on the driver: which shards were made, which clips were rejected, and its progress."""

    def __init__(self, source: ClipSource, plan: TrainPlan) -> None:
        self._source, self._plan = source, plan
        self._run = RunDirectory(plan.run)
        self._records: dict[str, ShardRecord] = {}
        self._rejects = Rejects(
            self._run.rejects_path,
            num_clips=source.num_clips,
            max_rejects=source.max_rejects,
            advice="run it again",
        )
        self._generation = 0
        self._reported_at, self._num_done = 0.0, 0

    def put(self, record: ShardRecord) -> None:
        """Record that a shard was made; called from one thread at a time."""
        self._records[record.info.name] = record
        self._num_done += record.info.num_examples + len(record.rejects)
        if time.monotonic() - self._reported_at > REPORT_INTERVAL_S:
            self._report("running")

    def run(self, make: MakeShards) -> ShardIndex:
        """Send every usable clip to its rank; return the index of the shards that the ranks then have.

        Raises
        ------
        TooManyRejectsError: see `max_rejects`. ConfigError: too few clips of a split for so many workers.
        """
        self._report("running")

        def make_round(tasks: list[ShardTask]) -> list[ShardRecord]:
            self._generation += 1
            self._records = {}
            make(self._parts(tasks), self._generation)
            lost = [task.name for task in tasks if task.name not in self._records]
            if lost:
                raise BackendError(
                    f"the records of {len(lost)} shards that were fed are missing (the first is {lost[0]}); run it again"
                )
            records = [self._records[task.name] for task in tasks]
            self._rejects.add(reject for record in records for reject in record.rejects)
            self._rejects.write()
            self._rejects.check()
            return records

        records = make_balanced(self._source.tasks, self._source.shards, make_round)
        index = ShardIndex(
            features=self._source.features,
            shards_config=self._source.shards,
            labels=self._source.labels,
            shards=tuple(record.info for record in records),
            num_rejects=len(self._rejects),
        )
        workers = self._plan.cluster.num_workers
        if not index.of_split("training"):
            raise ConfigError(f"no clip for training is usable; {self._rejects.summary()}")
        for split in index.splits:
            rank_shards(index, split, 0, workers)
        steps = count_steps(index, "training", workers, self._plan.fit.batch_size)
        cuts_s = {clip_id: cut_s for record in records for clip_id, cut_s in record.cuts_s.items()}
        num_clips = counted(self._source.num_clips, "clip")
        cut = describe_cut(cuts_s.values(), num_clips, self._source.features.clip_duration_ms)
        self._report("finished", num_rejects=len(self._rejects), splits=index.splits, steps=steps, cut=cut)
        return index

    def _parts(self, tasks: Sequence[ShardTask]) -> list[list[ShardTask]]:
        """Return the shards of each rank, as `rank_shards` divides them."""
        workers = self._plan.cluster.num_workers
        return [[task for task in tasks if number_of(task.name) % workers == rank] for rank in range(workers)]

    def _report(self, state: str, **fields: object) -> None:
        self._reported_at = time.monotonic()
        done = min(self._num_done, self._source.num_clips)
        self._run.status.write_feed(state=state, done=done, total=self._source.num_clips, **fields)


@dataclass(frozen=True, kw_only=True)
class FedWorker:
    """A worker function with a third argument, the fed items, which `worker` reads like a folder of shards.

    Parameters
    ----------
    memory_bytes : how much of the records is kept in memory; the rest goes to a scratch file
    """

    worker: Worker
    memory_bytes: int

    def __call__(self, plan: TrainPlan, context: WorkerContext, items: Iterable[Chunk | ShardIndex]) -> WorkerReport:
        """Store the chunks until the index arrives, which is the last item; then run `worker`."""
        context.report("feed")
        with RecordStore(self.memory_bytes) as store:
            index = _receive(store, context, items)
            own = [
                shard
                for split in index.splits
                for shard in rank_shards(index, split, context.rank, context.num_workers)
            ]
            folder = store.publish(index, own)
            report = self.worker(replace(plan, shards=str(folder)), context)
            held = {"memory_bytes": store.memory_bytes, "spilled_bytes": store.spilled_bytes}
            return replace(report, values={**report.values, **held})


def _receive(store: RecordStore, context: WorkerContext, items: Iterable[Chunk | ShardIndex]) -> ShardIndex:
    reported_at, num_records = 0.0, 0
    for item in items:
        if isinstance(item, ShardIndex):
            return item
        store.put(item)
        num_records += item.num_records
        if time.monotonic() - reported_at > REPORT_INTERVAL_S:
            reported_at = time.monotonic()
            context.run.status.write(context.rank, received=num_records)
    raise BackendError("the feed ended without the index of its shards; run it again")
