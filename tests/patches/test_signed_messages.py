"""Messages with a valid signature, and messages of an attacker."""

from __future__ import annotations

import pickle
import socket
import struct
from pathlib import Path

import pytest

from hybridspeech.patches.signed_messages import MAX_MESSAGE_BYTES, receive, send

KEY = b"k" * 32


class Touch:
    """Unpickling this creates a file, as a harmful pickle could."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_signed_messages_are_received(pair):
    message = {"type": "REG", "data": {"executor_id": 1, "authkey": b"\x00" * 50_000}}
    send(pair[0], KEY, message)
    assert receive(pair[1], KEY) == message


def test_a_message_signed_with_another_key_is_never_unpickled(pair, tmp_path):
    send(pair[0], b"x" * 32, Touch(tmp_path / "broken-into"))
    with pytest.raises(ConnectionError, match="wrong signature"):
        receive(pair[1], KEY)
    assert not (tmp_path / "broken-into").exists()


def test_a_message_of_the_original_protocol_is_never_unpickled(pair, tmp_path):
    data = pickle.dumps(Touch(tmp_path / "broken-into"))
    pair[0].sendall(struct.pack(">I", len(data)) + data)
    pair[0].close()
    with pytest.raises(ConnectionError, match="closed"):
        receive(pair[1], KEY)
    assert not (tmp_path / "broken-into").exists()


def test_a_message_that_would_fill_the_memory_is_refused(pair):
    pair[0].sendall(struct.pack(">I", MAX_MESSAGE_BYTES + 1))
    with pytest.raises(ConnectionError, match="bytes was announced"):
        receive(pair[1], KEY)
