"""A proxy in front of an S3 server that delays requests and injects faults, a bounded number of times.

It supports HTTP/1.1 with bodies of known length or in chunks, as SeaweedFS and the clients use. It runs in a thread.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>'
EXPIRED = b'<?xml version="1.0"?><Error><Code>ExpiredToken</Code><Message>expired</Message></Error>'
FAULTS = ("503", "slow-down", "expired", "time-out", "cut-request", "cut-answer", "short-length", "long-length")
SILENCE_S = 30.0


@dataclass
class FaultProxy:
    """Behaviour of the proxy.

    `choose` gets the number of a request, from 0, and its first line; it returns one of FAULTS, or None. `injected` counts
    the faults so far, by name, and `most_at_once` is the highest number of requests that waited for the latency. `tls`
    encrypts the connections to the clients; None: they are plain.
    """

    target_port: int
    latency_s: float = 0.0
    choose: Callable[[int, str], str | None] = lambda number, line: None
    port: int = 0
    tls: ssl.SSLContext | None = None
    num_requests: int = 0
    injected: dict[str, int] = field(default_factory=dict)
    most_at_once: int = 0
    _waiting: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one client."""
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while head := await read_head(reader):
                line = head.split(b"\r\n", 1)[0].decode("latin-1")
                number, self.num_requests = self.num_requests, self.num_requests + 1
                if b"expect: 100-continue" in head.lower():
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    head = without_field(head, b"expect")
                body = await read_body(reader, head)
                fault = self.choose(number, line)
                if fault:
                    self.injected[fault] = self.injected.get(fault, 0) + 1
                if self.latency_s:
                    self._waiting += 1
                    self.most_at_once = max(self.most_at_once, self._waiting)
                    await asyncio.sleep(self.latency_s)
                    self._waiting -= 1
                if fault == "cut-request":
                    return
                if fault == "time-out":
                    await asyncio.sleep(SILENCE_S)
                    return
                if fault in ("503", "slow-down", "expired"):
                    writer.write(refusal(fault, line.startswith("HEAD")))
                    await writer.drain()
                    continue
                if server is None:
                    server = await asyncio.open_connection("127.0.0.1", self.target_port, limit=1 << 20)
                server[1].write(head + body)
                await server[1].drain()
                if not await self._answer(server[0], writer, line.startswith("HEAD"), fault):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            for end in (writer, server[1] if server else None):
                if end is not None:
                    end.close()

    async def _answer(
        self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, is_head: bool, fault: str | None
    ) -> bool:
        """Forward one response; returns whether the connection can be used again."""
        head = await read_head(server)
        while head.startswith(b"HTTP/1.1 100"):
            head = await read_head(server)
        has_body = not is_head and not head.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304"))
        body = await read_body(server, head) if has_body else b""
        if fault == "cut-answer":
            writer.write((head + body)[: len(head) + len(body) // 2])
            await writer.drain()
            return False
        if fault in ("short-length", "long-length") and len(body) > 1 and b"chunked" not in head.lower():
            length = len(body) // 2 if fault == "short-length" else len(body) + 1000
            head = without_field(head, b"content-length")[:-2] + b"Content-Length: %d\r\n\r\n" % length
            writer.write(head + body[:length])
            await writer.drain()
            return False
        writer.write(head + body)
        await writer.drain()
        return b"connection: close" not in head.lower()


def refusal(fault: str, is_head: bool) -> bytes:
    status = {"503": b"503 Service Unavailable", "slow-down": b"503 Slow Down", "expired": b"400 Bad Request"}[fault]
    body = {"503": b"", "slow-down": SLOW_DOWN, "expired": EXPIRED}[fault]
    body = b"" if is_head else body
    return b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Read up to the empty line; returns b'' at the end of the stream."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Yield the body as it is transferred."""
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (f.partition(b":") for f in head.split(b"\r\n"))
    }
    if b"chunked" not in fields.get(b"transfer-encoding", b"").lower():
        return await reader.readexactly(int(fields.get(b"content-length", b"0")))
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line
        if size:
            body += await reader.readexactly(size + 2)
            continue
        while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
            body += trailer
        return body + trailer


def without_field(head: bytes, name: bytes) -> bytes:
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(name + b":"))


@contextmanager
def running_proxy(proxy: FaultProxy) -> Iterator[FaultProxy]:
    """Run the proxy on a free port of loopback, `proxy.port`."""
    loop = asyncio.new_event_loop()
    started, ending = threading.Event(), asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 20, ssl=proxy.tls)
        proxy.port = server.sockets[0].getsockname()[1]
        started.set()
        await ending.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)
