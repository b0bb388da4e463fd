"""Shards of one training worker that were never files of a folder: in memory up to a limit, beyond it in scratch files.

    temporary folder/
      {split}-{i:05d}-of-{n:05d}.tfrecord     a link to an open, nameless file of this process
      index.json

So whatever reads a folder of shards reads these, and nothing is left of them when the process ends, however it ends.
Linux only. Knows nothing of where the pieces come from.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from hybridspeech.errors import ShardError
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a shard as it crosses between processes: `data` stands at `offset` of the shard's bytes.

    A shard that is made again, with other clips, is of a later `generation`. `num_records` is for progress.
    """

    shard: str
    generation: int
    offset: int
    data: bytes | memoryview
    num_records: int


@dataclass
class _Held:
    """One shard's bytes so far."""

    generation: int
    descriptor: int
    in_memory: bool
    size: int = 0


class RecordStore:
    """Takes chunks in any order, each once or more; a context manager, and all is gone when it is left.

    Parameters
    ----------
    memory_bytes : how much of the shards stays in memory; the rest goes to files in the folder for temporary files
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._in_memory = 0
        self._held: dict[str, _Held] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="hybridspeech-records-")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # an open file a shard

    def __enter__(self) -> RecordStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._held):
            self._drop(name)
        self._folder.cleanup()

    @property
    def memory_bytes(self) -> int:
        """How much of the shards is in memory."""
        return self._in_memory

    @property
    def spilled_bytes(self) -> int:
        """How much of the shards lies in files."""
        return sum(held.size for held in self._held.values() if not held.in_memory)

    def put(self, chunk: Chunk) -> None:
        """Keep one chunk.

        Raises
        ------
        ShardError: memory is full, and so is the disk.
        """
        held = self._held.get(chunk.shard)
        if held and held.generation > chunk.generation:
            return
        try:
            if held is None or held.generation < chunk.generation:
                self._drop(chunk.shard)
                held = self._held[chunk.shard] = _Held(chunk.generation, os.memfd_create(chunk.shard), in_memory=True)
            size = max(held.size, chunk.offset + len(chunk.data))
            if held.in_memory and self._in_memory + size - held.size > self._memory_bytes:
                self._spill(held)
            _write_at(held.descriptor, chunk.data, chunk.offset)
        except OSError as error:
            raise ShardError(
                f"{self._folder.name}: the records that do not fit into memory can't be written there: {error.strerror}; "
                "free space, name another folder by TMPDIR, or allow more memory per worker"
            ) from error
        self._in_memory += size - held.size if held.in_memory else 0
        held.size = size

    def _spill(self, held: _Held) -> None:
        """Move a shard from memory to a nameless file."""
        with tempfile.TemporaryFile(dir=self._folder.name) as file:
            for offset in range(0, held.size, _COPY_BYTES):
                _write_at(file.fileno(), os.pread(held.descriptor, _COPY_BYTES, offset), offset)
            os.dup2(file.fileno(), held.descriptor)
        held.in_memory = False
        self._in_memory -= held.size

    def _drop(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held:
            os.close(held.descriptor)
            self._in_memory -= held.size if held.in_memory else 0

    def publish(self, index: ShardIndex, shards: Collection[ShardInfo]) -> Path:
        """A folder of the `shards` of `index` that this worker reads; valid in this process, until the store is left.

        Raises
        ------
        ShardError: not all of a shard has arrived.
        """
        folder = Path(self._folder.name)
        for shard in shards:
            held = self._held.get(shard.name)
            if held is None or held.size != shard.num_bytes:
                arrived = held.size if held else 0
                raise ShardError(f"{shard.name}: {arrived} of {shard.num_bytes} bytes have arrived; run it again")
            (folder / shard.name).symlink_to(f"/proc/self/fd/{held.descriptor}")
        for name in set(self._held) - {shard.name for shard in shards}:
            self._drop(name)
        index.save(folder)
        return folder


def _write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written
