"""The index of a folder of shards: its content, its digest, and verification."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ShardError
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo, shard_name
from hybridspeech.shards.reader import read_shard
from hybridspeech.shards.writer import ShardWriter
from hybridspeech.training.recipes import SOUND

SHAPE = (5, 3)
FORMAT_1 = Path(__file__).parent / "format_1"
PLAIN, PACKED = ShardConfig(dtype="float32"), ShardConfig(dtype="float32", compression="gzip")


def write_shard(folder: Path, config: ShardConfig = PLAIN, count: int = 3, split: str = "training") -> ShardInfo:
    with ShardWriter(folder / shard_name(split, 0, 1, config.compression), config, SHAPE) as writer:
        for number in range(count):
            writer.write(f"bird/{number}.wav", number, "bird", f"speaker{number}", np.full(SHAPE, number, np.float32))
    assert writer.info is not None
    return writer.info


def index_of(*shards: ShardInfo) -> ShardIndex:
    return ShardIndex(
        features=FeatureConfig(),
        shards_config=ShardConfig(dtype="float32"),
        labels=("bird", "cat"),
        shards=shards,
        num_rejects=1,
    )


def test_an_index_is_read_as_it_was_saved(tmp_path: Path) -> None:
    index = index_of(write_shard(tmp_path), write_shard(tmp_path, split="testing"))
    index.save(tmp_path)
    loaded = ShardIndex.load(tmp_path)
    assert loaded == index
    assert (loaded.num_clips, loaded.splits, loaded.digest) == (6, {"training": 3, "testing": 3}, index.digest)
    assert [shard.name for shard in loaded.of_split("testing")] == ["testing-00000-of-00001.tfrecord"]
    assert loaded.of_split("validation") == ()


def test_an_index_with_package_versions_is_read(tmp_path: Path) -> None:
    index = index_of(write_shard(tmp_path))
    index.save(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "versions": {"numpy": "2"}}))
    assert ShardIndex.load(tmp_path) == index


def test_format_1_is_read_and_verified(tmp_path: Path) -> None:
    folder = shutil.copytree(FORMAT_1, tmp_path / "format_1")
    index = ShardIndex.load(folder)
    assert (index.format_version, index.digest) == (
        1,
        "c8cb5f0576c95e677e80ef371df96d82afeddc6d00a7f1f769726e62bee085b5",
    )
    assert index.verify(folder) == []
    shard, noise = folder / index.shards[0].name, folder / index.noises[0].name
    for path in (shard, noise):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert index.verify(folder) == [
        f"{path}: its content has changed (its checksum differs)" for path in (shard, noise)
    ]


def test_an_edited_index_of_format_1_is_refused(tmp_path: Path) -> None:
    data = json.loads((FORMAT_1 / "index.json").read_text())
    data["shards"][0]["sha256"] = "0" * 64
    (tmp_path / "index.json").write_text(json.dumps(data))
    with pytest.raises(ShardError, match="it was edited"):
        ShardIndex.load(tmp_path)


def test_an_unknown_checksum_does_not_pass_for_intact(tmp_path: Path) -> None:
    info = replace(write_shard(tmp_path), checksum="md5:0")
    assert index_of(info).verify(tmp_path) == [
        f"{tmp_path / info.name}: its content has changed (its checksum differs)"
    ]


def test_the_digest_covers_data_and_settings_and_nothing_else(tmp_path: Path) -> None:
    index = index_of(write_shard(tmp_path), write_shard(tmp_path, split="testing"))
    same = [
        replace(index, num_rejects=7),
        replace(index, shards=index.shards[::-1]),
        replace(index, shards_config=ShardConfig(dtype="float32", num_shards=1)),
    ]
    other = [
        replace(index, labels=("cat", "bird")),
        replace(index, features=FeatureConfig(top_db=60.0)),
        replace(index, shards_config=ShardConfig(dtype="float32", seed=1)),
        replace(index, shards=index.shards[:1]),
        replace(index, shards=(replace(index.shards[0], checksum=f"xxh3-128:{0:032}"), index.shards[1])),
    ]
    assert {each.digest for each in same} == {index.digest}
    assert len({each.digest for each in other} | {index.digest}) == 6


def test_a_missing_index_is_reported_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    expected = "expected a folder written by `hybridspeech preprocess`"
    for folder, found in (("nowhere", "no such folder"), ("file", "is not a folder"), ("", r"no index\.json in this")):
        with pytest.raises(ShardError, match=f"{found}.*; {expected}"):
            ShardIndex.load(tmp_path / folder)
    (tmp_path / "_progress").mkdir()
    (tmp_path / "_progress" / "settings.json").touch()
    with pytest.raises(ShardError, match=r"no index\.json: preprocessing has not finished; run it again with --resume"):
        ShardIndex.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", "{}", '{"format_version": 1}', "[" * 100_000, "\x00"])
def test_a_damaged_index_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(ShardError, match=r"index\.json"):
        ShardIndex.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", ["cat"]),
        ("labels", 3),
        ("num_rejects", "many"),
        ("shards", [{}]),
        ("shards", [{"name": "../../etc", "split": "a", "num_examples": 1, "num_bytes": 1, "checksum": ""}]),
        ("features", {"kind": "mfcc"}),
        ("features", {"n_fft": "2048"}),
        ("format_version", 99),
        ("extra", 1),
    ],
)
def test_an_edited_index_is_refused(name: str, value: object, tmp_path: Path) -> None:
    index_of(write_shard(tmp_path)).save(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(ShardError):
        ShardIndex.load(tmp_path)


def test_verify_finds_missing_and_extra_shards(tmp_path: Path) -> None:
    index = index_of(write_shard(tmp_path), write_shard(tmp_path, split="testing"))
    (tmp_path / index.shards[1].name).rename(tmp_path / shard_name("testing", 1, 2))
    (tmp_path / "notes.txt").touch()
    assert index.verify(tmp_path) == [
        f"{tmp_path / 'testing-00000-of-00001.tfrecord'}: missing",
        f"{tmp_path / 'testing-00001-of-00002.tfrecord'}: not in index.json; remove it",
    ]


@pytest.mark.parametrize("config", [PLAIN, PACKED])
def test_every_flipped_bit_is_found(config: ShardConfig, tmp_path: Path) -> None:
    info = write_shard(tmp_path, config)
    path, index = tmp_path / info.name, index_of(info)
    data = path.read_bytes()
    for offset in range(len(data)):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 1 << offset % 8]) + data[offset + 1 :])
        assert index.verify(tmp_path) == [f"{path}: its content has changed (its checksum differs)"]
    path.write_bytes(data)
    assert index.verify(tmp_path) == []


@pytest.mark.parametrize("config", [PLAIN, PACKED])
def test_every_truncation_is_found(config: ShardConfig, tmp_path: Path) -> None:
    info = write_shard(tmp_path, config, count=2)
    path = tmp_path / info.name
    data = path.read_bytes()
    whole = {0, len(data) // 2} if config is PLAIN else {0}  # between records, only the index knows
    for length in sorted(set(range(len(data))) - whole):
        path.write_bytes(data[:length])
        with pytest.raises(ShardError, match=info.name):
            list(read_shard(path))
        assert index_of(info).verify(tmp_path) == [f"{path}: {length} bytes; expected {len(data)}"]


def test_the_digest_of_shards_with_copies_in_format_1_is_that_of_earlier_versions() -> None:
    index = ShardIndex(
        format_version=1,
        features=FeatureConfig(),
        shards_config=ShardConfig(),
        labels=("a", "b"),
        shards=(),
        augment=SOUND,
        augment_copies=2,
    )
    assert index.digest.startswith("4688b8267aec6c55")
