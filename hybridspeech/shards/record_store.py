"""Holds the shards of one training worker: in memory up to a limit, beyond it in scratch files.

    temporary folder/
      {split}-{i:05d}-of-{n:05d}.tfrecord     a link to an open, unnamed file of this process
      index.json

So every reader of a folder of shards can read them, and the kernel frees them when the process ends. Linux only. Knows
nothing of where the chunks come from.
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
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.names import ShardInfo

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a shard that is sent between processes: `data` are its bytes from `offset` on.

    A shard that is made again with other clips has a higher `generation`. `num_records` serves for progress reports.
    """

    shard: str
    generation: int
    offset: int
    data: bytes | memoryview
    num_records: int


@dataclass
class _Held:
    """The bytes of one shard that have arrived."""

    generation: int
    descriptor: int
    in_memory: bool
    size: int = 0


class RecordStore:
    """Stores chunks, in any order, each once or more; a context manager that frees everything at its end.

    Parameters
    ----------
    memory_bytes : limit of the shards in memory; the rest is written to files in the temporary folder
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._in_memory = 0
        self._held: dict[str, _Held] = {}
        self._folder = scratch_folder()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one open file per shard

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
        """Size of the shards in memory, in bytes."""
        return self._in_memory

    @property
    def spilled_bytes(self) -> int:
        """Size of the shards in scratch files, in bytes."""
        return sum(held.size for held in self._held.values() if not held.in_memory)

    def put(self, chunk: Chunk) -> None:
        """Store one chunk.

        Raises
        ------
        ShardError: memory and disk are full.
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
        """Move a shard from memory to an unnamed file."""
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
        """Return a folder with the `shards` of `index`; it is valid in this process until the context ends.

        Raises
        ------
        ShardError: a shard is incomplete.
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
