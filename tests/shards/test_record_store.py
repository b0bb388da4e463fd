"""The record store of a worker: it returns the bytes of the shards for any order of arrival and any memory limit."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from support.small_disk import mounted

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ShardError
from hybridspeech.processes.scratch import OWNER_NAME
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo, shard_name
from hybridspeech.shards.record_store import Chunk, RecordStore

CONTENTS = {shard_name("training", i, 3): random.Random(i).randbytes(1000 + i) for i in range(3)}


def info(name: str, num_bytes: int) -> ShardInfo:
    return ShardInfo(name=name, split="training", num_examples=1, num_bytes=num_bytes, checksum="")


SHARDS = tuple(info(name, len(content)) for name, content in CONTENTS.items())
INDEX = ShardIndex(
    features=FeatureConfig(), shards_config=ShardConfig(dtype="float32"), labels=("no", "yes"), shards=SHARDS
)


def chunk(name: str, offset: int, data: bytes, generation: int = 1) -> Chunk:
    return Chunk(shard=name, generation=generation, offset=offset, data=data, num_records=1)


def chunks(generation: int = 1, contents: dict[str, bytes] = CONTENTS) -> list[Chunk]:
    return [
        chunk(name, offset, content[offset : offset + 300], generation)
        for name, content in contents.items()
        for offset in range(0, len(content), 300)
    ]


@pytest.mark.parametrize(("memory_bytes", "spilled"), [(10_000, 0), (2_500, 1001), (1_500, 2001), (0, 3003)])
def test_shards_are_complete_in_memory_and_in_files(memory_bytes: int, spilled: int) -> None:
    with RecordStore(memory_bytes) as store:
        for each in chunks():
            store.put(each)
        folder = store.publish(INDEX, SHARDS)
        assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
        assert ShardIndex.load(folder) == INDEX
        assert abs(store.spilled_bytes - spilled) <= 2


@pytest.mark.parametrize("memory_bytes", [10_000, 1_500])
def test_chunks_may_arrive_in_any_order_and_twice(memory_bytes: int) -> None:
    mixed = chunks() * 2
    random.Random(0).shuffle(mixed)
    with RecordStore(memory_bytes) as store:
        for each in mixed:
            store.put(each)
        folder = store.publish(INDEX, SHARDS)
        assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS


def test_a_shard_that_is_made_again_replaces_the_first() -> None:
    first = dict.fromkeys(CONTENTS, b"x" * 2_000)
    with RecordStore(10_000) as store:
        for each in [*chunks(1, first), *chunks(2), *chunks(1, first)]:
            store.put(each)
        folder = store.publish(INDEX, SHARDS)
        assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS


def test_an_incomplete_shard_is_refused() -> None:
    with RecordStore(10_000) as store:
        for each in chunks()[:-1]:
            store.put(each)
        with pytest.raises(ShardError, match=r"training-00002-of-00003.tfrecord: 900 of 1002 bytes have arrived"):
            store.publish(INDEX, SHARDS)


def test_all_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with RecordStore(1_500) as store:
        for each in chunks():
            store.put(each)
        (folder,) = tmp_path.iterdir()
        assert [path.name for path in folder.iterdir()] == [OWNER_NAME]  # its files have no names
    assert not list(tmp_path.iterdir())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with (
            RecordStore(0) as store,
            pytest.raises(ShardError, match=r"No space left on device; free space, .* TMPDIR"),
        ):
            for number in range(100):
                store.put(chunk(SHARDS[0].name, 1_000 * number, b"x" * 1_000))
