"""Publishes finished shards in a background thread, so that a worker encodes the next shard meanwhile.

Knows nothing of what is in a shard.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class BackgroundUploads:
    """Runs one upload at a time beside its caller; a context manager.

    `submit` waits for the upload before it, so that at most two shards of a worker are on its disk. An upload that failed
    raises its error in the next `submit`, or at the end of the context.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hybridspeech-upload")
        self._pending: Future[None] | None = None

    def __enter__(self) -> BackgroundUploads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._thread.shutdown()

    def submit(self, upload: Callable[[], None]) -> None:
        """Start an upload, after the one before it has ended."""
        self._wait()
        self._pending = self._thread.submit(upload)

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
