"""Many reads at the same time from a real S3 server, plain and encrypted."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from support.certificates import make_certificate
from support.fault_proxy import FaultProxy, running_proxy
from support.s3_server import S3Server

from hybridspeech.errors import StorageError
from hybridspeech.storage import retries
from hybridspeech.storage.filesystems import forget_stores
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import read_bytes, upload, write_bytes
from hybridspeech.storage.parallel_reads import read_many

pytestmark = pytest.mark.slow  # hundreds of requests to an S3 server

SIZES = (0, 1, 65_000, 65_536, 700_000, 20, 3_000_000, *range(100, 200))


def written(location: str) -> tuple[list[str], list[bytes]]:
    contents = [os.urandom(size) for size in SIZES]
    urls = [join(location, f"{number} +ü.wav") for number in range(len(SIZES))]
    for url, content in zip(urls, contents, strict=True):
        write_bytes(url, content)
    return urls, contents


def test_objects_of_any_size_are_read_in_order(s3_url: str) -> None:
    urls, contents = written(s3_url)
    assert list(read_many(urls)) == contents
    assert list(read_many(urls, in_flight=2)) == contents


def test_reads_that_are_given_up_do_not_disturb_later_ones(s3_url: str) -> None:
    urls, contents = written(s3_url)
    for _ in range(3):
        reading = read_many(urls)
        assert [next(reading), next(reading)] == contents[:2]
        reading.close()  # type: ignore[attr-defined]
    assert list(read_many(urls)) == contents


def test_each_object_is_requested_once(fault_proxy: FaultProxy, s3_url: str) -> None:
    urls, contents = written(s3_url)
    before = fault_proxy.num_requests
    assert list(read_many(urls)) == contents
    assert fault_proxy.num_requests - before == len(urls)


def test_at_least_32_reads_wait_for_the_store_at_the_same_time(fault_proxy: FaultProxy, s3_url: str) -> None:
    write_bytes(join(s3_url, "a"), b"x")
    fault_proxy.latency_s = 0.3
    assert list(read_many([join(s3_url, "a")] * 100)) == [b"x"] * 100
    assert fault_proxy.most_at_once >= 32


def test_a_store_without_an_answer_is_an_error_in_each_place(fault_proxy: FaultProxy, s3_url: str) -> None:
    fault_proxy.choose = lambda number, line: "cut-request"
    found = list(read_many(join(s3_url, name) for name in "abc"))
    assert [type(error) for error in found] == [StorageError] * 3
    assert f"the store failed {retries.MAX_ATTEMPTS} times in a row" in str(found[0])


def test_encrypted_connections_trust_the_certificates_of_the_environment(
    s3_url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with running_proxy(FaultProxy(s3_server.port, tls=context)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"https://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        forget_stores()
        urls, contents = written(s3_url)
        assert list(read_many(urls)) == contents
        (tmp_path / "shard").write_bytes(contents[6])
        upload(tmp_path / "shard", join(s3_url, "shard"))
        assert read_bytes(join(s3_url, "shard")) == contents[6]
        num_sizes_compared = 2  # of the objects above 1 MB
        assert proxy.num_requests == 2 * len(SIZES) + 2 + num_sizes_compared
    forget_stores()
