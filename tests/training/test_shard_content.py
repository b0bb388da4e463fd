"""Shards whose content does not fit their index: training and evaluation name shard and record."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ShardError
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.content import check_record_lengths, read_checked
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import shard_name
from hybridspeech.shards.tfrecord import record_header
from hybridspeech.shards.writer import ShardWriter
from hybridspeech.training.dataset import EpochInput, evaluation_dataset, shard_errors, worker_dataset

LOGMEL, WAVEFORM = FeatureConfig(kind="logmel", n_mels=17, hop_length=400), FeatureConfig(kind="waveform")
NUM_SHARDS, NUM_EXAMPLES = 3, 6
LABELS = ("no", "yes")


def made(folder: Path, label: int = 1, value: float = 0.5, features: FeatureConfig = LOGMEL, **stored: str) -> Path:
    """Write shards; record 4 of the second has this label and value."""
    config = ShardConfig(num_shards=NUM_SHARDS, **stored).for_features(features.kind)  # type: ignore[arg-type]
    shards = []
    for number in range(NUM_SHARDS):
        name = shard_name("training", number, NUM_SHARDS, config.compression)
        with ShardWriter(folder / name, config, features.shape) as writer:
            for record in range(NUM_EXAMPLES):
                is_odd = (number, record) == (1, 4)
                values = np.full(features.shape, value if is_odd else 0.5, np.float32)
                writer.write(f"{number}/{record}.wav", label if is_odd else record % 2, "yes", "anna", values)
        assert writer.info is not None
        shards.append(writer.info)
    ShardIndex(features=features, shards_config=config, labels=LABELS, shards=tuple(shards)).save(folder)
    return folder


def recount(folder: Path, num_examples: int) -> Path:
    """Change the number of examples of the second shard in the index."""
    index = ShardIndex.load(folder)
    first, second, third = index.shards
    replace(index, shards=(first, replace(second, num_examples=num_examples), third)).save(folder)
    return folder


def set_length(folder: Path, length: int) -> Path:
    """Change the length in the header of record 4 of the second shard, with the right CRC."""
    path = sorted(folder.glob("training-00001-*"))[0]
    is_gzip = path.suffix == ".gz"
    data = bytearray(gzip.decompress(path.read_bytes()) if is_gzip else path.read_bytes())
    (length_before,) = struct.unpack_from("<Q", data)
    start = 4 * (12 + length_before + 4)
    data[start : start + 12] = record_header(length)
    path.write_bytes(gzip.compress(bytes(data)) if is_gzip else data)
    return folder


FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "label 99": (lambda folder: made(folder, label=99), r"record 4 \(1/4.wav\) has label 99; expected 0 to 1"),
    "label -1": (lambda folder: made(folder, label=-1), r"record 4 \(1/4.wav\) has label -1"),
    "label 2 ** 32": (lambda folder: made(folder, label=2**32), r"record 4 \(1/4.wav\) has label 4294967296"),
    "NaN": (lambda folder: made(folder, value=np.nan), r"record 4 \(1/4.wav\) has values that are not finite"),
    "infinite": (lambda folder: made(folder, value=-np.inf), "has values that are not finite"),
    "float16 NaN": (lambda folder: made(folder, value=np.nan, dtype="float16"), "has values that are not finite"),
    "waveform label": (lambda folder: made(folder, label=99, features=WAVEFORM), "record 4 .* has label 99"),
    "gzip label": (lambda folder: made(folder, label=99, compression="gzip"), "record 4 .* has label 99"),
    "fewer": (lambda folder: recount(made(folder), 7), "tfrecord: has 6 examples; the index has 7"),
    "more": (lambda folder: recount(made(folder), 5), "tfrecord: has 6 examples; the index has 5"),
    "2 ** 63 bytes": (
        lambda folder: set_length(made(folder), 2**63),
        "record 4 .* has a length of 9223372036854775808",
    ),
    "2 ** 40 bytes": (lambda folder: set_length(made(folder), 2**40), "record 4 .* has a length of 1099511627776"),
    "gzip 2 ** 40": (lambda folder: set_length(made(folder, compression="gzip"), 2**40), "a length of 1099511627776"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_shard_and_record_are_named(fault: str, verb: str, tmp_path: Path) -> None:
    make, message = FAULTS[fault]
    folder = make(tmp_path)
    index = ShardIndex.load(folder)
    epoch = EpochInput(rank=0, num_workers=1, batch_size=4, shuffle=(0, 0, 8))
    data = worker_dataset(folder, index, "training", epoch) if verb == "train" else None
    with (
        pytest.raises(ShardError, match=f"training-00001-of-0000.*{message}"),
        shard_errors(folder, index, index.shards),
    ):
        for _ in data if data is not None else evaluation_dataset(folder, index, "training", 4):
            pass


@pytest.mark.parametrize("stored", [{}, {"dtype": "float16"}, {"compression": "gzip"}])
def test_shards_that_fit_are_read(stored: dict[str, str], tmp_path: Path) -> None:
    index = ShardIndex.load(made(tmp_path, **stored))
    with shard_errors(tmp_path, index, index.shards):
        batches = list(evaluation_dataset(tmp_path, index, "training", 4))
    assert sum(len(labels) for _, labels, _, _ in batches) == NUM_SHARDS * NUM_EXAMPLES
    assert sum(1 for shard in index.shards for _ in read_checked(tmp_path, index, shard)) == NUM_SHARDS * NUM_EXAMPLES


def test_an_error_of_another_cause_is_not_changed(tmp_path: Path) -> None:
    import tensorflow as tf

    index = ShardIndex.load(made(tmp_path))
    with pytest.raises(tf.errors.InvalidArgumentError), shard_errors(tmp_path, index, index.shards):
        tf.debugging.assert_equal(1, 2)


def test_lengths_are_checked_without_tensorflow(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    path.write_bytes(record_header(1000) + bytes(900))
    with pytest.raises(ShardError, match="record 0 at byte 0 has length 1000; the file has 912 bytes"):
        check_record_lengths(path)
