"""The stage in TensorFlow: tf.data, tf.audio and tf.signal; writes TFRecords of serialized tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers.pipeline import Stage, Stopwatch, list_clips, some
from benchmarks.peers.transforms import tensor_decibels
from benchmarks.reference import NUM_SAMPLES


def run(source: Path, out: Path) -> Stage:
    """Preprocess a folder: read, decode and transform on all cores, with one writer."""
    watch = Stopwatch()
    import tensorflow as tf

    def load(path: Any) -> Any:
        wave, _ = tf.audio.decode_wav(tf.io.read_file(path), desired_channels=1, desired_samples=NUM_SAMPLES)
        return path, tf.io.serialize_tensor(tensor_decibels(tf.squeeze(wave, -1)))

    tf.constant(0)  # starts the runtime
    watch.started()
    paths = list_clips(source)
    data = tf.data.Dataset.from_tensor_slices(paths).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    kept, count = dict.fromkeys(some(paths), b""), 0
    with tf.io.TFRecordWriter(str(out / "spectrograms.tfrecord")) as writer:
        for path, record in data.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            writer.write(record)
            count += 1
            if path.decode() in kept:
                kept[path.decode()] = record
    watch.done()
    samples = {path: tf.io.parse_tensor(record, tf.float32).numpy() for path, record in kept.items()}
    return Stage(num_clips=count, watch=watch, samples=samples)
