"""Reads many small files of a location at the same time, in the order given. Knows nothing of their content."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

from hybridspeech.storage.filesystems import MAX_CONNECTIONS, open_store
from hybridspeech.storage.locations import is_url
from hybridspeech.storage.objects import read_bytes
from hybridspeech.storage.s3_reads import Read, S3Reads
from hybridspeech.storage.s3_requests import S3Requests, direct_requests

READS_IN_FLIGHT = MAX_CONNECTIONS
READ_AHEAD_BYTES = 256 << 20
"""Content that `read_many` holds in memory before its caller takes it, about."""

_pools: dict[int, ThreadPoolExecutor] = {}
_making = threading.Lock()


def read_many(locations: Iterable[str], in_flight: int = READS_IN_FLIGHT) -> Iterator[bytes | Exception]:
    """Read many small files, up to `in_flight` at the same time.

    Parameters
    ----------
    in_flight : fewer than READS_IN_FLIGHT for large files, which are then read in threads, while the caller works

    Yields
    ------
    The content of each location, in the order given, or the error that reading it raised (OSError or StorageError).
    """
    reads, ahead, largest = cast("deque[Read]", deque()), iter(locations), 1
    from_s3: dict[S3Requests, S3Reads] = {}
    try:
        while True:
            while len(reads) < in_flight and len(reads) * largest < READ_AHEAD_BYTES:
                location = next(ahead, None)
                if location is None:
                    break
                is_small = in_flight >= READS_IN_FLIGHT
                reads.append(_started(location, from_s3) if is_small else _read_in_thread(location))
            if not reads:
                return
            for store_reads in from_s3.values():
                store_reads.poll()
            content = _content(reads.popleft())
            if isinstance(content, bytes):
                largest = max(largest, len(content))
            yield content
    finally:
        for read in reads:
            if read.future:
                read.future.cancel()
        for store_reads in from_s3.values():
            store_reads.close()


def _started(location: str, from_s3: dict[S3Requests, S3Reads]) -> Read:
    """Start to read a file: an object on S3 in this thread, another file in a thread of the pool."""
    requests = None
    if is_url(location):
        store, key = open_store(location)
        with contextlib.suppress(Exception):  # the other thread raises the error, in one sentence
            requests = direct_requests(store)
    if requests is None:
        return _read_in_thread(location)
    if requests not in from_s3:
        from_s3[requests] = S3Reads(requests, _repeat, _pool())
    return from_s3[requests].start(location, key)


def _content(read: Read) -> bytes | Exception:
    try:
        return read.result()
    except Exception as error:  # noqa: BLE001 - given to the caller in the place of the content
        return error


def _read_in_thread(location: str) -> Read:
    return Read(location, future=_repeat(location, None))


def _repeat(location: str, after: Exception | None) -> Future[bytes]:
    return _pool().submit(read_bytes, location, after)


def _pool() -> ThreadPoolExecutor:
    """The reading threads of this process, which keep their connections."""
    with _making:
        pool = _pools.get(os.getpid())
        if pool is None:
            _pools.clear()
            pool = _pools[os.getpid()] = ThreadPoolExecutor(READS_IN_FLIGHT, thread_name_prefix="hybridspeech-read")
    return pool
