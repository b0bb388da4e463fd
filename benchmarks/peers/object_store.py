"""A real S3 server on loopback, behind a proxy that delays each request: the ones of the tests."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hybridspeech.storage.filesystems import forget_stores

TESTS = Path(__file__).parents[2] / "tests"
LATENCY_S = 0.02


@contextmanager
def object_store(folder: Path, latency_s: float = LATENCY_S) -> Iterator[str]:
    """Start a server, and point the environment of this process to it; give the URL of an empty bucket."""
    sys.path.insert(0, str(TESTS))
    server_module = importlib.import_module("support.s3_server")
    proxy_module = importlib.import_module("support.fault_proxy")
    with (
        server_module.running_s3_server(folder / "s3") as server,
        proxy_module.running_proxy(proxy_module.FaultProxy(server.port, latency_s=latency_s)) as proxy,
    ):
        os.environ.update(server.environment(proxy.port))
        forget_stores()
        yield f"s3://{server.bucket}"
