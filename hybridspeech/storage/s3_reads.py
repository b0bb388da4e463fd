"""Reads many S3 objects at the same time from one thread, over connections that do not block.

A small read takes a sixth of the CPU time of one in a thread of its own, and the answers that arrive while the caller works
wait in the buffers of the system. Only complete answers are taken here: anything else is read again by the caller's
function. Knows nothing of audio.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from hybridspeech.storage.filesystems import MAX_CONNECTIONS
from hybridspeech.storage.s3_requests import ErrorAnswer, HttpAnswer, S3Requests, has_its_md5

BUFFER_BYTES = 1 << 16
CHECK_S = 1.0
"""Longest time between two looks for requests that the store does not answer."""
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(slots=True, eq=False)
class Read:
    """One requested file: its content, or a future of it if it is read in another thread.

    Parameters
    ----------
    reads : requests it; None: `future` is set
    """

    location: str
    key: str = ""
    reads: S3Reads | None = None
    content: bytes | None = None
    future: Future[bytes] | None = None

    def result(self) -> bytes:
        """Wait for the content, and return it; raise the error of `future`."""
        while self.content is None and self.future is None:
            assert self.reads is not None
            self.reads.advance()
        return self.content if self.future is None else self.future.result()  # type: ignore[return-value]


class S3Reads:
    """Reads from one bucket that are under way, for use by one thread at a time; `close` it at the end.

    Parameters
    ----------
    repeat : reads a location in another thread, after the error of an attempt that counts, or None
    connecting : opens connections, several at the same time
    """

    def __init__(
        self, requests: S3Requests, repeat: Callable[[str, Exception | None], Future[bytes]], connecting: Executor
    ) -> None:
        self._requests, self._repeat, self._connecting = requests, repeat, connecting
        self._selector = selectors.DefaultSelector()
        self._waiting: deque[Read] = deque()
        self._idle: list[_Connection] = []
        self._busy: dict[_Connection, Read] = {}

    def start(self, location: str, key: str) -> Read:
        """Request an object, as soon as a connection is free."""
        read = Read(location, key, self)
        self._waiting.append(read)
        return read

    def poll(self) -> None:
        """Take the answers that have arrived, and send the requests that wait for a connection."""
        self._send()
        if self._take(0.0):
            self._send()

    def advance(self) -> None:
        """Wait until an answer arrives, or a request fails."""
        self._send()
        if not self._take(min(CHECK_S, self._requests.timeout_s / 4)):
            now, timeout_s = time.monotonic(), self._requests.timeout_s
            for connection in [busy for busy in self._busy if now > busy.deadline]:
                self._fail(connection, TimeoutError(f"no answer in {timeout_s:g} s"))

    def close(self) -> None:
        """Keep the idle connections for later reads, and end the others."""
        self._selector.close()
        for connection in self._busy:
            connection.socket.close()
        for connection in self._idle:
            self._requests.keep_socket(connection.socket)

    def _take(self, wait_s: float) -> bool:
        arrived = self._selector.select(wait_s)
        for key, _ in arrived:
            self._receive(key.data)
        return bool(arrived)

    def _send(self) -> None:
        if self._waiting and not self._idle:
            self._connect(min(len(self._waiting), MAX_CONNECTIONS - len(self._busy)))
        while self._waiting and self._idle:
            read = self._waiting.popleft()
            try:
                request = self._requests.get_request(read.key)
            except Exception:  # noqa: BLE001 - the credentials can't be renewed: the other thread says so
                request = None
            if request is None:
                read.future = self._repeat(read.location, None)
                continue
            connection = self._idle.pop()
            self._busy[connection] = read
            connection.deadline = time.monotonic() + self._requests.timeout_s
            try:
                connection.socket.sendall(request)
            except OSError as error:
                self._fail(connection, error)

    def _connect(self, number: int) -> None:
        """Use connections of earlier reads, or open new ones; what can't be opened is the error of a waiting read."""
        earlier = [kept for _ in range(number) if (kept := self._requests.idle_socket())]
        opening = [self._connecting.submit(self._requests.open_socket) for _ in range(number - len(earlier))]
        for kept in earlier:
            self._add(kept)
        for each in opening:
            try:
                self._add(each.result())
            except OSError as error:
                read = self._waiting.popleft()
                read.future = self._repeat(read.location, error)

    def _add(self, opened: socket.socket) -> None:
        opened.setblocking(False)
        connection = _Connection(opened)
        self._selector.register(opened, selectors.EVENT_READ, connection)
        self._idle.append(connection)

    def _receive(self, connection: _Connection) -> None:
        read = self._busy.get(connection)
        try:
            answer = connection.receive()
        except OSError as error:
            if read is None:  # the server has closed an idle connection
                self._drop(connection)
            else:
                self._fail(connection, error)
            return
        connection.deadline = time.monotonic() + self._requests.timeout_s
        if answer is None or read is None:
            return
        if answer.fields.get("connection", "").lower() == "close":
            self._drop(connection)
        else:
            del self._busy[connection]
            self._idle.append(connection)
        if answer.status == 200 and has_its_md5(answer):
            read.content = answer.body
        else:
            is_busy = answer.status >= 500
            read.future = self._repeat(read.location, ErrorAnswer(answer.status, answer.body) if is_busy else None)

    def _fail(self, connection: _Connection, error: Exception) -> None:
        read = self._busy[connection]
        self._drop(connection)
        read.future = self._repeat(read.location, error)

    def _drop(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._busy.pop(connection, None)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)


class _Connection:
    """A socket that does not block, and what has arrived of the answer to its request."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket, self.deadline = opened, 0.0
        self._buffer, self._filled = bytearray(BUFFER_BYTES), 0
        self._status, self._fields, self._begin, self._end = 0, dict[str, str](), 0, 0

    def receive(self) -> HttpAnswer | None:
        """Take what has arrived; return the answer once it is complete.

        Raises
        ------
        OSError: the connection was closed, or the answer is of a kind that is not read here.
        """
        while True:
            try:
                count = self.socket.recv_into(memoryview(self._buffer)[self._filled :])
            except _NOT_YET:
                return None
            if not count:
                raise ConnectionError("the connection was closed before the end of the answer")
            self._filled += count
            if self._end or self._read_head():
                if self._filled == self._end:
                    return self._taken()
                if self._filled > self._end:
                    raise OSError("the answer is longer than announced")

    def _read_head(self) -> bool:
        """Read status and fields; whether they are complete."""
        begin = self._buffer.find(b"\r\n\r\n", 0, self._filled) + 4
        if begin < 4:
            if self._filled == len(self._buffer):
                raise OSError("the head of the answer has no end")
            return False
        lines = self._buffer[: begin - 4].decode("latin-1").split("\r\n")
        self._fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        try:
            self._status, num_bytes = int(lines[0].split()[1]), int(self._fields["content-length"])
        except (KeyError, ValueError, IndexError) as error:
            raise OSError(f"the answer is of another kind than expected: {lines[0][:100]}") from error
        self._begin, self._end = begin, begin + num_bytes
        if self._end > len(self._buffer):
            self._buffer.extend(bytes(self._end - len(self._buffer)))
        return True

    def _taken(self) -> HttpAnswer:
        body = bytes(memoryview(self._buffer)[self._begin : self._end])
        answer = HttpAnswer(status=self._status, fields=self._fields, body=body)
        if len(self._buffer) > BUFFER_BYTES:
            self._buffer = bytearray(BUFFER_BYTES)
        self._filled = self._end = 0
        return answer
