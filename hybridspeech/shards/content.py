"""Compares the content of a shard with the index. Knows nothing of TensorFlow."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hybridspeech.errors import ShardError
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo
from hybridspeech.shards.reader import Example, read_shard
from hybridspeech.shards.tfrecord import FOOTER_BYTES, HEADER_BYTES, MAX_RECORD_BYTES
from hybridspeech.storage.locations import join


def check_record_lengths(path: str | Path) -> None:
    """Check the length of every record of an uncompressed shard, by its headers alone.

    TensorFlow allocates what a length says, and its process ends without a message if that is too much.

    Raises
    ------
    ShardError: a record is longer than any record of this format, or than the rest of the file.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        offset = number = 0
        while len(header := os.pread(descriptor, HEADER_BYTES, offset)) == HEADER_BYTES:
            (length,) = struct.unpack_from("<Q", header)
            end = offset + HEADER_BYTES + length + FOOTER_BYTES
            if length > MAX_RECORD_BYTES or end > size:
                raise ShardError(
                    f"{path}: record {number} at byte {offset} has length {length}; the file has {size} bytes"
                )
            offset, number = end, number + 1
    finally:
        os.close(descriptor)


def read_checked(folder: str | Path, index: ShardIndex, shard: ShardInfo) -> Iterator[Example]:
    """Read the examples of one shard, and compare each with the index.

    Raises
    ------
    ShardError: as `read_shard`; or a label is not in the index, a value is not finite, an example has another number of
    values, or the shard has another number of examples. The message names shard and record.
    """
    path, num_values = join(folder, shard.name), int(np.prod(index.features.shape))
    count = 0
    for count, example in enumerate(read_shard(path), 1):
        record = f"{path}: record {count - 1} ({example.clip_id})"
        if not 0 <= example.label < len(index.labels):
            raise ShardError(f"{record} has label {example.label}; expected 0 to {len(index.labels) - 1}")
        if example.values.size != num_values:
            raise ShardError(f"{record} has {example.values.size} values; expected {num_values}")
        if not np.isfinite(example.values).all():
            raise ShardError(f"{record} has values that are not finite")
        yield example
    if count != shard.num_examples:
        raise ShardError(f"{path}: has {count} examples; the index has {shard.num_examples}")


def find_problem(
    folder: str | Path,
    index: ShardIndex,
    shards: Sequence[ShardInfo],
    on_shard: Callable[[], None] = lambda: None,
) -> str:
    """Read shards until one differs from the index; return what is wrong, or an empty text.

    Parameters
    ----------
    on_shard : called before each shard is read
    """
    for shard in shards:
        on_shard()
        try:
            for _ in read_checked(folder, index, shard):
                pass
        except ShardError as error:
            return str(error)
    return ""
