"""train-throughput and train-startup: the same network on the same shards, started in different ways."""

from __future__ import annotations

import math
import time
from pathlib import Path

from benchmarks.peers.bare_mwms import BareBackend
from benchmarks.peers.keras_fit import fit_plainly
from benchmarks.records import Outcome
from hybridspeech.backends import TrainingBackend
from hybridspeech.commands.train import TrainResult, train
from hybridspeech.config import ClusterConfig
from hybridspeech.records import override
from hybridspeech.training.config import FitConfig
from hybridspeech.training.recipes import REPORT


def throughput(source: Path, scratch: Path, *, backend: str, num_workers: int, epochs: int) -> Outcome:
    """Return the examples per second of the median epoch after the first."""
    result, _ = _train(source, scratch, backend, num_workers, epochs)
    facts = {"loss": result.history[-1]["loss"]}
    return Outcome(
        value=result.examples_per_s, startup_s=result.startup_s, facts=facts, problem=_problem(result, epochs)
    )


def startup(source: Path, scratch: Path, *, backend: str, num_workers: int) -> Outcome:
    """Return the seconds to the first step."""
    result, seconds = _train(source, scratch, backend, num_workers, epochs=1)
    facts = {"shutdown_s": seconds - result.startup_s - result.train_s}
    return Outcome(value=result.startup_s, facts=facts, problem=_problem(result, 1))


def _train(source: Path, scratch: Path, backend: str, num_workers: int, epochs: int) -> tuple[TrainResult, float]:
    """Train, and return the result and the duration of the call in seconds."""
    started, fit = time.time(), FitConfig(epochs=epochs)
    if backend == "keras-fit":
        result = fit_plainly(source, override(REPORT, fit))
    else:
        chosen: str | TrainingBackend = BareBackend() if backend == "bare" else backend
        cluster = ClusterConfig(num_workers=num_workers)
        result = train(
            source,
            scratch / "run",
            recipe="report",
            fit=fit,
            cluster=cluster,
            backend=chosen,
        )
    return result, time.time() - started


def _problem(result: TrainResult, epochs: int) -> str:
    losses = [row["loss"] for row in result.history]
    if len(losses) != epochs or not all(map(math.isfinite, losses)):
        return f"losses of the epochs are {losses}; expected {epochs} finite numbers"
    if epochs > 2 and losses[-1] >= losses[0]:
        return f"the loss went from {losses[0]:.3f} to {losses[-1]:.3f}; expected it to fall"
    return ""
