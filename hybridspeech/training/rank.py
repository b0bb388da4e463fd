"""One rank of a training: its data, network, optimizer and checkpoints. Knows nothing of Spark and Ray."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.audio.background_noise import load_noises
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.models.build import build_model
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.local_copies import ShardFolder
from hybridspeech.training.checkpoints import Checkpoints
from hybridspeech.training.dataset import EpochInput, shard_errors, worker_dataset
from hybridspeech.training.negatives import NegativeBatches, load_negatives
from hybridspeech.training.optimizer import compile_model
from hybridspeech.training.partition import count_examples, count_steps, rank_shards
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.reverberation import load_responses
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.stall_monitor import StallMonitor
from hybridspeech.training.stopping import StopCheck
from hybridspeech.training.worker import WorkerContext

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras


@dataclass(frozen=True, kw_only=True)
class Rank:
    """All that one rank trains with.

    Parameters
    ----------
    shards : where the shards are read
    transform : from stored clips to inputs of the network
    negatives : fill up the batches of the training split
    model : compiled
    metrics : cross-entropy and accuracy of the epoch
    summary : writes TensorBoard files; None on all ranks but the chief
    """

    plan: TrainPlan
    context: WorkerContext
    strategy: tf.distribute.Strategy
    monitor: StallMonitor
    stop_check: StopCheck
    index: ShardIndex
    shards: ShardFolder
    transform: ClipTransform
    negatives: NegativeBatches | None
    model: tf_keras.Model
    metrics: list[tf_keras.metrics.Metric]
    checkpoints: Checkpoints
    summary: Any

    @property
    def num_examples(self) -> int:
        """Training examples of all ranks."""
        workers = self.context.num_workers
        return sum(count_examples(self.index, "training", rank, workers) for rank in range(workers))

    def count_steps(self, split: str) -> int:
        """Return the steps of one epoch over a split."""
        return count_steps(self.index, split, self.context.num_workers, self.plan.fit.batch_size)

    def training_data(self, epoch: int, skip: int) -> Any:
        """Return the batches of an epoch, in its order and with augmentation and negatives, without the first `skip`."""
        fit = self.plan.fit
        return self._data(
            "training",
            shuffle=(fit.seed, epoch, fit.shuffle_buffer),
            skip=skip,
            copy=1 + epoch,
            label_weights=self.plan.label_weights,
            negatives=self.negatives,
        )

    def validation_data(self) -> Any:
        """Return the batches of the validation split."""
        return self._data("validation")

    def shard_errors(self, split: str) -> AbstractContextManager[None]:
        """Return a context that names a damaged shard of this rank; see `dataset.shard_errors`."""
        shards = rank_shards(self.index, split, self.context.rank, self.context.num_workers)
        return shard_errors(self.shards, self.index, shards, lambda: self.context.report("data"))

    def _data(self, split: str, **options: Any) -> Any:
        workers = self.context.num_workers
        epoch_input = EpochInput(
            rank=self.context.rank,
            num_workers=workers,
            batch_size=self.plan.fit.batch_size,
            transform=self.transform,
            **options,
        )

        def make(_: Any = None) -> tf.data.Dataset:
            dataset = worker_dataset(self.shards, self.index, split, epoch_input)
            return self.monitor.count_batches(dataset) if split == "training" else dataset

        return make() if workers == 1 else self.strategy.distribute_datasets_from_function(make)


def build_rank(
    plan: TrainPlan,
    context: WorkerContext,
    strategy: tf.distribute.Strategy,
    monitor: StallMonitor,
    index: ShardIndex,
    shards: ShardFolder,
) -> Rank:
    """Build and compile the network.

    Raises
    ------
    ConfigError: as `build_model`. RunError: room responses or negatives are missing or damaged.
    """
    import tensorflow as tf

    transform = make_transform(plan, index, context.run)
    context.report("build")
    with strategy.scope():
        model = build_model(plan.model)
        steps = count_steps(index, "training", context.num_workers, plan.fit.batch_size)
        metrics = compile_model(model, plan, steps)
    context.run.status.write(context.rank, steps_per_epoch=steps)
    checkpoints = Checkpoints(
        context.run,
        is_kept=context.is_chief or not context.shares_run,
        keep=plan.fit.keep_checkpoints,
        on_saved=context.on_saved,
        model=model,
        optimizer=model.optimizer,
        metrics=metrics,
    )
    return Rank(
        plan=plan,
        context=context,
        strategy=strategy,
        monitor=monitor,
        stop_check=StopCheck(context),
        index=index,
        shards=shards,
        transform=transform,
        negatives=load_negatives(plan, context.run),
        model=model,
        metrics=metrics,
        checkpoints=checkpoints,
        summary=tf.summary.create_file_writer(str(context.run.tensorboard_dir)) if context.is_chief else None,
    )


def make_transform(plan: TrainPlan, index: ShardIndex, run: RunDirectory) -> ClipTransform:
    """Return the transform from stored clips to inputs of the network, with the plan's augmentation."""
    augment, rate_hz = plan.fit.augment, plan.features.sample_rate_hz
    paths = index.noise_paths(plan.shards, "training") if augment.needs_noise else ()
    noises = load_noises(paths, rate_hz, plan.features.num_samples)
    responses = load_responses(plan, run)
    augmenter = Augmenter(augment, sample_rate_hz=rate_hz, seed=plan.fit.seed, noises=noises, responses=responses)
    return ClipTransform(plan.stored, plan.features, augmenter)
