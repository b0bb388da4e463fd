"""A process that forwards TCP connections and delays what is sent, as a network to another machine does.

It knows no HTTP, so that its CPU time is small. It writes the port where it listens to standard output, and ends with its
standard input.

``python -m benchmarks.peers.delay TARGET_PORT ROUND_TRIP_S``
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from hybridspeech.processes.environment import python_path


@dataclass(frozen=True, kw_only=True)
class Delay:
    """A running forwarder: the port where it listens, and its process."""

    port: int
    pid: int


@contextmanager
def delayed(target_port: int, round_trip_s: float) -> Iterator[Delay]:
    """Forward connections to a port of this machine, with a delay, until the context ends."""
    command = [sys.executable, "-m", __name__, str(target_port), str(round_trip_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": python_path()}
    ) as process:
        assert process.stdout is not None
        yield Delay(port=int(process.stdout.readline()), pid=process.pid)


class _End(asyncio.Protocol):
    """One end of a forwarded connection: what it receives is written to the other end after the delay."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._queue: deque[bytes] = deque()
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._queue.append(data)
        asyncio.get_running_loop().call_later(self._delay_s, self._forward)

    def _forward(self) -> None:
        data = self._queue.popleft()  # equal delays: the first call is for the first data
        if self.other and self.other.transport:
            self.other.transport.write(data)

    def eof_received(self) -> None:
        """Close both ends, by `connection_lost`."""

    def connection_lost(self, error: Exception | None) -> None:
        if self.other and self.other.transport:
            asyncio.get_running_loop().call_later(self._delay_s, self.other.transport.close)

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.resume_reading()


class _Client(_End):
    """The end to a client; it opens the connection to the server."""

    def __init__(self, delay_s: float, target_port: int) -> None:
        super().__init__(delay_s)
        self._target_port = target_port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()  # type: ignore[union-attr] - until the server is connected
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        server = _End(self._delay_s)
        server.other = self
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: server, "127.0.0.1", self._target_port)
        except OSError:
            self.transport.close()  # type: ignore[union-attr]
            return
        self.other = server
        self.transport.resume_reading()  # type: ignore[union-attr]


async def _serve(target_port: int, round_trip_s: float) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: _Client(round_trip_s / 2, target_port), "127.0.0.1", 0, backlog=1000)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
