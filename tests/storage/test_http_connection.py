"""Answers as servers send them, over a real connection on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from hybridspeech.storage.http_connection import HttpConnection
from hybridspeech.storage.retries import Incomplete


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], HttpConnection]]:
    """Opens a connection to a server that answers one request with these bytes, and closes."""
    closed: list[Callable[[], None]] = []

    def connect(answer: bytes) -> HttpConnection:
        server = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1 << 16)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = HttpConnection(f"127.0.0.1:{server.getsockname()[1]}", 5.0)
        closed.extend((connection.close, thread.join, server.close))
        return connection

    yield connect
    for close in closed:
        close()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_an_answer_has_its_content(answer: bytes, body: bytes, answering: Callable[[bytes], HttpConnection]) -> None:
    assert answering(answer).request("GET", "/").body == body


@pytest.mark.parametrize(
    ("answer", "error", "sentence"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", Incomplete, "3 of 5 bytes arrived"),
        (b"HTTP/1.1 200", ConnectionResetError, "the store closed the connection"),
        (b"nonsense\r\n\r\n", OSError, "the answer begins with 'nonsense'; expected HTTP/1.1"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error(
    answer: bytes, error: type[OSError], sentence: str, answering: Callable[[bytes], HttpConnection]
) -> None:
    with pytest.raises(error, match=sentence):
        answering(answer).request("GET", "/")
