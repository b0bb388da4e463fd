"""The training loop: what each worker does, whichever backend has started it. Knows nothing of Spark and Ray."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from hybridspeech.processes.resources import parse_memory_size
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.local_copies import open_shards
from hybridspeech.training.checkpoints import Place, best_of, published
from hybridspeech.training.epoch import run_epoch
from hybridspeech.training.fine_tuning import load_initial_weights
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.rank import Rank, build_rank
from hybridspeech.training.stall_monitor import StallMonitor
from hybridspeech.training.stopping import Stopped
from hybridspeech.training.temperature import fit_temperature, write_calibration
from hybridspeech.training.tensorflow_setup import configure_tensorflow, make_strategy
from hybridspeech.training.worker import WorkerContext


def run_worker(plan: TrainPlan, context: WorkerContext) -> WorkerReport:
    """Train one rank's part of `plan`; all ranks run the same code.

    Returns
    -------
    WorkerReport whose history has, for every epoch, loss, accuracy, val_loss, val_accuracy (if there is a validation split),
    examples_per_s (all ranks together) and seconds. Losses are mean cross-entropies over each example once; loss and accuracy
    count the negatives of the batches too, examples_per_s does not.

    Raises
    ------
    ArithmeticError: the loss is not finite. RunError: a checkpoint to resume from is damaged. ShardError: a shard is
    damaged or missing. KeyboardInterrupt: after a checkpoint is saved.
    """
    context.report("import")
    configure_tensorflow(plan)
    strategy = make_strategy(context.num_workers, heartbeat_timeout_s=2 * plan.cluster.stall_timeout_s)
    context.report("data")
    index = ShardIndex.load(plan.shards)
    cache_bytes = parse_memory_size(plan.cluster.shard_cache, "shard cache")
    with (
        StallMonitor(context, quiet_s=plan.cluster.stall_timeout_s / 3) as monitor,
        open_shards(plan.shards, index, cache_bytes) as shards,
    ):
        rank = build_rank(plan, context, strategy, monitor, index, shards)
        start = _restore(rank)
        history = list[Mapping[str, float]](context.run.read_metrics()[: start.epochs])
        first_step_at = 0.0
        try:
            for epoch in range(start.epochs, plan.fit.epochs):
                if has_stopped_improving(history, plan.fit.early_stopping or 0):
                    break
                result = run_epoch(rank, start if epoch == start.epochs else Place(epoch))
                history.append(result.row)
                first_step_at = first_step_at or result.first_step_at
            _save_model(rank, history)
        except Stopped:
            pass  # the driver has requested it, and reports it to the user
    return WorkerReport(
        rank=context.rank,
        history=tuple(context.run.read_metrics() if context.is_chief else history),
        first_step_at=first_step_at,
        finished_at=time.time(),
        num_examples=rank.num_examples * (len(history) - start.epochs),
    )


def has_stopped_improving(history: Sequence[Mapping[str, float]], patience: int) -> bool:
    """Return whether `patience` epochs have passed since the one with the lowest validation loss; patience 0: never.

    All ranks get the same answer, since they have the same losses.
    """
    return patience > 0 and bool(history) and len(history) - best_of(history) >= patience


def _restore(rank: Rank) -> Place:
    """Restore the last checkpoint if the plan has `resume`, else the initial weights; return where to start."""
    start = Place()
    if rank.plan.resume:
        rank.context.report("restore")
        start = rank.checkpoints.restore()
    if rank.plan.init_from and start == Place():
        rank.context.report("restore")
        with rank.strategy.scope():
            load_initial_weights(rank.model, rank.plan, rank.context.run)
    return start


def _save_model(rank: Rank, history: Sequence[Mapping[str, float]]) -> None:
    """Save the weights and the temperature: of the best epoch with early stopping, else of the last.

    The file of the weights means that training has ended.
    """
    if rank.plan.fit.early_stopping:
        rank.context.report("restore")
        rank.checkpoints.restore_again(Place(best_of(history)), model=rank.model)
    calibration = fit_temperature(rank)
    rank.context.report("save")
    run = rank.context.run
    with published(run.model_dir, rank.context.is_chief) as folder:
        write_calibration(folder / run.calibration_path.name, calibration)
        rank.model.save_weights(folder / run.weights_path.name)
