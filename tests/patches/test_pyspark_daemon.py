"""The daemon of Spark's Python workers, and what it assumes about pyspark."""

from __future__ import annotations

import inspect
import io
import os
import socket
import threading

import pyspark.daemon

from hybridspeech.patches.pyspark_daemon import QuickAckReader


def test_pyspark_forks_workers_that_call_the_global_worker_main() -> None:
    assert "from pyspark.worker import main as worker_main" in inspect.getsource(pyspark.daemon)
    assert "worker_main(infile, outfile)" in inspect.getsource(pyspark.daemon.worker)
    assert {"os.fork()", "gc.collect()"} <= set(inspect.getsource(pyspark.daemon.manager).split())


def test_the_reader_returns_what_was_sent() -> None:
    pieces = [os.urandom(size) for size in (4, 70_000, 1, 200_000)]
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sender:
        receiver, _ = server.accept()
        with receiver, receiver.makefile("rb") as file, io.BufferedReader(QuickAckReader(file), 1 << 16) as reader:
            thread = threading.Thread(target=lambda: [sender.sendall(piece) for piece in pieces])
            thread.start()
            assert [reader.read(len(piece)) for piece in pieces] == pieces
            thread.join()
            sender.shutdown(socket.SHUT_WR)
            assert reader.read(1) == b""
