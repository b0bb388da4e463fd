"""A file on an object store of which only some parts are read, such as a segment of a long recording.

Knows nothing of what is in the file.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict

from hybridspeech.storage.filesystems import open_store
from hybridspeech.storage.objects import stat_file
from hybridspeech.storage.retries import Incomplete, retried

BLOCK_BYTES = 1 << 17
KEPT_BLOCKS = 16


class RangeFile(io.RawIOBase):
    """A seekable file of bytes; it requests blocks, and keeps the last ones.

    Raises
    ------
    FileNotFoundError: there is no such object. StorageError: the store fails.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._position = url, 0
        self._store, self._key = open_store(url)
        self._size = stat_file(url).num_bytes
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Tell that the file can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that the position can be set."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer from the position on; return the number of bytes, fewer at the end of the file."""
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view) and self._position < self._size:
            number, offset = divmod(self._position, BLOCK_BYTES)
            part = self._block(number)[offset : offset + len(view) - done]
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return done

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        start, end = number * BLOCK_BYTES, min(self._size, (number + 1) * BLOCK_BYTES)

        def read() -> bytes:
            content = bytes(self._store.fs.cat_file(self._store.path(self._key), start=start, end=end))
            if len(content) != end - start:
                raise Incomplete(f"{len(content)} of {end - start} bytes arrived")
            return content

        self._blocks[number] = retried(read, self._url)
        if len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[number]
