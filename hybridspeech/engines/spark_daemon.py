"""The parent of Spark's Python workers on an executor: pyspark's own, made ready for many short tasks.

Spark starts it as `spark.python.daemon.module`; it forks a worker for each core. What is different here, and what it
saves (milliseconds of each task on the machine of docs/benchmarks.md):

- what tasks need is imported and compiled before the fork: a worker begins at once, and the workers share the memory
- Spark's archives are left out of the import path: pyspark makes Python read them again before each task (50 ms)
- what is there before the fork is frozen: pyspark collects garbage after each task, all generations (15 ms)
- what arrives is acknowledged at once: Spark sends a task in two pieces and, by Nagle's algorithm, the second when the
  first is acknowledged, which Linux otherwise delays (40 ms)

Imports pyspark when it is imported; only such a parent does that.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import socket
from typing import BinaryIO

import pyspark.daemon

from hybridspeech.engines.spark_job import PRELOAD_VARIABLE, leave_out_archives

_worker_main = pyspark.daemon.worker_main


class Prompt(io.RawIOBase):
    """The reading end of a TCP connection, which acknowledges what it has read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._socket = socket.socket(fileno=os.dup(file.fileno()))

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As `io.RawIOBase.readinto`."""
        data = self._file.read1(len(buffer))
        buffer[: len(data)] = data
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return len(data)

    def close(self) -> None:
        """Close the connection's second handle; the first is pyspark's to close."""
        self._socket.close()
        super().close()


def prompt_main(infile: io.BufferedReader, outfile: BinaryIO) -> None:
    """One task: pyspark's `worker.main`, with prompt acknowledgements."""
    with io.BufferedReader(Prompt(infile), 1 << 16) as prompt:
        _worker_main(prompt, outfile)


def main() -> None:
    """Life of the parent; ends when Spark closes its standard input."""
    leave_out_archives()
    for target in filter(None, os.environ.get(PRELOAD_VARIABLE, "").split(",")):
        module, _, function = target.partition(":")
        with contextlib.suppress(Exception):  # whatever is wrong there, a task will say so
            getattr(importlib.import_module(module), function)()
    if hasattr(socket, "TCP_QUICKACK"):  # Linux
        pyspark.daemon.worker_main = prompt_main
    gc.collect()
    gc.freeze()
    pyspark.daemon.manager()


if __name__ == "__main__":
    main()
