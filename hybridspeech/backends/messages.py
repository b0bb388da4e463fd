"""Messages between processes that share a secret: nothing is unpickled that was not signed with it. Not encrypted."""

from __future__ import annotations

import hmac
import pickle
import socket
import struct
from typing import Any

SOCKET_TIMEOUT_S = 10.0
LONGEST_MESSAGE = 1 << 20  # bytes; what a cluster's nodes tell of themselves takes about 300 each


def send(sock: socket.socket, key: bytes, message: object) -> None:
    """Send one message: its length (4 bytes), HMAC-SHA256 (32 bytes) and pickle."""
    data = pickle.dumps(message)
    sock.sendall(struct.pack(">I", len(data)) + hmac.digest(key, data, "sha256") + data)


def receive(sock: socket.socket, key: bytes) -> Any:
    """Receive one message; unpickle it only if its sender knows the key.

    Raises
    ------
    ConnectionError: the other side is gone, sends too much, or does not know the key.
    """
    sock.settimeout(SOCKET_TIMEOUT_S)
    (size,) = struct.unpack(">I", _receive_exactly(sock, 4))
    if size > LONGEST_MESSAGE:
        raise ConnectionError(f"a message of {size} bytes is announced; expected at most {LONGEST_MESSAGE}")
    signature, data = _receive_exactly(sock, 32), _receive_exactly(sock, size)
    if not hmac.compare_digest(signature, hmac.digest(key, data, "sha256")):
        raise ConnectionError("a message has a wrong signature: its sender is not part of this run")
    return pickle.loads(data)


def _receive_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise ConnectionError(f"the connection was closed after {len(data)} of {size} bytes")
        data += chunk
    return data
