"""Reads shards with tf.data. Knows nothing of models, backends and Spark.

Every rank takes the same number of steps per epoch, also if ranks have different numbers of examples: a rank without further
examples repeats some with weight 0. So each example counts exactly once per epoch, in training and in validation, for any
number of workers and any batch size, and no collective waits for a rank that has ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.errors import ShardError
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.shards.content import check_record_lengths, find_problem
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.local_copies import ShardFolder
from hybridspeech.shards.names import ShardInfo
from hybridspeech.storage.copies import LocalCopies
from hybridspeech.training.negatives import NegativeBatches
from hybridspeech.training.partition import count_steps, rank_shards

if TYPE_CHECKING:
    import tensorflow as tf

READERS = 4


@dataclass(frozen=True, kw_only=True)
class EpochInput:
    """What one rank reads of a split in one epoch.

    Parameters
    ----------
    shuffle : (seed, epoch, buffer size in examples), which alone decide the order; None keeps the order of the shards
    skip : number of batches at the beginning that are left out: those trained on before a checkpoint
    transform : from stored clips to inputs of the network; None: they are the same
    copy : which augmented version of every clip; 0: the clip without augmentation
    label_weights : weight of an example of each label; empty: 1
    negatives : fill up each batch, with weight 1; needs `shuffle`
    """

    rank: int
    num_workers: int
    batch_size: int
    shuffle: tuple[int, int, int] | None = None
    skip: int = 0
    transform: ClipTransform | None = None
    copy: int = 0
    label_weights: Sequence[float] = ()
    negatives: NegativeBatches | None = None


def worker_dataset(folder: ShardFolder | Path, index: ShardIndex, split: str, epoch: EpochInput) -> tf.data.Dataset:
    """Return one rank's part of a split for one epoch: exactly `count_steps` batches of exactly `batch_size`, and negatives.

    Returns
    -------
    Dataset of (spectrogram float32 [batch, num_bins, num_frames, 1] in dB, target float32 [batch, num_labels]: probabilities
    of the labels, weight float32 [batch]: 0 for an example that only fills the batch); batch is `batch_size` and the number
    of negatives.
    """
    import tensorflow as tf

    shards = rank_shards(index, split, epoch.rank, epoch.num_workers)
    records = _read(folder, index, shards)
    shuffled = records
    if epoch.shuffle:
        seed, number, buffer = epoch.shuffle
        generator = np.random.default_rng([seed, number, epoch.rank])
        order = [shards[i] for i in generator.permutation(len(shards))]
        if isinstance(folder, LocalCopies):
            folder.expect([shard.name for shard in order])
        shuffled = _read(folder, index, order, interleave=True)
        shuffled = shuffled.shuffle(buffer, seed=int(generator.integers(1 << 62)), reshuffle_each_iteration=False)
    num_examples = sum(shard.num_examples for shard in shards)
    num_steps = count_steps(index, split, epoch.num_workers, epoch.batch_size)
    num_fill = num_steps * epoch.batch_size - num_examples
    counted = shuffled.map(lambda record: (record, tf.constant(1.0)))
    filling = records.repeat().take(num_fill).map(lambda record: (record, tf.constant(0.0)))

    def parse(step: Any, batch: Any) -> Any:
        records, weights = batch
        example = parse_examples(index, records)
        if epoch.label_weights:
            weights *= tf.gather(tf.constant(epoch.label_weights, tf.float32), example["label"])
        if epoch.negatives and epoch.shuffle:
            number = (epoch.shuffle[1] * num_steps + step) * epoch.num_workers + epoch.rank
            example = _filled(example, epoch.negatives, number)
            weights = tf.concat([weights, tf.ones(epoch.negatives.per_batch)], axis=0)
        targets = tf.one_hot(example["label"], len(index.labels))
        return *_inputs(example, targets, epoch.transform, epoch.copy), weights

    batches = counted.concatenate(filling).batch(epoch.batch_size, drop_remainder=True).enumerate().skip(epoch.skip)
    dataset = batches.map(parse, num_parallel_calls=2, deterministic=True).prefetch(2)
    return dataset.with_options(_options())


def _filled(example: dict[str, Any], negatives: NegativeBatches, number: Any) -> dict[str, Any]:
    """Return a batch of waveforms with its negatives behind them.

    They are at the end, so that mixup mixes negatives with negatives, and clips with clips: only the two ends are mixed.
    """
    import tensorflow as tf

    windows, labels, ids = tf.numpy_function(negatives.batch, (number,), (tf.int16, tf.int32, tf.string))
    shape = (negatives.per_batch,)
    return {
        "values": tf.concat(
            [example["values"], tf.ensure_shape(windows, (*shape, negatives.windows.shape[1]))], axis=0
        ),
        "label": tf.concat([example["label"], tf.ensure_shape(labels, shape)], axis=0),
        "clip_id": tf.concat([example["clip_id"], tf.ensure_shape(ids, shape)], axis=0),
    }


def evaluation_dataset(
    folder: str | Path, index: ShardIndex, split: str, batch_size: int, transform: ClipTransform | None = None
) -> tf.data.Dataset:
    """Return a whole split in shard order, each example once and without augmentation; the last batch may be smaller.

    Returns
    -------
    Dataset of (spectrogram float32 [batch, num_bins, num_frames, 1] in dB, label int32 [batch],
    clip_id string [batch], speaker string [batch]).
    """
    records = _read(folder, index, index.of_split(split))

    def parse(records: Any) -> Any:
        example = parse_examples(index, records)
        spectrogram, label = _inputs(example, example["label"], transform, 0)
        return spectrogram, label, example["clip_id"], example["speaker"]

    dataset = records.batch(batch_size).map(parse, num_parallel_calls=2, deterministic=True).prefetch(2)
    return dataset.with_options(_options())


def _inputs(example: dict[str, Any], targets: Any, transform: ClipTransform | None, copy: int) -> tuple[Any, Any]:
    """Return the network's inputs [batch, num_bins, num_frames, 1] and the targets of a batch, after mixup if it is on."""
    import tensorflow as tf

    if transform is None:
        return tf.expand_dims(example["values"], -1), targets
    made = example["values"]
    if not transform.is_identity:
        made = tf.numpy_function(
            lambda values, ids: transform(values, _texts(ids), copy), (made, example["clip_id"]), tf.float32
        )
        made = tf.ensure_shape(made, (None, *transform.features.shape))
    if copy and transform.has_mixup:
        shares = tf.numpy_function(
            lambda ids: transform.mixup_weights(_texts(ids), copy), (example["clip_id"],), tf.float32
        )
        shares = tf.ensure_shape(shares, (None,))
        made = _mixed(made, shares[:, tf.newaxis, tf.newaxis])
        targets = _mixed(targets, shares[:, tf.newaxis])
    return tf.expand_dims(made, -1), targets


def _mixed(values: Any, shares: Any) -> Any:
    """Mix each example with the one before it in the batch, which is in random order."""
    import tensorflow as tf

    return shares * values + (1 - shares) * tf.roll(values, 1, axis=0)


def _texts(ids: np.ndarray) -> list[str]:
    return [name.decode("utf-8", "surrogateescape") for name in ids]


def parse_examples(index: ShardIndex, records: Any) -> dict[str, Any]:
    """Parse serialised examples (string [batch]) into label int32, clip_id and speaker string [batch], and values.

    `values` are spectrograms, float32 [batch, num_bins, num_frames], or waveforms, int16 [batch, num_samples]. Labels and
    values are compared with the index; the operations fail if they do not fit (see `shard_errors`).
    """
    import tensorflow as tf

    shape, dtype = index.features.shape, index.shards_config.dtype
    name = "waveform" if dtype == "int16" else "spectrogram"
    text = tf.io.FixedLenFeature([], tf.string, "")
    stored = tf.io.FixedLenFeature(shape, tf.float32) if dtype == "float32" else tf.io.FixedLenFeature([], tf.string)
    example = tf.io.parse_example(
        records, {name: stored, "label": tf.io.FixedLenFeature([], tf.int64), "clip_id": text, "speaker": text}
    )
    values = example[name]
    if dtype != "float32":
        values = tf.ensure_shape(tf.io.decode_raw(values, dtype), (None, shape[0] * shape[1]))
    if dtype == "float16":
        values = tf.cast(values, tf.float32)
    sizes = shape[1:] if dtype == "int16" else shape
    label = example["label"]
    fits = tf.reduce_all((label >= 0) & (label < len(index.labels)))
    if dtype != "int16":
        fits &= tf.math.is_finite(tf.reduce_sum(values))  # one pass: a value that is not finite is in the sum
    with tf.control_dependencies([tf.debugging.Assert(fits, ["an example does not fit the index"])]):
        values = tf.identity(values)
    return {
        "values": tf.reshape(values, (-1, *sizes)),
        "label": tf.cast(label, tf.int32),
        "clip_id": example["clip_id"],
        "speaker": example["speaker"],
    }


def _read(
    folder: ShardFolder | Path, index: ShardIndex, shards: Sequence[ShardInfo], *, interleave: bool = False
) -> tf.data.Dataset:
    """Return the serialised examples of shards; reading fails if a shard has another number of examples than the index."""
    import tensorflow as tf

    compression = "GZIP" if index.shards_config.compression == "gzip" else ""

    def check(path: bytes) -> bytes:
        local = folder.path(os.fsdecode(path)) if isinstance(folder, LocalCopies) else os.fsdecode(path)
        if not compression:
            check_record_lengths(local)
        return os.fsencode(local)

    def read(path: Any, num_examples: Any) -> Any:
        path = tf.ensure_shape(tf.numpy_function(check, (path,), tf.string), ())
        records = tf.data.TFRecordDataset(path, compression_type=compression, buffer_size=1 << 20)
        return records.apply(tf.data.experimental.assert_cardinality(num_examples))

    paths = [shard.name if isinstance(folder, LocalCopies) else str(Path(folder) / shard.name) for shard in shards]
    counts = np.array([shard.num_examples for shard in shards], np.int64)
    files = tf.data.Dataset.from_tensor_slices((paths, counts))
    if not interleave:
        return files.flat_map(read)
    return files.interleave(read, cycle_length=READERS, num_parallel_calls=2, deterministic=True)


@contextmanager
def shard_errors(
    folder: ShardFolder | Path,
    index: ShardIndex,
    shards: Sequence[ShardInfo],
    on_shard: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Replace TensorFlow's errors on the content of shards by a ShardError that names shard and record.

    TensorFlow's errors do not name them, so the shards are read again, without TensorFlow, until the first problem.

    Parameters
    ----------
    on_shard : called before each shard is read again
    """
    import tensorflow as tf

    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.NotFoundError,
        tf.errors.InvalidArgumentError,
        tf.errors.FailedPreconditionError,
        tf.errors.OutOfRangeError,
        tf.errors.UnknownError,
    ) as error:
        if isinstance(folder, LocalCopies):
            raise (folder.error or error) from error
        problem = find_problem(folder, index, shards, on_shard)
        if not problem:
            raise
        raise ShardError(
            f"{problem}; `hybridspeech preprocess --resume` makes a damaged shard again, and `train --resume` continues"
        ) from error


def _options() -> Any:
    """Options without auto-sharding, since each rank has its own shards, and without autotuning.

    There is nothing to tune, and the end of an epoch waits for the tuner's thread, which sleeps until 2.6, 5.1, 10, 20 and
    41 s after its start: an epoch of 2.8 s took 5.1 s.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.deterministic = True
    options.autotune.enabled = False
    return options
