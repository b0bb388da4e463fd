"""Redirects of a download stay at the scheme and the kind of address of the first URL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.http_server import Answer, Handler, Server

from hybridspeech.corpora.fetch import FetchConfig, fetch
from hybridspeech.corpora.redirects import check_redirect
from hybridspeech.errors import DownloadError

QUICK = FetchConfig(timeout_s=5.0, max_failures=2, pause_s=0.0)
PUBLIC = "http://93.184.215.14/set.tar.gz"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/set", "http://10.0.0.1/", "gopher://x/"])
def test_a_redirect_to_another_kind_of_address_ends_the_download(
    tmp_path: Path, serve: Callable[[Answer], Server], code: int, target: str
) -> None:
    server = serve(lambda handler, start: handler.send(code, Location=target))
    with pytest.raises(DownloadError, match=r"redirects to .*check the URL"):
        fetch(server.url, tmp_path / "file", sha256="0" * 64, config=QUICK)
    assert server.asked == [-1]
    assert not (tmp_path / "file").exists()


def test_a_redirect_on_the_same_host_is_followed(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    def answer(handler: Handler, start: int) -> None:
        if handler.path == "/set.tar.gz":
            handler.send(302, Location="/moved")
        else:
            handler.send(200, b"content")

    fetch(serve(answer).url, tmp_path / "file", sha256=hashlib.sha256(b"content").hexdigest(), config=QUICK)
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://192.168.0.1/",
        "http://[fd00::1]/",
        "http://localhost:8080/",
        "file:///etc/hostname",
    ],
)
def test_a_public_server_can_not_redirect_to_this_machine_or_its_network(target: str) -> None:
    with pytest.raises(DownloadError, match="redirects to"):
        check_redirect(PUBLIC, target)


def test_http_may_become_https_but_https_not_http() -> None:
    check_redirect(PUBLIC, PUBLIC.replace("http:", "https:"))
    with pytest.raises(DownloadError, match="expected https;"):
        check_redirect(PUBLIC.replace("http:", "https:"), PUBLIC)
