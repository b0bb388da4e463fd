"""`inspect --verify` finds every change of the shards of a finished output."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from support.process_faults import SMALL, files_of

from hybridspeech.commands.inspect import inspect
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.errors import ShardError
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard


@pytest.fixture(scope="module", params=["none", "gzip"])
def made(request: pytest.FixtureRequest, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished shards, uncompressed and compressed; a test restores what it changes."""
    out = tmp_path_factory.mktemp("made") / "shards"
    preprocess(clips, out, features=SMALL, shards=ShardConfig(compression=request.param, num_shards=3), engine="local")
    return out


def shards_of(made: Path) -> list[Path]:
    return sorted(made.glob("*.tfrecord*"))


def flipped(path: Path, at: int, bit: int) -> None:
    """Flip one bit of a file; a second call restores it."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def test_complete_shards_have_no_problem(made: Path) -> None:
    assert inspect(made, verify=True).problems == ()


def test_any_flipped_bit_is_found(made: Path) -> None:
    random_ = random.Random(0)
    for shard in shards_of(made):
        size = shard.stat().st_size
        for at in [0, size - 1, *(random_.randrange(size) for _ in range(20))]:
            bit = random_.randrange(8)
            flipped(shard, at, bit)
            (problem,) = inspect(made, verify=True).problems or ()
            flipped(shard, at, bit)
            assert problem == f"{shard}: its content has changed (its checksum differs)", (shard.name, at, bit)
    assert inspect(made, verify=True).problems == ()


@pytest.mark.parametrize("size", [0, 1, -1, 1_000_000])
def test_another_size_is_found(made: Path, tmp_path: Path, size: int) -> None:
    copy = shutil.copytree(made, tmp_path / "copy")
    shard = random.Random(size).choice(shards_of(copy))
    whole = shard.stat().st_size
    with shard.open("r+b") as file:
        file.truncate(size if size >= 0 else whole + size)
    (problem,) = inspect(copy, verify=True).problems or ()
    assert problem.startswith(f"{shard}: ")
    assert f"expected {whole}" in problem


def test_every_missing_and_every_extra_shard_is_found(made: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(made, tmp_path / "copy")
    for shard in shards_of(made):
        (copy / shard.name).unlink()
    extra = copy / "training-00000-of-00001.tfrecord"
    extra.write_bytes(shards_of(made)[0].read_bytes())
    problems = inspect(copy, verify=True).problems
    assert problems is not None
    assert sorted(problems) == sorted(
        [*(f"{copy / shard.name}: missing" for shard in shards_of(made)), f"{extra}: not in index.json; remove it"]
    )


def test_swapped_shards_are_found(made: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(made, tmp_path / "copy")
    first, second, *_ = shards_of(copy)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert [problem.split(":")[0] for problem in inspect(copy, verify=True).problems or ()] == [
        str(first),
        str(second),
    ]


def test_a_flipped_bit_is_found_by_readers_too(made: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(made, tmp_path / "copy")
    shard = shards_of(copy)[0]
    flipped(shard, shard.stat().st_size // 2, 3)
    with pytest.raises(ShardError, match=shard.name):
        list(read_shard(shard))


@pytest.mark.parametrize("damage", ["shard", "index"])
def test_a_resume_makes_damaged_shards_again(made: Path, clips: Path, tmp_path: Path, damage: str) -> None:
    """As the messages say: a missing or truncated shard, a damaged index."""
    copy = shutil.copytree(made, tmp_path / "copy")
    config = ShardIndex.load(made).shards_config
    if damage == "shard":
        shards_of(copy)[1].unlink()
    else:
        (copy / "index.json").write_text("{")
    preprocess(clips, copy, features=SMALL, shards=config, engine="local", resume=True)
    assert files_of(copy) == files_of(made)
