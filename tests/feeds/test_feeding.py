"""A feed without a cluster: workers receive the bytes that `preprocess` would have written."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.run import make_source
from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.errors import BackendError, ConfigError, TooManyRejectsError
from hybridspeech.feeds.base import ClipSource, FedWorker, FeedJob
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.plan import ShardTask
from hybridspeech.shards.record_store import Chunk
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.recipes import REPORT
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.worker import WorkerContext

SMALL = FeatureConfig(kind="logmel", n_mels=24, hop_length=500)


@pytest.fixture(scope="module")
def shards(flawed_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("feeds") / "shards"
    preprocess(flawed_tones, out, features=SMALL, engine="local")
    return out


def source_of(clips: Path, cluster: ClusterConfig, max_rejects: float = 100, shards: int | None = None) -> ClipSource:
    config = ShardConfig(dtype="float32", num_shards=shards)
    return make_source(clips, SMALL, ManifestConfig(), config, cluster.num_workers, max_rejects)


def plan_of(folder: Path, num_workers: int, **cluster: float) -> TrainPlan:
    plan = TrainPlan(shards="", run=str(folder), fit=REPORT, cluster=ClusterConfig(num_workers=num_workers, **cluster))
    RunDirectory(plan.run).create(plan)
    return plan


def fed(source: ClipSource, plan: TrainPlan) -> tuple[ShardIndex, list[list[Chunk]]]:
    """Run a feed; returns the index, and the chunks of each rank. What a process gets is pickled."""
    feed = FeedJob(pickle.loads(pickle.dumps(source)), plan)
    received: list[list[Chunk]] = [[] for _ in range(plan.cluster.num_workers)]

    def make(parts: list[list[ShardTask]], generation: int) -> None:
        for rank, tasks in enumerate(parts):
            encoder, sent = pickle.loads(pickle.dumps((source.without_clips(), tasks)))
            assert encoder.num_clips == 0
            for item in encoder.chunks(sent, generation):
                feed.put(item) if isinstance(item, ShardRecord) else received[rank].append(item)

    return feed.run(make), received


def files_seen(plan: TrainPlan, rank: int, arriving: Iterator[Chunk | ShardIndex]) -> dict[str, bytes]:
    """Return what the worker of one rank reads in its folder of shards."""
    found: dict[str, bytes] = {}

    def worker(plan: TrainPlan, context: WorkerContext) -> WorkerReport:
        found.update({path.name: path.read_bytes() for path in Path(plan.shards).iterdir() if path.is_symlink()})
        return WorkerReport(rank=context.rank)

    context = WorkerContext(rank=rank, num_workers=plan.cluster.num_workers, run=RunDirectory(plan.run))
    FedWorker(worker=worker, memory_bytes=100_000)(plan, context, arriving)
    return found


@pytest.mark.parametrize("num_workers", [1, 2, 3, 8])
def test_each_rank_gets_the_bytes_of_its_shards_also_after_rejects(
    num_workers: int, flawed_tones: Path, shards: Path, tmp_path: Path
) -> None:
    plan = plan_of(tmp_path / "run", num_workers)
    index, received = fed(source_of(flawed_tones, plan.cluster), plan)
    written = [shard for shard in ShardIndex.load(shards).shards if shard.split != "testing"]
    assert list(index.shards) == written
    for rank, items in enumerate(received):
        found = files_seen(plan, rank, iter([*items, index]))
        names = {shard.name for split in index.splits for shard in index.of_split(split)[rank::num_workers]}
        assert found == {name: (shards / name).read_bytes() for name in names}


def test_rejects_and_progress_are_written(flawed_tones: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "run", 2)
    source = source_of(flawed_tones, plan.cluster)
    index, _ = fed(source, plan)
    run = RunDirectory(plan.run)
    rejects = [json.loads(line) for line in run.rejects_path.read_text().splitlines()]
    assert {reject["reason"] for reject in rejects} == {"not-audio"}
    assert len(rejects) == index.num_rejects == source.num_clips - index.num_clips > 0
    status = run.status.read_feed()
    assert (status["state"], status["done"], status["total"]) == ("finished", source.num_clips, source.num_clips)


def test_too_many_rejects_stop_the_feed(flawed_tones: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "run", 1)
    with pytest.raises(
        TooManyRejectsError, match=r"of 111 clips could not be used \(max_rejects is 3\); .*rejects.jsonl"
    ):
        fed(source_of(flawed_tones, plan.cluster, max_rejects=3), plan)


def test_more_workers_than_clips_of_a_split_are_refused(flawed_tones: Path) -> None:
    with pytest.raises(ConfigError, match=r"share .* clips of split 'training' in 81 parts; .* fewer workers"):
        source_of(flawed_tones, ClusterConfig(num_workers=90))
    with pytest.raises(ConfigError, match=r"in 3 parts; .* use fewer workers, or --shards 4"):
        source_of(flawed_tones, ClusterConfig(num_workers=4), shards=3)


def test_a_shard_without_a_record_is_an_error(flawed_tones: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "run", 1)
    with pytest.raises(BackendError, match=r"the records of 16 shards that were fed are missing"):
        FeedJob(source_of(flawed_tones, plan.cluster), plan).run(lambda parts, generation: None)
