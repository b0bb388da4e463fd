"""Downloads from servers that drop connections, ignore ranges and announce wrong lengths."""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.http_server import Answer, Handler, Server

from hybridspeech.corpora.fetch import FetchConfig, fetch
from hybridspeech.errors import ConfigError, DownloadError

QUICK = FetchConfig(timeout_s=5.0, max_failures=3, pause_s=0.0)
CONTENT = random.Random(0).randbytes(300_000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def get(server: Server, path: Path, content: bytes = CONTENT, num_bytes: int | None = None) -> bytes:
    """Fetch `content` from a server."""
    fetch(server.url, path, sha256=sha256(content), num_bytes=num_bytes, config=QUICK)
    return path.read_bytes()


def test_a_file_is_fetched_once(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(CONTENT, start))
    assert get(server, tmp_path / "file") == get(server, tmp_path / "file") == CONTENT
    assert server.asked == [-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_dropped_connection_is_continued(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(CONTENT, start, most=70_000))
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [-1, 70_000, 140_000, 210_000, 280_000]


def test_a_reset_connection_is_continued(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def reset(handler: Handler, start: int) -> None:
        handler.send_range(CONTENT, start, most=100_000 if start < 0 else 2**40)
        if start < 0:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    server = serve(reset)
    assert get(server, tmp_path / "file") == CONTENT
    assert len(server.asked) == 2


def test_the_next_call_continues_a_failed_one(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    broken = serve(lambda handler, start: handler.send_range(CONTENT, start, most=120_000 if start < 0 else 0))
    with pytest.raises(DownloadError, match="closed after 120,000 of 300,000 bytes; 120,000 bytes are kept"):
        get(broken, tmp_path / "file")
    repaired = serve(lambda handler, start: handler.send_range(CONTENT, start))
    assert get(repaired, tmp_path / "file") == CONTENT
    assert (broken.asked, repaired.asked) == ([-1, 120_000, 120_000, 120_000], [120_000])


def test_a_server_that_ignores_ranges_starts_again(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(CONTENT, -1, most=100_000 if start < 0 else 2**40))
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [-1, 100_000]


def test_a_server_that_sends_no_new_bytes_is_an_error(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(CONTENT, -1, most=100_000))
    with pytest.raises(DownloadError, match="100,000 of 300,000"):
        get(server, tmp_path / "file")
    assert len(server.asked) == 1 + QUICK.max_failures


def test_another_range_than_requested_is_refused(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def shifted(handler: Handler, start: int) -> None:
        handler.send_range(
            CONTENT, start - 10 if start > 0 else start, most=100_000 if len(server.asked) == 1 else 2**40
        )

    server = serve(shifted)
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [-1, 100_000, -1]


@pytest.mark.parametrize("old", [CONTENT[:1000][::-1], CONTENT + b"more", CONTENT[::-1]])
def test_the_partial_download_of_another_file_is_dropped(
    tmp_path: Path, serve: Callable[[Answer], Server], old: bytes
) -> None:
    (tmp_path / "file.part").write_bytes(old)
    server = serve(lambda handler, start: handler.send_range(CONTENT, start))
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [len(old), -1]


def test_a_complete_partial_download_is_used(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    server = serve(lambda handler, start: handler.send_range(CONTENT, start))
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [len(CONTENT)]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_announced_length_that_is_too_large_is_detected(
    tmp_path: Path, serve: Callable[[Answer], Server], ranges: bool
) -> None:
    def boast(handler: Handler, start: int) -> None:
        if start >= 0 and ranges:
            return handler.send_range(CONTENT, start)
        return handler.send(200, CONTENT, Content_Length="400000")

    assert get(serve(boast), tmp_path / "file") == CONTENT
    with pytest.raises(DownloadError, match="the server has 400,000 bytes, expected 300,000"):
        get(serve(boast), tmp_path / "other", num_bytes=300_000)


def test_an_announced_length_that_is_too_small_is_detected(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send(200, CONTENT, Content_Length="1000"))
    with pytest.raises(DownloadError, match=r"SHA-256 is .*\(1,000 bytes\)"):
        get(server, tmp_path / "file")
    with pytest.raises(DownloadError, match="the server has 1,000 bytes, expected 300,000"):
        get(server, tmp_path / "file", num_bytes=300_000)


def test_without_an_announced_length_the_known_size_decides(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def mute(handler: Handler, start: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT if len(server.asked) > 1 else CONTENT[:5000])

    server = serve(mute)
    assert get(server, tmp_path / "file", num_bytes=300_000) == CONTENT
    assert server.asked == [-1, 5000]


def test_an_endless_file_is_cut_off(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def pour(handler: Handler, start: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(CONTENT)

    server = serve(pour)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    with pytest.raises(DownloadError, match="more than 1,000,000 bytes"):
        fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT), config=replace(QUICK, max_bytes=1_000_000))


def test_a_wrong_hash_is_refused_and_nothing_is_left(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(b"other", start))
    with pytest.raises(DownloadError, match=f"{sha256(b'other')} .*, expected {sha256(CONTENT)}; .*--sha256"):
        get(server, tmp_path / "file")
    assert (server.asked, list(tmp_path.iterdir())) == ([-1], [])


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 3), (429, 3)])
def test_only_temporary_errors_are_retried(
    tmp_path: Path, serve: Callable[[Answer], Server], status: int, requests: int
) -> None:
    server = serve(lambda handler, start: handler.send(status))
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        get(server, tmp_path / "file")
    assert len(server.asked) == requests


def test_a_busy_server_is_retried(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def busy(handler: Handler, start: int) -> None:
        if len(server.asked) < 3:
            return handler.send(503)
        return handler.send_range(CONTENT, start)

    server = serve(busy)
    assert get(server, tmp_path / "file") == CONTENT


def test_a_redirect_is_followed(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    mirror = serve(lambda handler, start: handler.send_range(CONTENT, start, most=100_000))
    server = serve(lambda handler, start: handler.send(302, Location=mirror.url))
    assert get(server, tmp_path / "file") == CONTENT
    assert mirror.asked == [-1, 100_000, 200_000]


def test_a_server_that_does_not_answer_is_an_error(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    over = threading.Event()
    server = serve(lambda handler, start: over.wait(60) and None)
    hasty = replace(QUICK, timeout_s=0.1, max_failures=2)
    try:
        with pytest.raises(DownloadError, match="timed out"):
            fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT), config=hasty)
    finally:
        over.set()


def test_a_refused_connection_is_an_error(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    with pytest.raises(DownloadError, match="no connection"):
        fetch(url, tmp_path / "file", sha256=sha256(CONTENT), config=QUICK)


def test_a_file_on_disk_is_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "mirror").write_bytes(CONTENT)
    assert fetch((tmp_path / "mirror").as_uri(), tmp_path / "file", sha256=sha256(CONTENT)) == 300_000
    with pytest.raises(DownloadError, match="check the URL"):
        fetch((tmp_path / "gone").as_uri(), tmp_path / "other", sha256=sha256(CONTENT))


@pytest.mark.parametrize("url", ["ftp://host/a", "mirror.tar.gz", "", "http://host/a b", "http://host/\n"])
def test_other_urls_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="expected one that starts with http://"):
        fetch(url, tmp_path / "file", sha256=sha256(CONTENT))
