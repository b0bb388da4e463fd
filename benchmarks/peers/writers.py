"""Writers of spectrograms to a TFRecord file. Each public function returns the function that is timed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.writer import ShardWriter

Writer = Callable[[Path, Iterable[np.ndarray]], None]
"""Writes spectrograms, float32 [shape=(1025, 50)], to a file and syncs it."""


def hybridspeech() -> Writer:
    """Return the shard writer of this package."""

    def write(path: Path, spectrograms: Iterable[np.ndarray]) -> None:
        with ShardWriter(path, ShardConfig(dtype="float32"), FeatureConfig().shape) as writer:
            for spectrogram in spectrograms:
                writer.write("word/clip.wav", 1, "word", "speaker", spectrogram)

    return write


def tf_append() -> Writer:
    """Return a writer that fills a FloatList value by value."""

    def feature(tf: Any, spectrogram: np.ndarray) -> Any:
        floats = tf.train.FloatList()
        for value in spectrogram.ravel():
            floats.value.append(value)
        return tf.train.Feature(float_list=floats)

    return _by_tensorflow(feature)


def tf_float_list() -> Writer:
    """Return a writer that makes a FloatList from the array."""
    return _by_tensorflow(
        lambda tf, spectrogram: tf.train.Feature(float_list=tf.train.FloatList(value=spectrogram.ravel()))
    )


def tf_bytes() -> Writer:
    """Return a writer that stores the raw bytes of the array."""
    return _by_tensorflow(
        lambda tf, spectrogram: tf.train.Feature(bytes_list=tf.train.BytesList(value=[spectrogram.tobytes()]))
    )


def _by_tensorflow(feature: Callable[[Any, np.ndarray], Any]) -> Writer:
    import tensorflow as tf

    def text(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    label = tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))
    small = {
        "clip_id": text(b"word/clip.wav"),
        "label_name": text(b"word"),
        "speaker": text(b"speaker"),
        "label": label,
    }

    def write(path: Path, spectrograms: Iterable[np.ndarray]) -> None:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for spectrogram in spectrograms:
                features = tf.train.Features(feature={**small, "spectrogram": feature(tf, spectrogram)})
                writer.write(tf.train.Example(features=features).SerializeToString())
        _sync(path)

    return write


def tfrecord_package() -> Writer:
    """Return a writer with `tfrecord.TFRecordWriter` of the package tfrecord."""
    import tfrecord

    small = {
        "clip_id": (b"word/clip.wav", "byte"),
        "label": (1, "int"),
        "label_name": (b"word", "byte"),
        "speaker": (b"speaker", "byte"),
    }

    def write(path: Path, spectrograms: Iterable[np.ndarray]) -> None:
        writer = tfrecord.TFRecordWriter(str(path))
        for spectrogram in spectrograms:
            writer.write({**small, "spectrogram": (spectrogram.ravel(), "float")})
        writer.close()
        _sync(path)

    return write


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
