"""The parent process of Spark's Python workers on an executor: pyspark's daemon with less work per task.

Written against: pyspark 3.5.7. Spark starts this module as `spark.python.daemon.module`; it forks one worker per core.

Reason: each of these costs milliseconds of every task (measured on the machine of docs/benchmarks.md):

- A worker imports and compiles what tasks need after the fork. Here it happens before, and the workers share the memory.
- Before each task pyspark invalidates Python's import caches, and Python then reads the directories of Spark's archives
  again (50 ms). Here the archives are removed from the import path, because pyspark is installed as files too.
- After each task pyspark collects garbage in all generations (15 ms). Here the objects from before the fork are frozen.
- Spark sends a task in two pieces, and by Nagle's algorithm the second waits for the acknowledgement of the first, which
  Linux delays (40 ms). Here data is acknowledged when it is read.

Without it: a task takes about 100 ms longer; results are the same. It can go when: pyspark's own daemon does this.

Imports pyspark.daemon only in `main`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.machinery
import io
import os
import re
import socket
import sys
import zipimport
from typing import BinaryIO

PRELOAD_VARIABLE = "HYBRIDSPEECH_PRELOAD"
"""Environment variable of executors: functions ("module:function", comma-separated) to call before workers are forked."""
_SPARK_ARCHIVE = re.compile(r"/(pyspark|py4j-[\d.]+-src)\.zip$|/spark-[\w.-]+\.jar$")


class QuickAckReader(io.RawIOBase):
    """The reading end of a TCP connection that acknowledges data when it is read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._socket = socket.socket(fileno=os.dup(file.fileno()))

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into `buffer`, as `io.RawIOBase.readinto`."""
        data = self._file.read1(len(buffer))
        buffer[: len(data)] = data
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return len(data)

    def close(self) -> None:
        """Close the second handle of the connection; pyspark closes the first."""
        self._socket.close()
        super().close()


def quick_ack_main(infile: io.BufferedReader, outfile: BinaryIO) -> None:
    """Run one task: pyspark's `worker.main` with immediate acknowledgements."""
    from pyspark.worker import main as worker_main

    with io.BufferedReader(QuickAckReader(infile), 1 << 16) as reader:
        worker_main(reader, outfile)


def remove_spark_archives() -> None:
    """Remove Spark's archives from the import path of this worker process, if pyspark is installed as files too."""
    archives = [
        path
        for path, finder in sys.path_importer_cache.items()
        if isinstance(finder, zipimport.zipimporter) and _SPARK_ARCHIVE.search(finder.archive)
    ]
    paths = [path for path in sys.path if path not in archives]
    if archives and importlib.machinery.PathFinder.find_spec("pyspark", paths):
        sys.path[:] = paths
        for path in archives:
            del sys.path_importer_cache[path]


def main() -> None:
    """Run the daemon until Spark closes its standard input."""
    import pyspark.daemon

    remove_spark_archives()
    for target in filter(None, os.environ.get(PRELOAD_VARIABLE, "").split(",")):
        module, _, function = target.partition(":")
        with contextlib.suppress(Exception):  # a task that needs it raises the same error, and Spark reports it
            getattr(importlib.import_module(module), function)()
    if hasattr(socket, "TCP_QUICKACK"):  # Linux
        pyspark.daemon.worker_main = quick_ack_main
    gc.collect()
    gc.freeze()
    pyspark.daemon.manager()


if __name__ == "__main__":
    main()
