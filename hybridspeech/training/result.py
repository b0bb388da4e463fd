"""The result of a training, for the verbs `train` and `run`. Standard library only."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from hybridspeech.training.plan import TrainPlan, WorkerReport


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Result of `train`.

    Parameters
    ----------
    global_batch_size : batch size of all workers together
    startup_s : time from the call to the end of the first step, in seconds
    train_s : time after it, in seconds
    examples_per_s : median over the epochs after the first, all workers together
    history : one row per epoch: epoch, loss, accuracy, val_loss, val_accuracy, examples_per_s, seconds
    """

    run_dir: str
    backend: str
    num_workers: int
    global_batch_size: int
    steps_per_epoch: int
    startup_s: float
    train_s: float
    examples_per_s: float
    history: tuple[Mapping[str, float], ...]


def result_of(plan: TrainPlan, chief: WorkerReport, steps: int, started_at: float) -> TrainResult:
    """Return the result of a training.

    Parameters
    ----------
    steps : steps per epoch
    started_at : Unix time of the call, in seconds
    """
    epochs = [row for row in chief.history if row["epoch"] > 1] or list(chief.history)
    return TrainResult(
        run_dir=plan.run,
        backend=plan.backend,
        num_workers=plan.cluster.num_workers,
        global_batch_size=plan.fit.batch_size * plan.cluster.num_workers,
        steps_per_epoch=steps,
        startup_s=(chief.first_step_at or chief.finished_at) - started_at,
        train_s=chief.finished_at - (chief.first_step_at or chief.finished_at),
        examples_per_s=statistics.median(row["examples_per_s"] for row in epochs),
        history=chief.history,
    )
