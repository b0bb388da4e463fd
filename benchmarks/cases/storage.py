"""storage-preprocess and storage-training: the same work on local disks and on an S3 server with latency."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.cpu_limit import cpu_limit
from benchmarks.cpu_time import cpu_s
from benchmarks.peers.object_store import ObjectStore, object_store
from benchmarks.peers.ours import warm_up
from benchmarks.records import Outcome
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import train
from hybridspeech.config import ClusterConfig, EngineConfig, FeatureConfig
from hybridspeech.engines import ENGINES
from hybridspeech.models.config import ModelConfig
from hybridspeech.processes.resources import num_cores
from hybridspeech.shards.worker import prepare_worker
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import is_file
from hybridspeech.training.config import FitConfig

NUM_PROCESSES = 2


def preprocessing(source: Path, scratch: Path, *, store: bool, features: str, cores: float | None = None) -> Outcome:
    """Return the clips per second of `preprocess` from a location to another of the same kind, in two processes.

    Parameters
    ----------
    store : read from and write to the store, instead of local folders
    cores : CPU time of the driver and its workers, in cores, which leaves the rest of this machine to the server; None: all
    """
    begun = time.perf_counter()
    with _locations(source, scratch, store) as (clips, out, at_store):
        warm_up()
        with ENGINES.load("local")(EngineConfig(executor_cores=NUM_PROCESSES)) as engine:
            engine.map_partitions(partial(_prepare, clips), [[0]] * engine.parallelism)
            with cpu_limit(cores, at_store.pids if at_store else ()) as limit:
                job_s, store_s = _cpu_s(at_store)
                started = time.perf_counter()
                made = preprocess(clips, out, features=FeatureConfig(kind=features), engine=engine)  # type: ignore[arg-type]
                work_s = time.perf_counter() - started
                job_now_s, store_now_s = _cpu_s(at_store)
    return Outcome(
        value=made.num_clips / work_s,
        startup_s=started - begun,
        facts={
            "digest": made.digest,
            "clip_cpu_ms": (job_now_s - job_s) * 1e3 / made.num_clips,
            "store_cpu_ms": (store_now_s - store_s) * 1e3 / made.num_clips,
            "cores": limit or num_cores(),
        },
        problem=f"{made.num_rejects} clips were rejected" if made.num_rejects else "",
    )


def training(source: Path, scratch: Path, *, store: bool, epochs: int) -> Outcome:
    """Return the examples per second of the median epoch after the first, with shards on local disk or on the store."""
    with _locations(source, scratch, store) as (shards, _, _):
        result = train(
            shards,
            scratch / "run",
            model=ModelConfig(name="cnn"),
            fit=FitConfig(epochs=epochs),
            cluster=ClusterConfig(num_workers=1),
            backend="local",
        )
    facts = {"loss": result.history[-1]["loss"]}
    return Outcome(value=result.examples_per_s, startup_s=result.startup_s, facts=facts)


@contextlib.contextmanager
def _locations(source: Path, scratch: Path, store: bool) -> Iterator[tuple[str, str, ObjectStore | None]]:
    """Give the location of the input, one for an output, and the store."""
    if not store:
        yield str(source), str(scratch / "out"), None
        return
    with object_store(scratch, source) as found:
        yield join(found.bucket, "input"), join(found.bucket, "out"), found


def _prepare(location: str, _: Sequence[int]) -> None:
    """Import and compile what a worker needs, with the file system of a location."""
    prepare_worker()
    is_file(join(location, "none"))


def _cpu_s(store: ObjectStore | None) -> tuple[float, float]:
    """Return the CPU time of this process and its workers, and that of the store, in seconds."""
    store_s = cpu_s(store.pids) if store else 0.0
    return cpu_s() - store_s, store_s
