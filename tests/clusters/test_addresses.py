"""Checks whether an address answers."""

from __future__ import annotations

import socket

from hybridspeech.clusters.addresses import connection_errors


def test_one_address_that_answers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connection_errors([("127.0.0.1", 1), ("127.0.0.1", port)]) == []
    assert connection_errors([]) == []
    assert [reason.split()[0] for reason in connection_errors([("127.0.0.1", 1)])] == ["127.0.0.1:1"]
