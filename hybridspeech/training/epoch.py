"""One epoch of one rank: train, validate, save. Knows nothing of Spark and Ray.

With more than one worker, reading BatchNorm statistics is a collective, so every rank saves; see `checkpoints`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from hybridspeech.training.checkpoints import Place, places
from hybridspeech.training.rank import Rank
from hybridspeech.training.step_callback import EpochSteps, average_statistics
from hybridspeech.training.stopping import Stopped


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """Metrics of one epoch, and the Unix time at the end of its first step, in seconds (0: no step was taken)."""

    row: Mapping[str, float]
    first_step_at: float


def run_epoch(rank: Rank, start: Place) -> EpochResult:
    """Train on each training example once, validate on each validation example once, and save a checkpoint.

    Parameters
    ----------
    start : the epoch, and the steps of it that were taken before a checkpoint; their part of the metrics is in it

    Raises
    ------
    Stopped: the driver requested a stop, and a checkpoint is saved. KeyboardInterrupt: likewise, with one worker.
    ArithmeticError: the loss is not finite. ShardError: a shard is damaged or missing.
    """
    started_at = time.monotonic()
    trained: dict[str, float] | None = None
    try:
        steps = EpochSteps(rank, start, rank.count_steps("training"))
        loss, accuracy = _train(rank, start, steps)
        trained = _row(rank, start, started_at, loss, accuracy)
        average_statistics(rank.model)
        row = _validated(rank, trained)
        save_epoch(rank, row)
    except KeyboardInterrupt:
        _save_interrupted(rank, start, started_at, trained)
        raise
    return EpochResult(row=row, first_step_at=steps.first_step_at)


def _train(rank: Rank, start: Place, steps: EpochSteps) -> tuple[float, float]:
    """Take the steps of an epoch; return mean loss and accuracy."""
    num_steps = rank.count_steps("training") - start.steps
    data = rank.training_data(start.epochs, start.steps)
    with rank.shard_errors("training"):
        logs = rank.model.fit(
            data, steps_per_epoch=num_steps, epochs=1, verbose=0, callbacks=[steps.callback()]
        ).history
    rank.monitor.end_epoch()
    return logs["cross_entropy"][0], logs["accuracy"][0]


def _row(rank: Rank, start: Place, started_at: float, loss: float, accuracy: float) -> dict[str, float]:
    seconds = time.monotonic() - started_at
    share = 1 - start.steps / rank.count_steps("training")
    return {
        "epoch": start.epochs + 1,
        "loss": loss,
        "accuracy": accuracy,
        "examples_per_s": rank.num_examples * share / seconds,
        "seconds": seconds,
    }


def _validated(rank: Rank, row: Mapping[str, float]) -> dict[str, float]:
    """Return `row` with loss and accuracy of the validation split, if there is one."""
    if not rank.index.of_split("validation"):
        return dict(row)
    rank.context.report("validate", int(row["epoch"]) * rank.count_steps("training"))
    with rank.shard_errors("validation"):
        logs = rank.model.evaluate(
            rank.validation_data(), steps=rank.count_steps("validation"), verbose=0, return_dict=True
        )
    return {**row, "val_loss": logs["cross_entropy"], "val_accuracy": logs["accuracy"]}


def save_epoch(rank: Rank, row: Mapping[str, float]) -> None:
    """Save a checkpoint, and append the metrics of the epoch to the run; every rank takes part.

    Raises
    ------
    Stopped: after it, if the driver requested a stop and epochs are left.
    """
    run, epoch = rank.context.run, int(row["epoch"])

    def append() -> None:
        run.keep_metrics(epoch - 1)
        run.append_metrics(row)

    rank.context.report("save")
    rank.checkpoints.save(Place(epoch), before_publishing=append)
    if rank.summary:
        write_scalars(rank, row)
    if rank.stop_check.should_stop() and epoch < rank.plan.fit.epochs:
        raise Stopped


def _save_interrupted(rank: Rank, start: Place, started_at: float, trained: Mapping[str, float] | None) -> None:
    """Save what an interrupt of this process would lose (backend `local`): steps of an epoch, or a trained epoch.

    A step changes weights, optimizer and metrics in one call, which an interrupt does not divide.
    """
    if rank.context.num_workers > 1:
        return  # the other ranks do not take part
    steps = rank.count_steps("training")
    step = int(rank.model.optimizer.iterations.numpy())
    place = Place(*divmod(step, steps))
    if place.epochs == start.epochs and place > start:
        rank.context.report("save", step)
        rank.checkpoints.save(place)
    elif place == Place(start.epochs + 1) and place not in places(rank.context.run):
        if trained is None:
            loss, accuracy = (float(metric.result()) for metric in rank.metrics)
            trained = _row(rank, start, started_at, loss, accuracy)
        save_epoch(rank, _validated(rank, trained))


def write_scalars(rank: Rank, row: Mapping[str, float]) -> None:
    """Write the metrics of one epoch as TensorBoard scalars."""
    import tensorflow as tf

    with rank.summary.as_default(step=int(row["epoch"])):
        for name, value in row.items():
            tf.summary.scalar(name, value)
    rank.summary.flush()
