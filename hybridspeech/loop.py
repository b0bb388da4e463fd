"""The only training loop: what each worker does, whichever backend has started it. Knows nothing of Spark and Ray.

Where TF_CONFIG names more than one worker, the model is mirrored by MultiWorkerMirroredStrategy. Whatever reads BatchNorm
statistics is then a collective, so every rank saves; the chief's files are kept, the others' go to a scratch folder.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridspeech.config import TrainPlan, WorkerReport
from hybridspeech.dataset import count_examples, count_steps, worker_dataset
from hybridspeech.errors import RunError
from hybridspeech.loopback import keep_to_loopback
from hybridspeech.model import build_model, import_tensorflow
from hybridspeech.runs import RunDirectory
from hybridspeech.runtime import LOOPBACK
from hybridspeech.shards import ShardIndex
from hybridspeech.worker import WorkerContext

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
    ArithmeticError: the loss is not finite. RunError: a checkpoint to resume from is damaged.
    """
    context.say("import")
    configure_tensorflow(plan)
    strategy = make_strategy(context.num_workers)
    trainer = Trainer(plan, context, strategy)
    history = []
    for epoch in range(trainer.restore(), plan.fit.epochs):
        row = trainer.train_epoch(epoch)
        history.append(row)
        trainer.save_checkpoint(epoch, row)
    trainer.save_model()
    return WorkerReport(
        rank=context.rank,
        history=tuple(context.run.read_metrics() if context.is_chief else history),
        first_step_at=trainer.first_step_at,
        finished_at=time.time(),
        num_examples=trainer.num_examples * len(history),
    )


def configure_tensorflow(plan: TrainPlan) -> None:
    """Threads, seeds and determinism; must come before any TensorFlow operation of the process.

    In a process that has used TensorFlow already (the local backend, run twice) its threads stay as they were.
    """
    import_tensorflow()
    import tensorflow as tf
    import tf_keras

    threads = plan.cluster.threads_per_worker or own_cores()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
    except RuntimeError:
        if tf.config.threading.get_intra_op_parallelism_threads() not in (0, threads):
            raise
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(plan.fit.seed)
    if plan.fit.deterministic:
        tf.config.experimental.enable_op_determinism()


def own_cores() -> int:
    """Cores for this worker: those of the machine, shared with the ranks that TF_CONFIG places on the same host."""
    hosts = hosts_of_ranks()
    ranks_here = max((hosts.count(host) for host in hosts), default=1)
    return max(1, len(os.sched_getaffinity(0)) // ranks_here)


def hosts_of_ranks() -> list[str]:
    """Host of every rank, as TF_CONFIG has it; empty where it names none."""
    cluster = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {})
    return [address.rsplit(":", 1)[0] for addresses in cluster.values() for address in addresses]


def make_strategy(num_workers: int) -> tf.distribute.Strategy:
    """MultiWorkerMirroredStrategy for more than one worker, else TensorFlow's default (no) strategy.

    Where all ranks are on this machine, TensorFlow's servers, which nobody asks who he is, are kept to loopback.
    """
    import tensorflow as tf

    if num_workers == 1:
        return tf.distribute.get_strategy()
    if set(hosts_of_ranks()) <= {LOOPBACK}:
        keep_to_loopback()
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


class Trainer:
    """One rank's model, data and checkpoints."""

    def __init__(self, plan: TrainPlan, context: WorkerContext, strategy: tf.distribute.Strategy) -> None:
        import tensorflow as tf

        self.plan, self.context, self.strategy = plan, context, strategy
        context.say("data")
        self.index = ShardIndex.load(plan.shards)
        ranks = range(context.num_workers)
        self.num_examples = sum(count_examples(self.index, "training", rank, len(ranks)) for rank in ranks)
        context.say("build")
        with strategy.scope():
            self.model = build_model(plan.model)
            compile_model(self.model, plan)
        self.checkpoint = tf.train.Checkpoint(model=self.model, optimizer=self.model.optimizer)
        self.first_step_at = 0.0
        self.summary = tf.summary.create_file_writer(str(context.run.tensorboard_dir)) if context.is_chief else None

    def restore(self) -> int:
        """Take up the last checkpoint if the plan says so; returns the epoch to begin with."""
        last = last_checkpoint(self.context.run) if self.plan.resume else None
        if last is None:
            return 0
        epoch, path = last
        self.context.say("restore")
        try:
            self.checkpoint.read(str(path / "state")).assert_consumed()
        except Exception as error:
            raise RunError(f"{path}: this checkpoint can't be read ({error}); remove it and resume again") from error
        return epoch + 1

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Every training example once, then every validation example once."""
        fit = self.plan.fit
        started = time.monotonic()
        data, steps = self._data("training", (fit.seed, epoch, fit.shuffle_buffer))
        watcher = self._watcher(epoch, steps)
        logs = self.model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, callbacks=[watcher]).history
        seconds = time.monotonic() - started
        row: dict[str, float] = {
            "epoch": epoch + 1,
            "loss": logs["cross_entropy"][0],
            "accuracy": logs["accuracy"][0],
            "examples_per_s": self.num_examples / seconds,
            "seconds": seconds,
        }
        self._agree_on_statistics()
        if self.index.of_split("validation"):
            self.context.say("validate", (epoch + 1) * steps)
            data, steps = self._data("validation", None)
            logs = self.model.evaluate(data, steps=steps, verbose=0, return_dict=True)
            row |= {"val_loss": logs["cross_entropy"], "val_accuracy": logs["accuracy"]}
        return row

    def _agree_on_statistics(self) -> None:
        """Give all replicas the mean of their BatchNorm statistics, which is what a saved model has.

        Each replica moves averages of its own while it trains; validating with them would measure another model.
        """
        for variable in self.model.non_trainable_variables:
            variable.assign(variable.read_value())

    def _data(self, split: str, shuffle: tuple[int, int, int] | None) -> tuple[Any, int]:
        workers, batch_size = self.context.num_workers, self.plan.fit.batch_size

        def make(_: Any = None) -> tf.data.Dataset:
            return worker_dataset(
                self.plan.shards,
                self.index,
                split,
                rank=self.context.rank,
                num_workers=workers,
                batch_size=batch_size,
                shuffle=shuffle,
            )

        data = make() if workers == 1 else self.strategy.distribute_datasets_from_function(make)
        return data, count_steps(self.index, split, workers, batch_size)

    def _watcher(self, epoch: int, steps: int) -> tf_keras.callbacks.Callback:
        """Says where the worker is, at most about once a second, and stops on a loss that is not finite."""
        import tf_keras

        trainer, said = self, 0.0

        def on_batch_end(batch: int, logs: dict[str, Any]) -> None:
            nonlocal said
            if not trainer.first_step_at:
                trainer.first_step_at = time.time()
            if time.monotonic() - said > 1 or batch + 1 == steps:
                said = time.monotonic()
                step = epoch * steps + batch + 1
                if not math.isfinite(logs["loss"]):
                    raise ArithmeticError(f"loss is {logs['loss']} at step {step}; try a lower learning rate")
                trainer.context.say("step", step)

        return tf_keras.callbacks.LambdaCallback(on_batch_end=on_batch_end)

    def save_checkpoint(self, epoch: int, row: dict[str, float]) -> None:
        """Weights, optimizer state and step; every rank takes part, the chief's copy is published by rename."""
        run = self.context.run
        self.context.say("save")
        with self._published(checkpoint_path(run, epoch)) as folder:
            self.checkpoint.write(str(folder / "state"))
            if self.context.is_chief:
                run.keep_metrics(epoch)
                run.append_metrics(row)
        if self.summary:
            with self.summary.as_default(step=epoch + 1):
                write_scalars(row)
            for old in sorted(run.checkpoints_dir.glob("epoch-*"))[: -self.plan.fit.keep_checkpoints]:
                shutil.rmtree(old)

    def save_model(self) -> None:
        """The weights of the trained model; their presence says that training has ended."""
        self.context.say("save")
        weights = self.context.run.weights_path
        with self._published(self.context.run.model_dir) as folder:
            self.model.save_weights(folder / weights.name)

    @contextmanager
    def _published(self, target: Path) -> Iterator[Path]:
        """A folder to write into: the chief's becomes `target` when it is whole, another rank's is thrown away."""
        parent = target.parent if self.context.is_chief else None
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=parent))
        try:
            yield folder
            if self.context.is_chief:
                shutil.rmtree(target, ignore_errors=True)
                folder.chmod(0o755)
                folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def compile_model(model: tf_keras.Model, plan: TrainPlan) -> None:
    """Adam and sparse cross-entropy; the reported loss is a weighted metric, since fillers have weight 0."""
    import tf_keras

    model.compile(
        optimizer=tf_keras.optimizers.Adam(plan.fit.learning_rate),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(),
        weighted_metrics=[
            tf_keras.metrics.SparseCategoricalCrossentropy(name="cross_entropy"),
            tf_keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        ],
    )
    model.optimizer.build(model.trainable_variables)


def write_scalars(row: dict[str, float]) -> None:
    """One epoch as TensorBoard scalars."""
    import tensorflow as tf

    for name, value in row.items():
        tf.summary.scalar(name, value)


def checkpoint_path(run: RunDirectory, epoch: int) -> Path:
    """Where the checkpoint after the epoch with this index (from 0) stands."""
    return run.checkpoints_dir / f"epoch-{epoch + 1:04d}"


def last_checkpoint(run: RunDirectory) -> tuple[int, Path] | None:
    """(index of the epoch, folder) of the newest checkpoint, if there is one."""
    found = sorted(run.checkpoints_dir.glob("epoch-[0-9]*"))
    return (int(found[-1].name.removeprefix("epoch-")) - 1, found[-1]) if found else None
