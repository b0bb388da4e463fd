"""Readers of spectrograms from shards. Each public function returns the function that is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.shards.reader import read_shard

Reader = Callable[[Sequence[Path]], Iterator[np.ndarray]]
"""Yields the spectrograms of shards, float32 [shape=(1025, 50)], in order."""

SHAPE = FeatureConfig().shape
BATCH_SIZE = 16


def hybridspeech(*, verify: bool) -> Reader:
    """Return the shard reader of this package."""

    def read(paths: Sequence[Path]) -> Iterator[np.ndarray]:
        for path in paths:
            for example in read_shard(path, verify=verify, shape=SHAPE):
                yield example.values

    return read


def tf_data() -> Reader:
    """Return a reader with TFRecordDataset that parses batches."""
    import tensorflow as tf

    description = {
        "spectrogram": tf.io.FixedLenFeature(SHAPE, tf.float32),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "clip_id": tf.io.FixedLenFeature([], tf.string),
    }

    def read(paths: Sequence[Path]) -> Iterator[np.ndarray]:
        records = tf.data.TFRecordDataset([str(path) for path in paths], buffer_size=1 << 20).batch(BATCH_SIZE)
        parsed = records.map(lambda batch: tf.io.parse_example(batch, description), num_parallel_calls=1)
        for batch in parsed.prefetch(2).as_numpy_iterator():
            yield from batch["spectrogram"]

    return read


def tfrecord_package() -> Reader:
    """Return a reader with `tfrecord.tfrecord_loader` of the package tfrecord."""
    import tfrecord

    description = {"spectrogram": "float", "label": "int", "clip_id": "byte"}

    def read(paths: Sequence[Path]) -> Iterator[np.ndarray]:
        for path in paths:
            for example in tfrecord.tfrecord_loader(str(path), None, description):
                yield example["spectrogram"].reshape(SHAPE)

    return read
