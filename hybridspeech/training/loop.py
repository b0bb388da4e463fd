"""The only training loop: what each worker does, whichever backend has started it. Knows nothing of Spark and Ray.

With more than one worker, whatever reads BatchNorm statistics is a collective, so every rank saves; the chief's files are
kept, the others' go to a scratch folder.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.audio.background_noise import load_noises
from hybridspeech.errors import ShardError, one_line
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.models.build import build_model
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.checkpoints import Checkpoints, Place, best_of, places, published
from hybridspeech.training.dataset import worker_dataset
from hybridspeech.training.optimizer import compile_model
from hybridspeech.training.partition import count_examples, count_steps
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.stall_monitor import Pulse
from hybridspeech.training.stopping import Looks, Stopped
from hybridspeech.training.tensorflow_setup import configure_tensorflow, make_strategy
from hybridspeech.training.worker import WorkerContext

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras


def run_worker(plan: TrainPlan, context: WorkerContext) -> WorkerReport:
    """Train one rank's part of `plan`; all ranks run the same lines.

    Returns
    -------
    WorkerReport whose history has, for every epoch, loss, accuracy, val_loss, val_accuracy (if there is a validation split),
    examples_per_s (all ranks together) and seconds. Losses are mean cross-entropies over each example once.

    Raises
    ------
    ArithmeticError: the loss is not finite. RunError: a checkpoint to resume from is damaged. ShardError: a shard is
    damaged or gone.
    """
    context.say("import")
    configure_tensorflow(plan)
    strategy = make_strategy(context.num_workers)
    with Pulse(context, quiet_s=plan.cluster.stall_timeout_s / 3) as pulse:
        trainer = Trainer(plan, context, strategy, pulse)
        begun = trainer.restore()
        history = context.run.read_metrics()[: begun.epochs]
        try:
            for epoch in range(begun.epochs, plan.fit.epochs):
                if has_stopped_improving(history, plan.fit.early_stopping or 0):
                    break
                row = trainer.train_epoch(epoch, begun.steps if epoch == begun.epochs else 0)
                history.append(row)
                trainer.save_epoch(row)
            if plan.fit.early_stopping:
                trainer.take_best(history)
            trainer.save_model()
        except Stopped:
            pass  # the driver, who has asked for it, tells the user
        except KeyboardInterrupt:
            trainer.save_interrupted()
            raise
    return WorkerReport(
        rank=context.rank,
        history=tuple(context.run.read_metrics() if context.is_chief else history),
        first_step_at=trainer.first_step_at,
        finished_at=time.time(),
        num_examples=trainer.num_examples * (len(history) - begun.epochs),
    )


def has_stopped_improving(history: Sequence[Mapping[str, float]], patience: int) -> bool:
    """Whether so many epochs have gone by since the one with the least validation loss; all ranks see the same losses."""
    return patience > 0 and bool(history) and len(history) - best_of(history) >= patience


class Trainer:
    """One rank's model, data and checkpoints."""

    def __init__(self, plan: TrainPlan, context: WorkerContext, strategy: tf.distribute.Strategy, pulse: Pulse) -> None:
        import tensorflow as tf

        self.plan, self.context, self.strategy, self.pulse = plan, context, strategy, pulse
        self.looks = Looks(context)
        self.begun, self.begun_at, self.unsaved = Place(), 0.0, dict[str, float]()
        context.say("data")
        self.index = ShardIndex.load(plan.shards)
        ranks = range(context.num_workers)
        self.num_examples = sum(count_examples(self.index, "training", rank, len(ranks)) for rank in ranks)
        self.transform = make_transform(plan, self.index)
        context.say("build")
        with strategy.scope():
            self.model = build_model(plan.model)
            steps = count_steps(self.index, "training", context.num_workers, plan.fit.batch_size)
            self.metrics = compile_model(self.model, plan, steps)
        self.checkpoints = Checkpoints(
            context.run,
            is_chief=context.is_chief,
            keep=plan.fit.keep_checkpoints,
            model=self.model,
            optimizer=self.model.optimizer,
            metrics=self.metrics,
        )
        self.first_step_at = 0.0
        self.summary = tf.summary.create_file_writer(str(context.run.tensorboard_dir)) if context.is_chief else None

    def restore(self) -> Place:
        """Take up the last checkpoint if the plan says so; the place to begin at."""
        if not self.plan.resume:
            return Place()
        self.context.say("restore")
        return self.checkpoints.restore()

    def train_epoch(self, epoch: int, skip: int = 0) -> dict[str, float]:
        """Every training example once, then every validation example once.

        Parameters
        ----------
        skip : steps of this epoch that were taken before a checkpoint; their part in the metrics is in it
        """
        fit = self.plan.fit
        self.begun, self.begun_at = Place(epoch, skip), time.monotonic()
        data, steps = self._data("training", (fit.seed, epoch, fit.shuffle_buffer), skip)
        watcher = self._watcher(self.begun, steps)
        with self._shards_named():
            logs = self.model.fit(data, steps_per_epoch=steps - skip, epochs=1, verbose=0, callbacks=[watcher]).history
        self.pulse.rest()
        self.unsaved = self._row(logs["cross_entropy"][0], logs["accuracy"][0], steps)
        self._agree_on_statistics()
        return self._validate(self.unsaved, (epoch + 1) * steps)

    def _row(self, loss: float, accuracy: float, steps: int) -> dict[str, float]:
        """The line of the epoch that has been trained now."""
        seconds = time.monotonic() - self.begun_at
        return {
            "epoch": self.begun.epochs + 1,
            "loss": loss,
            "accuracy": accuracy,
            "examples_per_s": self.num_examples * (1 - self.begun.steps / steps) / seconds,
            "seconds": seconds,
        }

    def _validate(self, row: dict[str, float], step: int) -> dict[str, float]:
        """`row` with the losses of the validation split, if there is one."""
        if self.index.of_split("validation"):
            self.context.say("validate", step)
            data, steps = self._data("validation", None)
            with self._shards_named():
                logs = self.model.evaluate(data, steps=steps, verbose=0, return_dict=True)
            row |= {"val_loss": logs["cross_entropy"], "val_accuracy": logs["accuracy"]}
        return row

    @contextmanager
    def _shards_named(self) -> Iterator[None]:
        """Say in a sentence what TensorFlow says in pages of a shard that it can't read."""
        import tensorflow as tf

        try:
            yield
        except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
            raise ShardError(
                f"{self.plan.shards}: a shard is damaged or gone ({one_line(error)[:300]}); `hybridspeech inspect --verify` "
                "says which, `hybridspeech preprocess --resume` makes it again, `train --resume` goes on"
            ) from error

    def _agree_on_statistics(self) -> None:
        """Give all replicas the mean of their BatchNorm statistics, which is what a saved model has.

        Each replica moves averages of its own while it trains; validating with them would measure another model.
        """
        for variable in self.model.non_trainable_variables:
            variable.assign(variable.read_value())

    def _data(self, split: str, shuffle: tuple[int, int, int] | None, skip: int = 0) -> tuple[Any, int]:
        workers, batch_size = self.context.num_workers, self.plan.fit.batch_size

        def make(_: Any = None) -> tf.data.Dataset:
            dataset = worker_dataset(
                self.plan.shards,
                self.index,
                split,
                rank=self.context.rank,
                num_workers=workers,
                batch_size=batch_size,
                shuffle=shuffle,
                skip=skip,
                transform=self.transform,
                copy=1 + shuffle[1] if shuffle else 0,
                label_weights=self.plan.label_weights if shuffle else (),
            )
            return self.pulse.counted(dataset) if split == "training" else dataset

        data = make() if workers == 1 else self.strategy.distribute_datasets_from_function(make)
        return data, count_steps(self.index, split, workers, batch_size)

    def _watcher(self, begun: Place, steps: int) -> tf_keras.callbacks.Callback:
        """Says where the worker is, at most about once a second; stops on a loss that is not finite; saves now and then."""
        import tf_keras

        trainer, said, every = self, 0.0, self.plan.fit.checkpoint_steps or 0

        def on_epoch_begin(epoch: int, logs: dict[str, Any] | None = None) -> None:
            for metric in trainer.metrics:  # `fit` does not know them yet when it begins for the first time
                metric.reset_state()
            if begun.steps:
                trainer.checkpoints.restore_again(begun, metrics=trainer.metrics)

        def on_batch_end(batch: int, logs: dict[str, Any]) -> None:
            nonlocal said
            if not trainer.first_step_at:
                trainer.first_step_at = time.time()
            place = Place(begun.epochs, begun.steps + batch + 1)
            is_due = every > 0 and place.steps % every == 0 and place.steps < steps
            step = place.epochs * steps + place.steps
            trainer.pulse.tick()
            stops = trainer.looks.is_time() and place.steps < steps  # else with the epoch's own checkpoint
            is_due = is_due or stops
            if time.monotonic() - said > 1 or place.steps == steps or is_due:
                said = time.monotonic()
                if not math.isfinite(logs["loss"]):
                    raise ArithmeticError(f"loss is {logs['loss']} at step {step}; try a lower learning rate")
                trainer.context.say("save" if is_due else "step", step)
            if is_due:
                trainer._agree_on_statistics()  # a checkpoint has their mean only: who resumes must not see others
                trainer.checkpoints.save(place)
                trainer.context.say("step", step)
            if stops:
                raise Stopped

        return tf_keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin, on_batch_end=on_batch_end)

    def save_epoch(self, row: dict[str, float]) -> None:
        """A checkpoint, and the epoch's line in the metrics; every rank takes part.

        Raises
        ------
        Stopped: after it, if that was asked for and epochs are left.
        """
        run, epoch = self.context.run, int(row["epoch"])

        def note() -> None:
            run.keep_metrics(epoch - 1)
            run.append_metrics(row)

        self.context.say("save")
        self.checkpoints.save(Place(epoch), before_publishing=note)
        if self.summary:
            with self.summary.as_default(step=epoch):
                write_scalars(row)
        self.unsaved = {}
        if self.looks.is_time() and epoch < self.plan.fit.epochs:
            raise Stopped

    def save_interrupted(self) -> None:
        """Save what an interrupt of this very process would lose (backend `local`): an epoch that only wants validation,
        or the steps of one. Weights, optimizer and metrics of a step change in one call, between two of Python's own.
        """
        if self.context.num_workers > 1:
            return  # the others take no part in it
        steps = count_steps(self.index, "training", 1, self.plan.fit.batch_size)
        step = int(self.model.optimizer.iterations.numpy())
        place = Place(*divmod(step, steps))
        if place.epochs == self.begun.epochs and place > self.begun:
            self.context.say("save", step)
            self.checkpoints.save(place)
        elif place == Place(self.begun.epochs + 1) and place not in places(self.context.run):
            loss, accuracy = (float(metric.result()) for metric in self.metrics)
            self.save_epoch(self._validate(self.unsaved or self._row(loss, accuracy, steps), step))

    def take_best(self, history: Sequence[Mapping[str, float]]) -> None:
        """Go back to the weights after the epoch with the least validation loss."""
        self.context.say("restore")
        self.checkpoints.restore_again(Place(best_of(history)), model=self.model)

    def save_model(self) -> None:
        """The weights of the trained model; their presence says that training has ended."""
        self.context.say("save")
        weights = self.context.run.weights_path
        with published(self.context.run.model_dir, self.context.is_chief) as folder:
            self.model.save_weights(folder / weights.name)


def make_transform(plan: TrainPlan, index: ShardIndex) -> ClipTransform:
    """What becomes of the stored clips on their way into the network."""
    augment, rate_hz = plan.fit.augment, plan.features.sample_rate_hz
    paths = index.noise_paths(plan.shards, "training") if augment.needs_noise else ()
    noises = load_noises(paths, rate_hz, plan.features.num_samples)
    augmenter = Augmenter(augment, sample_rate_hz=rate_hz, seed=plan.fit.seed, noises=noises)
    return ClipTransform(plan.stored, plan.features, augmenter)


def write_scalars(row: dict[str, float]) -> None:
    """One epoch as TensorBoard scalars."""
    import tensorflow as tf

    for name, value in row.items():
        tf.summary.scalar(name, value)
