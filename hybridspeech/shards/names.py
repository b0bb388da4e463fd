"""File names of shards, and the record of a finished shard. Knows nothing of the content of shards."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hybridspeech.errors import ShardError

_NAME = re.compile(r"(?P<split>[a-z]+)-(?P<number>\d{5})-of-\d{5}\.tfrecord(\.gz)?")


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """Record of one finished shard; `num_bytes` and `checksum` are those of the file on disk.

    Raises
    ------
    ShardError: a count is negative or no integer, or `name` and `split` disagree.
    """

    name: str
    split: str
    num_examples: int
    num_bytes: int
    checksum: str

    def __post_init__(self) -> None:
        for number in (self.num_examples, self.num_bytes):
            if not isinstance(number, int) or number < 0:
                raise ShardError(f"{self.name}: {number!r} is not a count of examples or bytes")
        if split_of(self.name) != self.split:
            raise ShardError(f"{self.name}: its name and its split ({self.split}) do not agree")


def shard_name(split: str, number: int, count: int, compression: str = "none") -> str:
    """Return the file name of shard `number` (from 0) of the `count` shards of a split."""
    return f"{split}-{number:05d}-of-{count:05d}.tfrecord" + (".gz" if compression == "gzip" else "")


def split_of(name: str) -> str:
    """Return the split in the file name of a shard.

    Raises
    ------
    ShardError: it is not the name of a shard.
    """
    return _match(name)["split"]


def number_of(name: str) -> int:
    """Return the number (from 0) in the file name of a shard.

    Raises
    ------
    ShardError: it is not the name of a shard.
    """
    return int(_match(name)["number"])


def _match(name: str) -> re.Match[str]:
    match = _NAME.fullmatch(str(name))
    if match is None:
        raise ShardError(f"{name!r} is not the name of a shard; expected e.g. {shard_name('training', 0, 4)}")
    return match
