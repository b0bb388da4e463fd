"""Messages between processes that share a secret: only signed messages are unpickled. They are not encrypted.

Replaces the protocol of TensorFlowOnSpark's reservation server. Knows nothing of TensorFlowOnSpark.
"""

from __future__ import annotations

import hmac
import pickle
import socket
import struct
from typing import Any

SOCKET_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 1 << 20
"""The description of one node takes about 300 bytes."""


def send(sock: socket.socket, key: bytes, message: object) -> None:
    """Send one message: its length (4 bytes), its HMAC-SHA256 (32 bytes) and its pickle."""
    data = pickle.dumps(message)
    sock.sendall(struct.pack(">I", len(data)) + hmac.digest(key, data, "sha256") + data)


def receive(sock: socket.socket, key: bytes) -> Any:
    """Receive one message, and unpickle it only if its signature is right.

    Raises
    ------
    ConnectionError: the connection ended, the message is too large, or the sender does not have the key.
    """
    sock.settimeout(SOCKET_TIMEOUT_S)
    (size,) = struct.unpack(">I", _receive_exactly(sock, 4))
    if size > MAX_MESSAGE_BYTES:
        raise ConnectionError(f"a message of {size} bytes was announced; expected at most {MAX_MESSAGE_BYTES}")
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
