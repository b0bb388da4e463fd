"""A real S3 server on loopback, the one of the tests, that is reached with the latency of a network."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.peers.delay import delayed
from hybridspeech.storage.filesystems import forget_stores
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import list_files, write_bytes

TESTS = Path(__file__).parents[2] / "tests"
LATENCY_S = 0.02
UPLOADS_IN_FLIGHT = 16
HIGHER_PRIORITY = 5


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """URL of a bucket, and the processes of its server and of the network to it."""

    bucket: str
    pids: tuple[int, ...]


@contextmanager
def object_store(folder: Path, source: Path, latency_s: float = LATENCY_S) -> Iterator[ObjectStore]:
    """Start a server with the files of a folder in BUCKET/input, and point the environment of this process to it.

    The files are uploaded without latency. Server and network have a higher priority than the job where that is allowed: on
    machines of their own, they would not wait for it.
    """
    sys.path.insert(0, str(TESTS))
    server_module = importlib.import_module("support.s3_server")
    with ExitStack() as stack:
        with _high_priority():
            server = stack.enter_context(server_module.running_s3_server(folder / "s3"))
            delay = stack.enter_context(delayed(server.port, latency_s))
        bucket = f"s3://{server.bucket}"
        os.environ.update(server.environment())
        forget_stores()
        _upload(source, join(bucket, "input"))
        os.environ.update(server.environment(delay.port))
        forget_stores()
        yield ObjectStore(bucket=bucket, pids=tuple(child.pid for child in psutil.Process().children()))


@contextmanager
def _high_priority() -> Iterator[None]:
    """Give the processes that are started in this context a higher priority than this one."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, max(-20, before - HIGHER_PRIORITY))
    yield
    os.setpriority(os.PRIO_PROCESS, 0, before)


def _upload(source: Path, location: str) -> None:
    def upload(name: str) -> None:
        write_bytes(join(location, name), (source / name).read_bytes())

    with ThreadPoolExecutor(UPLOADS_IN_FLIGHT) as pool:
        for done in [pool.submit(upload, stat.name) for stat in list_files(str(source))]:
            done.result()
