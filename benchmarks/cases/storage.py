"""storage-preprocess and storage-training: the same work on local disks and on an S3 server with latency."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cpu_time import cpu_s
from benchmarks.peers.object_store import object_store
from benchmarks.peers.ours import warm_up
from benchmarks.records import Outcome
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import train
from hybridspeech.config import ClusterConfig, EngineConfig, FeatureConfig
from hybridspeech.engines import ENGINES
from hybridspeech.models.config import ModelConfig
from hybridspeech.storage.copies import upload_files
from hybridspeech.storage.objects import list_files
from hybridspeech.training.config import FitConfig

NUM_PROCESSES = 2


def preprocessing(source: Path, scratch: Path, *, store: bool, features: str) -> Outcome:
    """Return the clips per second of `preprocess` from a location to another of the same kind, in two processes.

    Parameters
    ----------
    store : read from and write to the store, instead of local folders
    """
    begun = time.perf_counter()
    with _locations(source, scratch, store) as (clips, out):
        warm_up()
        with ENGINES.load("local")(EngineConfig(executor_cores=NUM_PROCESSES)) as engine:
            cpu_s, store_cpu_s = _cpu_s()
            started = time.perf_counter()
            made = preprocess(clips, out, features=FeatureConfig(kind=features), engine=engine)  # type: ignore[arg-type]
            work_s = time.perf_counter() - started
            now_s, store_now_s = _cpu_s()
    return Outcome(
        value=made.num_clips / work_s,
        startup_s=started - begun,
        facts={
            "digest": made.digest,
            "clip_cpu_ms": (now_s - cpu_s) * 1e3 / made.num_clips,
            "store_cpu_ms": (store_now_s - store_cpu_s) * 1e3 / made.num_clips,
        },
        problem=f"{made.num_rejects} clips were rejected" if made.num_rejects else "",
    )


def training(source: Path, scratch: Path, *, store: bool, epochs: int) -> Outcome:
    """Return the examples per second of the median epoch after the first, with shards on local disk or on the store."""
    with _locations(source, scratch, store) as (shards, _):
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
def _locations(source: Path, scratch: Path, store: bool) -> Iterator[tuple[str, str]]:
    """Give the location of the input and one for an output; on a store, after an upload that is not timed."""
    if not store:
        yield str(source), str(scratch / "out")
        return
    with object_store(scratch) as bucket:
        upload_files(source, [stat.name for stat in list_files(str(source))], f"{bucket}/input")
        yield f"{bucket}/input", f"{bucket}/out"


def _cpu_s() -> tuple[float, float]:
    """Return the CPU time of this process and its workers, and that of the S3 server, in seconds."""
    store_s = cpu_s("weed")
    return cpu_s() - store_s, store_s
