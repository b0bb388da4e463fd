"""Downloads from servers on loopback that drop, ignore and lie, and archives that mean harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hybridspeech.config import Progress
from hybridspeech.download import PUBLISHED, DownloadResult, download
from hybridspeech.errors import ConfigError, DownloadError, HybridspeechError, ManifestError, OutputExistsError
from hybridspeech.fetch import FetchConfig, fetch
from hybridspeech.manifest import read_manifest
from hybridspeech.unpack import unpack

NAME = "speech-commands-v0.01"
QUICK = FetchConfig(timeout_s=5.0, max_failures=3, pause_s=0.0)
CONTENT = random.Random(0).randbytes(300_000)


# Servers

Answer = Callable[["Handler", int], None]
"""What a server does with a request that asks for all bytes from a position on (-1: no range was asked for)."""


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
        """An honest answer, cut off after `most` bytes."""
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


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], Server]]:
    """Starts servers with a given behaviour, and ends them after the test."""
    monkeypatch.setenv("no_proxy", "*")
    servers = []

    def start(answer: Answer) -> Server:
        server = Server(("127.0.0.1", 0), Handler)
        server.asked, server.answer = [], answer
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def get(server: Server, path: Path, content: bytes = CONTENT, num_bytes: int | None = None) -> bytes:
    """What `fetch` makes of a server that is asked for `content`."""
    fetch(server.url, path, sha256=sha256(content), num_bytes=num_bytes, config=QUICK)
    return path.read_bytes()


def test_a_file_is_fetched_once(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(CONTENT, start))
    assert get(server, tmp_path / "file") == get(server, tmp_path / "file") == CONTENT
    assert server.asked == [-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_dropped_connection_goes_on_where_it_was(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(CONTENT, start, most=70_000))
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [-1, 70_000, 140_000, 210_000, 280_000]


def test_a_reset_connection_goes_on(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def reset(handler: Handler, start: int) -> None:
        handler.send_range(CONTENT, start, most=100_000 if start < 0 else 2**40)
        if start < 0:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    server = serve(reset)
    assert get(server, tmp_path / "file") == CONTENT
    assert len(server.asked) == 2


def test_the_next_call_goes_on_where_the_last_gave_up(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    broken = serve(lambda handler, start: handler.send_range(CONTENT, start, most=120_000 if start < 0 else 0))
    with pytest.raises(DownloadError, match="closed after 120,000 of 300,000 bytes; 120,000 bytes are kept"):
        get(broken, tmp_path / "file")
    mended = serve(lambda handler, start: handler.send_range(CONTENT, start))
    assert get(mended, tmp_path / "file") == CONTENT
    assert (broken.asked, mended.asked) == ([-1, 120_000, 120_000, 120_000], [120_000])


def test_a_server_that_ignores_ranges_starts_anew(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(CONTENT, -1, most=100_000 if start < 0 else 2**40))
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [-1, 100_000]


def test_a_server_that_never_gets_further_is_given_up(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(CONTENT, -1, most=100_000))
    with pytest.raises(DownloadError, match="100,000 of 300,000"):
        get(server, tmp_path / "file")
    assert len(server.asked) == 1 + QUICK.max_failures


def test_another_range_than_asked_for_is_not_believed(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def shifted(handler: Handler, start: int) -> None:
        handler.send_range(
            CONTENT, start - 10 if start > 0 else start, most=100_000 if len(server.asked) == 1 else 2**40
        )

    server = serve(shifted)
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [-1, 100_000, -1]


@pytest.mark.parametrize("old", [CONTENT[:1000][::-1], CONTENT + b"more", CONTENT[::-1]])
def test_what_was_kept_of_another_file_is_dropped(
    tmp_path: Path, serve: Callable[[Answer], Server], old: bytes
) -> None:
    (tmp_path / "file.part").write_bytes(old)
    server = serve(lambda handler, start: handler.send_range(CONTENT, start))
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [len(old), -1]


def test_a_part_that_is_whole_is_taken(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    server = serve(lambda handler, start: handler.send_range(CONTENT, start))
    assert get(server, tmp_path / "file") == CONTENT
    assert server.asked == [len(CONTENT)]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_length_that_is_too_long_is_found_out(
    tmp_path: Path, serve: Callable[[Answer], Server], ranges: bool
) -> None:
    def boast(handler: Handler, start: int) -> None:
        if start >= 0 and ranges:
            return handler.send_range(CONTENT, start)
        return handler.send(200, CONTENT, Content_Length="400000")

    assert get(serve(boast), tmp_path / "file") == CONTENT
    with pytest.raises(DownloadError, match="the server has 400,000 bytes, expected 300,000"):
        get(serve(boast), tmp_path / "other", num_bytes=300_000)


def test_a_length_that_is_too_short_is_found_out(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send(200, CONTENT, Content_Length="1000"))
    with pytest.raises(DownloadError, match=r"SHA-256 is .*\(1,000 bytes\)"):
        get(server, tmp_path / "file")
    with pytest.raises(DownloadError, match="the server has 1,000 bytes, expected 300,000"):
        get(server, tmp_path / "file", num_bytes=300_000)


def test_without_a_length_the_known_size_decides(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
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
        fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT), max_bytes=1_000_000, config=QUICK)


def test_a_wrong_hash_is_refused_and_nothing_is_left(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(b"other", start))
    with pytest.raises(DownloadError, match=f"{sha256(b'other')} .*, expected {sha256(CONTENT)}; .*--sha256"):
        get(server, tmp_path / "file")
    assert (server.asked, list(tmp_path.iterdir())) == ([-1], [])


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 3), (429, 3)])
def test_only_what_may_pass_is_tried_again(
    tmp_path: Path, serve: Callable[[Answer], Server], status: int, requests: int
) -> None:
    server = serve(lambda handler, start: handler.send(status))
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        get(server, tmp_path / "file")
    assert len(server.asked) == requests


def test_a_server_that_is_busy_at_first_is_asked_again(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def busy(handler: Handler, start: int) -> None:
        if len(server.asked) < 3:
            return handler.send(503)
        return handler.send_range(CONTENT, start)

    server = serve(busy)
    assert get(server, tmp_path / "file") == CONTENT


def test_a_redirection_is_followed(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    mirror = serve(lambda handler, start: handler.send_range(CONTENT, start, most=100_000))
    server = serve(lambda handler, start: handler.send(302, Location=mirror.url))
    assert get(server, tmp_path / "file") == CONTENT
    assert mirror.asked == [-1, 100_000, 200_000]


def test_a_silent_server_is_given_up(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    over = threading.Event()
    server = serve(lambda handler, start: over.wait(60) and None)
    hasty = replace(QUICK, timeout_s=0.1, max_failures=2)
    try:
        with pytest.raises(DownloadError, match="timed out"):
            fetch(server.url, tmp_path / "file", sha256=sha256(CONTENT), config=hasty)
    finally:
        over.set()


def test_no_server_is_an_error(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
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


# Archives


def tar(*members: tuple[tarfile.TarInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", [tar, zipped])
def test_plain_files_are_unpacked(tmp_path: Path, make: Callable[..., bytes]) -> None:
    litter = [("./.DS_Store", b"x"), ("./yes/._a.wav", b"x"), ("__MACOSX/yes/b.wav", b"x")]
    (tmp_path / "archive").write_bytes(make(("./yes/a.wav", b"1"), ("no/deep er/ä.wav", b""), *litter))
    unpack(tmp_path / "archive", tmp_path / "out")
    assert files(tmp_path / "out") == {"yes/a.wav": b"1", "no/deep er/ä.wav": b""}


def test_the_archive_decides_no_permissions(tmp_path: Path) -> None:
    info = special("yes/a.wav", tarfile.REGTYPE)
    info.mode, info.uid, info.mtime = 0o6777, 12345, 0
    (tmp_path / "archive").write_bytes(tar((info, b"1")))
    unpack(tmp_path / "archive", tmp_path / "out")
    made = (tmp_path / "out/yes/a.wav").stat()
    assert (made.st_mode & 0o7111, made.st_uid) == (0, os.geteuid())


EVIL = {
    "absolute": (tar(("/proc/hybridspeech-evil.wav", b"x")), "is not below the folder"),
    "parent": (tar(("yes/../../evil.wav", b"x")), "is not below the folder"),
    "symlink": (tar((special("yes", tarfile.SYMTYPE, ".."), b""), ("yes/evil.wav", b"x")), "'yes' is a link"),
    "hard link": (tar((special("yes/a.wav", tarfile.LNKTYPE, "../evil.wav"), b"")), "'yes/a.wav' is a link"),
    "device": (tar((special("yes/a.wav", tarfile.CHRTYPE), b"")), "is a special file"),
    "pipe": (tar((special("yes/a.wav", tarfile.FIFOTYPE), b"")), "is a special file"),
    "twice": (tar(("yes/a.wav", b"1"), ("yes/a.wav", b"2")), "is there twice"),
    "file below a file": (tar(("yes", b"1"), ("yes/a.wav", b"2")), "can't unpack"),
    "zip absolute": (zipped(("/proc/hybridspeech-evil.wav", b"x")), "is not below the folder"),
    "zip parent": (zipped(("../evil.wav", b"x")), "is not below the folder"),
    "zip link": (zipped((zip_special("yes", 0o120777), b"..")), "'yes' is a link"),
    "zip device": (zipped((zip_special("yes/a.wav", 0o020666), b"")), "is a special file"),
    "count": (tar(*[(f"yes/{i}.wav", b"") for i in range(101)]), "more than 100 entries"),
    "count of folders": (tar(*[(special(f"{i}", tarfile.DIRTYPE), b"") for i in range(101)]), "more than 100 entries"),
    "size": (tar(("yes/a.wav", bytes(600_000)), ("yes/b.wav", bytes(600_000))), "1,000,000 bytes"),
    "zip size": (zipped(("yes/a.wav", bytes(1_000_001))), "1,000,000 bytes"),
    "cut tar": (tar(("yes/a.wav", CONTENT))[:200_000], "damaged"),
    "cut zip": (zipped(("yes/a.wav", CONTENT))[:200_000], "damaged"),
    "changed zip": (zipped(("a.wav", bytes(99))).replace(b"\x63\x60", b"\x63\x61", 1), "damaged"),
    "no tar": (gzip.compress(CONTENT), "damaged"),
    "no gzip": (b"\x1f\x8b" + CONTENT, "damaged"),
    "page": (b"<!DOCTYPE html>", "neither a .tar.gz nor a .zip; it starts with b'<!DO'"),
    "empty": (b"", "neither a .tar.gz nor a .zip"),
}


@pytest.mark.parametrize("case", EVIL)
def test_an_archive_that_may_not_be_unpacked_is_refused(tmp_path: Path, case: str) -> None:
    content, message = EVIL[case]
    archive, out = tmp_path / "archive", tmp_path / "deep/out"
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match=message):
        unpack(archive, out, max_members=100, max_bytes=1_000_000)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert {path for path in tmp_path.rglob("*.wav") if out not in path.parents} == set()
    assert not Path("/proc/hybridspeech-evil.wav").exists()
    assert sum(path.stat().st_size for path in out.rglob("*.wav")) <= 1_000_000


# The verb

SPEECH = tar(
    (special("./", tarfile.DIRTYPE), b""),
    *[(f"./{word}/{speaker:08x}_nohash_0.wav", CONTENT[:20_000]) for word in ("no", "yes") for speaker in range(8)],
    ("./_background_noise_/hum.wav", b""),
    ("./LICENSE", b"CC BY 4.0"),
)


def from_disk(tmp_path: Path, content: bytes = SPEECH) -> dict[str, str]:
    """A mirror for `download`."""
    (tmp_path / "mirror").write_bytes(content)
    return {"url": (tmp_path / "mirror").as_uri(), "sha256": sha256(content)}


def test_a_set_is_fetched_checked_and_unpacked(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(SPEECH, start, most=len(SPEECH) // 3))
    seen: list[Progress] = []
    result = download(
        NAME,
        tmp_path / "out",
        url=f"{server.url}?key=secret",
        sha256=sha256(SPEECH),
        fetch_config=QUICK,
        on_progress=seen.append,
    )
    assert result == DownloadResult(
        out=str(tmp_path / "out"),
        name=NAME,
        url=server.url,
        num_bytes=len(SPEECH),
        sha256=sha256(SPEECH),
        num_clips=16,
        num_words=2,
        license="CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)",
        credit="Pete Warden, Speech Commands: A public dataset for single-word speech recognition, 2017",
        is_new=True,
        seconds=result.seconds,
    )
    assert len(read_manifest(tmp_path / "out").clips) == 16
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"no", "yes", "_background_noise_", "LICENSE", "download.json"}
    assert [(p.stage, p.done, p.total) for p in seen if p.done == p.total] == [("download", 1, 1), ("unpack", 1, 1)]


def test_a_set_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    mirror = from_disk(tmp_path)
    first = download(NAME, tmp_path / "out", **mirror)
    (tmp_path / "mirror").unlink()
    second = download(NAME, tmp_path / "out", **mirror)
    assert second == replace(first, is_new=False, seconds=second.seconds)
    with pytest.raises(DownloadError):
        download(NAME, tmp_path / "out", **mirror, overwrite=True)


def test_a_published_set_is_checked_for_size_and_hash(
    tmp_path: Path, serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda handler, start: handler.send_range(SPEECH, start))
    with pytest.raises(DownloadError, match="expected 1,489,096,277: it is another file"):
        download(NAME, tmp_path / "out", url=server.url, fetch_config=QUICK)
    assert list((tmp_path / "out").iterdir()) == []
    facts = replace(PUBLISHED[NAME], num_bytes=len(SPEECH), sha256=sha256(SPEECH), url=server.url)
    monkeypatch.setitem(PUBLISHED, NAME, facts)  # type: ignore[arg-type]
    assert download(NAME, tmp_path / "out", fetch_config=QUICK).num_clips == 16


def test_the_folder_around_the_words_of_mini_is_left_out(tmp_path: Path) -> None:
    content = zipped(("mini_speech_commands/yes/a.wav", b"1"), ("__MACOSX/mini_speech_commands/._yes", b""))
    download("mini-speech-commands", tmp_path / "out", **from_disk(tmp_path, content))
    assert read_manifest(tmp_path / "out").clips[0].clip_id == "yes/a.wav"


def test_a_call_goes_on_with_what_an_earlier_one_left(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    broken = serve(lambda handler, start: handler.send_range(SPEECH, start, most=5000 if start < 0 else 0))
    with pytest.raises(DownloadError, match="5,000 bytes are kept"):
        download(NAME, tmp_path / "out", url=broken.url, sha256=sha256(SPEECH), fetch_config=QUICK)
    with pytest.raises(ManifestError, match="not finished"):
        read_manifest(tmp_path / "out")
    mended = serve(lambda handler, start: handler.send_range(SPEECH, start))
    download(NAME, tmp_path / "out", url=mended.url, sha256=sha256(SPEECH), fetch_config=QUICK)
    assert mended.asked == [5000]


@pytest.mark.parametrize("moment", ["hybridspeech.download.read_manifest", "hybridspeech.download._put_in_place"])
def test_a_killed_download_is_not_taken_for_whole(tmp_path: Path, moment: str) -> None:
    mirror = from_disk(tmp_path)
    script = (
        "import os, signal, sys, hybridspeech.download\n"
        f"{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "hybridspeech.download.download(sys.argv[1], sys.argv[2], url=sys.argv[3], sha256=sys.argv[4])\n"
    )
    command = [sys.executable, "-c", script, NAME, str(tmp_path / "out"), mirror["url"], mirror["sha256"]]
    assert subprocess.run(command, timeout=60, check=False).returncode == -9
    with pytest.raises(ManifestError, match="not finished"):
        read_manifest(tmp_path / "out")
    (tmp_path / "mirror").unlink()
    assert download(NAME, tmp_path / "out", **mirror).num_clips == 16
    assert len(files(tmp_path / "out")) == 16 + 3


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (tar(("../evil.wav", b"")), DownloadError),
        (tar(("yes/a.wav", b""), ("_unfinished/a.wav", b"")), HybridspeechError),
        (tar(("yes/a.wav", b""), ("download.json", b"{}")), DownloadError),
        (tar(("README.md", b"")), ManifestError),
    ],
)
def test_a_set_that_is_refused_leaves_no_words(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        download(NAME, tmp_path / "out", **from_disk(tmp_path, content))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.wav")] == []
    assert not (tmp_path / "out/download.json").exists()


def test_other_peoples_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").touch()
    mirror = from_disk(tmp_path)
    with pytest.raises(OutputExistsError):
        download(NAME, tmp_path / "out", **mirror)
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        download(NAME, tmp_path / "out", **mirror, overwrite=True)
    download(NAME, tmp_path / "set", **mirror)
    with pytest.raises(OutputExistsError):
        download("mini-speech-commands", tmp_path / "set", **mirror)


def test_a_download_that_was_killed_while_moving_goes_on(tmp_path: Path) -> None:
    mirror = from_disk(tmp_path)
    first = download(NAME, tmp_path / "out", **mirror)
    whole = tmp_path / "out/_unfinished/whole"
    whole.mkdir(parents=True)
    for name in ("yes", "download.json"):
        (tmp_path / "out" / name).rename(whole / name)
    (tmp_path / "out/yes").mkdir()
    with pytest.raises(OutputExistsError, match="'yes' is in the way"):
        download(NAME, tmp_path / "out", **mirror)
    (tmp_path / "out/yes").rmdir()
    again = download(NAME, tmp_path / "out", **mirror)
    assert again == replace(first, seconds=again.seconds)
    assert len(read_manifest(tmp_path / "out").clips) == 16


@pytest.mark.parametrize("mark", ["", "[]", '{"name": "speech-commands-v0.01"}'])
def test_a_mark_that_is_not_ours_is_no_mark(tmp_path: Path, mark: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/download.json").write_text(mark)
    with pytest.raises(OutputExistsError):
        download(NAME, tmp_path / "out", **from_disk(tmp_path))


def test_the_mark_names_no_path_of_this_machine(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda handler, start: handler.send_range(SPEECH, start))
    download(NAME, tmp_path / "out", url=server.url, sha256=sha256(SPEECH), fetch_config=QUICK)
    mark = (tmp_path / "out/download.json").read_text()
    assert str(tmp_path) not in mark
    assert json.loads(mark)["sha256"] == sha256(SPEECH)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "libri"}, "'libri' is unknown; choose one of speech-commands-v0.01, "),
        ({"sha256": "abc"}, "'abc'; expected 64"),
        ({"url": "mirror.tar.gz"}, "expected one that starts with"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        download(**{"name": NAME, **arguments}, out=tmp_path / "out")  # type: ignore[arg-type]


def test_every_published_set_has_a_hash_and_a_licence() -> None:
    assert set(PUBLISHED) == {"speech-commands-v0.01", "speech-commands-v0.02", "mini-speech-commands"}
    assert all(re.fullmatch("[0-9a-f]{64}", facts.sha256) and facts.num_bytes for facts in PUBLISHED.values())
    assert all(facts.url.startswith("https://") and "Pete Warden" in facts.credit for facts in PUBLISHED.values())
