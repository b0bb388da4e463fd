"""Plain Keras: the same network and shards, with `model.fit` and tf.data."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from hybridspeech.commands.train import TrainResult
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.config import FitConfig


def fit_plainly(shards: Path, fit: FitConfig) -> TrainResult:
    """Train in this process, with the times that `train` reports."""
    started = time.time()
    import tf_keras

    tf_keras.utils.set_random_seed(fit.seed)
    index = ShardIndex.load(shards)
    model = plain_cnn((*index.features.shape, 1), len(index.labels))
    model.compile(tf_keras.optimizers.Adam(fit.learning_rate), "sparse_categorical_crossentropy", ["accuracy"])
    data = plain_dataset(shards, index, fit)
    times: list[float] = []
    epochs: list[tuple[float, float]] = []
    watcher = tf_keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epochs.append((time.time(), 0.0)),
        on_batch_end=lambda batch, logs: times.append(time.time()) if not times else None,
        on_epoch_end=lambda epoch, logs: epochs.append((epochs.pop()[0], time.time())),
    )
    logs = model.fit(data, epochs=fit.epochs, verbose=0, callbacks=[watcher]).history
    seconds = [end - begin for begin, end in epochs]
    num_examples = index.splits["training"]
    history = tuple(
        {"epoch": i + 1, "loss": logs["loss"][i], "accuracy": logs["accuracy"][i]} for i in range(fit.epochs)
    )
    return TrainResult(
        run_dir="",
        backend="keras-fit",
        num_workers=1,
        global_batch_size=fit.batch_size,
        steps_per_epoch=-(-num_examples // fit.batch_size),
        startup_s=times[0] - started,
        train_s=time.time() - times[0],
        examples_per_s=num_examples / statistics.median(seconds[1:] or seconds),
        history=history,
    )


def plain_cnn(shape: tuple[int, int, int], num_labels: int) -> Any:
    """Return the network of the 2020 report, as described there."""
    from tf_keras import Sequential, layers

    return Sequential(
        [
            layers.Input(shape),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(3),
            layers.Dropout(0.2),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(3),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.BatchNormalization(),
            layers.Dense(128, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(128, activation="relu"),
            layers.Dense(num_labels, activation="softmax"),
        ]
    )


def plain_dataset(shards: Path, index: ShardIndex, fit: FitConfig) -> Any:
    """Return shuffled (spectrogram, label) batches of the training split."""
    import tensorflow as tf

    shape = index.features.shape
    description = {
        "spectrogram": tf.io.FixedLenFeature((*shape, 1), tf.float32),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def parse(record: Any) -> Any:
        example = tf.io.parse_single_example(record, description)
        return example["spectrogram"], example["label"]

    files = [str(shards / shard.name) for shard in index.of_split("training")]
    records = tf.data.TFRecordDataset(files).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return records.shuffle(fit.shuffle_buffer).batch(fit.batch_size).prefetch(tf.data.AUTOTUNE)
