"""handoff: from clips to a trained network, with shards on disk or fed by Spark."""

from __future__ import annotations

import math
import time
from pathlib import Path

from benchmarks.records import Outcome
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.run import run
from hybridspeech.commands.train import TrainResult, train
from hybridspeech.config import ClusterConfig
from hybridspeech.training.config import FitConfig


def measure(
    source: Path, scratch: Path, *, backend: str, engine: str = "", epochs: int, num_workers: int = 2
) -> Outcome:
    """Return the seconds from the call to the trained network; with an `engine`, through shards on disk."""
    fit, cluster, target = FitConfig(epochs=epochs), ClusterConfig(num_workers=num_workers), scratch / "run"
    started, first, shards = time.time(), 0.0, scratch / "shards"
    result: TrainResult
    if engine:
        preprocess(source, shards, engine=engine)
        first = time.time() - started
        result = train(shards, target, recipe="report", fit=fit, cluster=cluster, backend=backend)
    else:
        result = run(source, target, recipe="report", fit=fit, cluster=cluster, backend=backend)
    on_disk = sum(path.stat().st_size for path in shards.rglob("*") if path.is_file())
    losses = [row["loss"] for row in result.history]
    finite = len(losses) == epochs and all(map(math.isfinite, losses))
    return Outcome(
        value=time.time() - started,
        startup_s=first + result.startup_s,
        facts={"first_step_s": first + result.startup_s, "on_disk_mb": on_disk / 1e6, "loss": losses[-1]},
        problem="" if finite else f"losses of the epochs are {losses}; expected {epochs} finite numbers",
    )
