"""Network addresses: loopback, and whether anything answers. Knows nothing of Spark and Ray."""

from __future__ import annotations

import socket
from collections.abc import Iterable

LOOPBACK = "127.0.0.1"


def connection_errors(addresses: Iterable[tuple[str, int]], timeout_s: float = 10.0) -> list[str]:
    """Try to connect to (host, port) pairs until one answers.

    Returns
    -------
    one reason per address, e.g. ``host:7077 ([Errno 111] Connection refused)``; empty if one answers or none is given
    """
    reasons = []
    for host, port in addresses:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
            return []
        except OSError as error:
            reasons.append(f"{host}:{port} ({error})")
    return reasons
