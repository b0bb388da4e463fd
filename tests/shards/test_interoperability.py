"""Other readers read our shards: TensorFlow, the package tfrecord, Ray Data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybridspeech.engines import Engine
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import shard_name
from hybridspeech.shards.tfrecord import read_records
from hybridspeech.shards.writer import ShardWriter

SHAPE = (1025, 50)
CONFIGS = [
    ShardConfig(dtype=dtype, compression=packing) for dtype in ("float32", "float16") for packing in ("none", "gzip")
]


def spectrogram(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-100, 40, SHAPE).astype(np.float32)


def write_shard(folder: Path, config: ShardConfig, count: int = 3) -> Path:
    path = folder / shard_name("training", 0, 1, config.compression)
    with ShardWriter(path, config, SHAPE) as writer:
        for number in range(count):
            writer.write(f"b\u00eate/{number}.wav", 300 + number, "b\u00eate", f"s{number}", spectrogram(number))
    return path


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.dtype}-{config.compression}")
def test_tensorflow_parses_our_shards(config: ShardConfig, tmp_path: Path) -> None:
    import tensorflow as tf

    half = config.dtype == "float16"
    spec = {
        "spectrogram": tf.io.FixedLenFeature([] if half else SHAPE, tf.string if half else tf.float32),
        "label": tf.io.FixedLenFeature([], tf.int64),
        **{name: tf.io.FixedLenFeature([], tf.string) for name in ("label_name", "clip_id", "speaker")},
    }
    compression = "GZIP" if config.compression == "gzip" else None
    dataset = tf.data.TFRecordDataset(str(write_shard(tmp_path, config)), compression_type=compression)
    (batch,) = dataset.batch(3).map(lambda records: tf.io.parse_example(records, spec))
    values = (
        tf.reshape(tf.io.decode_raw(batch["spectrogram"], tf.float16), (3, *SHAPE)) if half else batch["spectrogram"]
    )
    expected = np.stack([spectrogram(number) for number in range(3)]).astype(config.dtype)
    np.testing.assert_array_equal(values.numpy(), expected)
    assert batch["label"].numpy().tolist() == [300, 301, 302]
    assert batch["clip_id"].numpy()[2].decode() == "b\u00eate/2.wav"
    assert batch["label_name"].numpy()[0].decode() == "b\u00eate"
    assert batch["speaker"].numpy().tolist() == [b"s0", b"s1", b"s2"]


@pytest.mark.parametrize("config", CONFIGS[::2], ids=lambda config: config.dtype)
def test_our_bytes_equal_those_of_protobuf(config: ShardConfig, tmp_path: Path) -> None:
    import tensorflow as tf

    path = write_shard(tmp_path, config, count=1)
    with path.open("rb") as file:
        ((_, ours),) = read_records(file, str(path))
    parsed = tf.train.Example.FromString(ours)
    feature, values = tf.train.Feature, spectrogram(0).astype(config.dtype)
    if config.dtype == "float32":
        array = feature(float_list=tf.train.FloatList(value=values.reshape(-1).tolist()))
    else:
        array = feature(bytes_list=tf.train.BytesList(value=[values.tobytes()]))
    names = {"clip_id": "b\u00eate/0.wav", "label_name": "b\u00eate", "speaker": "s0"}
    theirs = {key: feature(bytes_list=tf.train.BytesList(value=[name.encode()])) for key, name in names.items()}
    theirs |= {"label": feature(int64_list=tf.train.Int64List(value=[300])), "spectrogram": array}
    expected = tf.train.Example(features=tf.train.Features(feature=theirs))
    assert parsed == expected
    assert len(ours) == len(expected.SerializeToString())  # only the order of the keys may differ


@pytest.mark.parametrize("config", CONFIGS[:2], ids=lambda config: config.compression)
def test_the_tfrecord_package_reads_our_shards(config: ShardConfig, tmp_path: Path) -> None:
    # It runs in a new process, because TensorFlow registers the same protobuf names as the package.
    code = (
        "import sys, numpy; from tfrecord.reader import tfrecord_loader;"
        "kinds = {'spectrogram': 'float', 'label': 'int', 'clip_id': 'byte'};"
        "rows = list(tfrecord_loader(sys.argv[1], None, kinds, compression_type=sys.argv[2] or None));"
        "numpy.savez(sys.argv[3], **{key: numpy.stack([row[key] for row in rows]) for key in ('spectrogram', 'label')})"
    )
    packing = "gzip" if config.compression == "gzip" else ""
    command = [sys.executable, "-c", code, str(write_shard(tmp_path, config)), packing, str(tmp_path / "read.npz")]
    subprocess.run(command, check=True, timeout=120)
    rows = np.load(tmp_path / "read.npz")
    assert rows["label"].reshape(-1).tolist() == [300, 301, 302]
    np.testing.assert_array_equal(rows["spectrogram"][1], spectrogram(1).reshape(-1))


@pytest.mark.cluster
@pytest.mark.parametrize("engine", ["raydp"], indirect=True)
def test_ray_data_reads_our_shards(engine: Engine, tmp_path: Path) -> None:
    """It uses the Ray of the engine, whose executors hold the CPUs; so the reading tasks request none."""
    import ray.data

    path = write_shard(tmp_path, CONFIGS[0])
    dataset = ray.data.read_tfrecords(str(path), num_cpus=0)
    rows = sorted(dataset.take_all(), key=lambda row: int(row["label"]))
    assert [row["label"] for row in rows] == [300, 301, 302]
    assert rows[2]["speaker"] == b"s2"
    np.testing.assert_array_equal(np.asarray(rows[2]["spectrogram"], np.float32), spectrogram(2).reshape(-1))
