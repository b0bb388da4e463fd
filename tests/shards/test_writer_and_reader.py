"""Shards: the same bytes each time, complete or absent; every damage is detected."""

from __future__ import annotations

import gzip
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridspeech.errors import ConfigError, ShardError
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.names import ShardInfo, shard_name, split_of
from hybridspeech.shards.reader import Example, read_shard
from hybridspeech.shards.tfrecord import MAX_RECORD_BYTES, decode_example, masked_crc, read_records, record_header
from hybridspeech.shards.writer import ShardWriter

SHAPE = (5, 3)
PLAIN, HALF, PACKED = (
    ShardConfig(dtype="float32"),
    ShardConfig(dtype="float16"),
    ShardConfig(dtype="float32", compression="gzip"),
)


def spectrogram(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def write_shard(folder: Path, config: ShardConfig = PLAIN, count: int = 3, split: str = "training") -> ShardInfo:
    path = folder / shard_name(split, 0, 1, config.compression)
    with ShardWriter(path, config, SHAPE) as writer:
        for number in range(count):
            writer.write(f"bird/{number}.wav", number, "bird", f"speaker{number}", spectrogram(number))
    assert writer.info is not None
    return writer.info


@pytest.mark.parametrize("config", [PLAIN, HALF, PACKED])
def test_written_examples_are_read(config: ShardConfig, tmp_path: Path) -> None:
    info = write_shard(tmp_path, config)
    examples = list(read_shard(tmp_path / info.name, shape=SHAPE))
    assert [(e.clip_id, e.label, e.label_name, e.speaker) for e in examples] == [
        ("bird/0.wav", 0, "bird", "speaker0"),
        ("bird/1.wav", 1, "bird", "speaker1"),
        ("bird/2.wav", 2, "bird", "speaker2"),
    ]
    for number, example in enumerate(examples):
        np.testing.assert_array_equal(example.values, spectrogram(number).astype(config.dtype))


def test_the_record_describes_the_file(tmp_path: Path) -> None:
    info = write_shard(tmp_path, PACKED)
    data = (tmp_path / info.name).read_bytes()
    assert info == ShardInfo(
        name="training-00000-of-00001.tfrecord.gz",
        split="training",
        num_examples=3,
        num_bytes=len(data),
        checksum=f"xxh3-128:{xxhash.xxh3_128_hexdigest(data)}",
    )


@pytest.mark.parametrize("config", [PLAIN, HALF, PACKED])
def test_the_same_examples_give_the_same_bytes(config: ShardConfig, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    assert write_shard(tmp_path, config) == write_shard(tmp_path / "again", config)


def test_a_gzip_header_has_no_time_and_no_name(tmp_path: Path) -> None:
    data = (tmp_path / write_shard(tmp_path, PACKED).name).read_bytes()
    assert data[3:8] == bytes(5)  # flags and time


def test_the_payload_is_written_in_place(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / shard_name("testing", 0, 1), PLAIN, SHAPE) as writer:
        for number in range(2):
            writer.payload[...] = spectrogram(number)
            writer.write("a", 0, "b", "c", writer.payload)
    first, second = read_shard(writer.path, shape=SHAPE)
    np.testing.assert_array_equal(first.values, spectrogram(0))
    np.testing.assert_array_equal(second.values, spectrogram(1))


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text, st.integers(-(2**63), 2**63 - 1), text, text, st.sampled_from([PLAIN, HALF, PACKED]))
def test_all_names_and_labels_are_read_unchanged(
    tmp_path: Path, clip_id: str, label: int, label_name: str, speaker: str, config: ShardConfig
) -> None:
    path = tmp_path / shard_name("training", 0, 1, config.compression)
    with ShardWriter(path, config, SHAPE) as writer:
        writer.write(clip_id, label, label_name, speaker, spectrogram())
    (example,) = read_shard(path)
    assert (example.clip_id, example.label, example.label_name, example.speaker) == (
        clip_id,
        label,
        label_name,
        speaker,
    )


def test_names_that_are_not_utf8_are_read_unchanged(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9/\xff\n.wav")
    with ShardWriter(tmp_path / shard_name("training", 0, 1), PLAIN, SHAPE) as writer:
        writer.write(name, 0, "caf\u00e9", "", spectrogram())
    assert next(read_shard(writer.path)).clip_id == name


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        ShardWriter(tmp_path / shard_name("training", 0, 1), PLAIN, SHAPE) as writer,
    ):
        writer.write("a", 0, "b", "c", spectrogram())
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    assert writer.info is None


def test_an_old_shard_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    info = write_shard(tmp_path)
    with ShardWriter(tmp_path / info.name, PLAIN, SHAPE) as writer:
        writer.write("a", 0, "b", "c", spectrogram())
        assert len(list(read_shard(tmp_path / info.name))) == 3
    assert len(list(read_shard(tmp_path / info.name))) == 1


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ShardError, match=r"nowhere.*can't be written: No such file or directory; the folder does not exist"
    ):
        ShardWriter(tmp_path / "nowhere" / shard_name("training", 0, 1), PLAIN, SHAPE).__enter__()


def test_a_full_disk_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path / shard_name("training", 0, 1), PLAIN, SHAPE)
    with pytest.raises(ShardError, match="No space left on device"), writer:
        writer._file.close()
        writer._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123
        writer.write("a", 0, "b", "c", spectrogram())
    assert list(tmp_path.iterdir()) == []


def test_wrong_shapes_and_sizes_are_named(tmp_path: Path) -> None:
    path = tmp_path / shard_name("training", 0, 1)
    with ShardWriter(path, PLAIN, SHAPE) as writer:
        with pytest.raises(ConfigError, match=r"a: spectrogram of shape \(3, 5\); expected \(5, 3\)"):
            writer.write("a", 0, "b", "c", spectrogram().T)
        with pytest.raises(ConfigError, match=r"take 201.. bytes; expected"):
            writer.write("a" * 20_000, 0, "b", "c", spectrogram())
    with pytest.raises(ConfigError, match="too many for one record"):
        ShardWriter(path, PLAIN, (32_769, 20_000))


@pytest.mark.parametrize("name", ["training.tfrecord", "training-0-of-1.tfrecord", "../a-00000-of-00001.tfrecord", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ShardError, match=r"not the name of a shard; expected e\.g\. training-00000-of-00004.tfrecord"):
        split_of(name)


def test_a_flipped_bit_is_found_while_reading(tmp_path: Path) -> None:
    path = tmp_path / write_shard(tmp_path).name
    data = path.read_bytes()
    for offset in range(len(data)):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0x10]) + data[offset + 1 :])
        with pytest.raises(ShardError, match=r"training-00000-of-00001\.tfrecord: record \d at byte \d+ is damaged"):
            list(read_shard(path))


def test_a_message_names_record_and_offset(tmp_path: Path) -> None:
    path = tmp_path / write_shard(tmp_path).name
    data = path.read_bytes()
    record = len(data) // 3
    path.write_bytes(data[: 2 * record + 20])
    with pytest.raises(
        ShardError, match=f"record 2 at byte {2 * record} is truncated: it has 8 of its {record - 16} bytes"
    ):
        list(read_shard(path))


@pytest.mark.parametrize("length", [MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1, 2**62, 2**64 - 1])
def test_a_wrong_length_is_refused_without_allocating_it(length: int) -> None:
    with pytest.raises(ShardError, match="record 0 at byte 0"):
        next(read_records(io.BytesIO(record_header(length) + bytes(100)), "lie"))


def test_a_gzip_bomb_is_refused_without_allocating_it(tmp_path: Path) -> None:
    path = tmp_path / shard_name("training", 0, 1, "gzip")
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    with pytest.raises(ShardError, match="the CRC of its length is wrong"):
        list(read_shard(path))


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_example_or_a_value_error(data: bytes) -> None:
    try:
        decode_example(data)
    except ValueError:
        return


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_shard_raises_nothing_but_shard_errors(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / shard_name("training", 0, 1)
    whole = bytearray((tmp_path / write_shard(tmp_path, count=1).name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(whole[12:-4])
    path.write_bytes(record_header(len(body)) + body + struct.pack("<I", masked_crc(body)))  # so that the CRCs agree
    try:
        assert all(isinstance(example, Example) for example in read_shard(path))
    except ShardError as error:
        assert "record 0 at byte 0 is not an example" in str(error)
