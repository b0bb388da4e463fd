"""HTTP servers on loopback whose behaviour a test defines."""

from __future__ import annotations

import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler", int], None]
"""Handles a request for all bytes from a position on (-1: without a range)."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else -1
        self.server.asked.append(start)
        self.server.answer(self, start)

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_range(self, content: bytes, start: int, most: int = 2**40) -> None:
        """Return a correct response, cut off after `most` bytes."""
        if start >= len(content):
            return self.send(416, Content_Range=f"bytes */{len(content)}")
        first, last = max(0, start), len(content) - 1
        headers = {"Content_Length": str(len(content) - first)}
        if start >= 0:
            headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
        return self.send(206 if start >= 0 else 200, content[first : first + most], **headers)

    def log_message(self, format: str, *args: object) -> None: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True
    asked: list[int]
    answer: Answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/set.tar.gz"
