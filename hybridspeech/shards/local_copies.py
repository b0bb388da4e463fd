"""Shards of an object store as local files, checked against the index. Knows nothing of training.

Local shards are read where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hybridspeech.errors import ShardError
from hybridspeech.shards.checksums import is_intact
from hybridspeech.shards.index import INDEX_NAME, MANIFEST_NAME, REJECTS_NAME, ShardIndex
from hybridspeech.storage.copies import LocalCopies, fetched
from hybridspeech.storage.locations import is_url, join

ShardFolder = str | LocalCopies
"""A local folder of shards, or copies that are fetched when they are needed."""


@contextmanager
def open_shards(location: str, index: ShardIndex, max_bytes: int) -> Iterator[ShardFolder]:
    """Give the shards of a location to a reader, until the context ends.

    Parameters
    ----------
    max_bytes : how much of a store's shards is on the local disk at most
    """
    if not is_url(location):
        yield location
        return
    infos = {shard.name: shard for shard in index.shards}

    def check(name: str, path: Path) -> None:
        if not is_intact(path, infos[name].checksum):
            raise ShardError(
                f"{join(location, name)}: its content has changed (its checksum differs); preprocess again with --resume"
            )

    sizes = {name: shard.num_bytes for name, shard in infos.items()}
    with LocalCopies(location, sizes, max_bytes, check) as copies:
        yield copies


@contextmanager
def fetched_split(location: str | Path, split: str) -> Iterator[Path]:
    """Give a local folder with the shards of one split and the files beside them, until the context ends.

    Raises
    ------
    ShardError: as `ShardIndex.load`.
    """
    if not is_url(location):
        yield Path(location)
        return
    names = [shard.name for shard in ShardIndex.load(location).of_split(split)]
    with fetched(location, INDEX_NAME, MANIFEST_NAME, REJECTS_NAME, "noise/", *names) as folder:
        yield folder
