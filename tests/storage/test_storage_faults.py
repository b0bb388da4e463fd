"""Faults of a store, injected by a proxy: the same content in the end, or an error of one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fault_proxy import FaultProxy

from hybridspeech.errors import StorageError
from hybridspeech.storage import retries
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import (
    create_exclusively,
    download,
    list_files,
    read_bytes,
    upload,
    write_bytes,
)
from hybridspeech.storage.parallel_reads import read_many

pytestmark = pytest.mark.slow  # an S3 server, and seconds of retries

PASSING = ("503", "slow-down", "time-out", "cut-request", "cut-answer", "short-length", "long-length")


@pytest.mark.parametrize("fault", PASSING)
def test_a_temporary_fault_does_not_change_the_result(
    fault: str, fault_proxy: FaultProxy, s3_url: str, tmp_path: Path
) -> None:
    contents = [bytes([number]) * 20_000 for number in range(40)]
    fault_proxy.choose = lambda number, line: fault if number % 5 == 2 else None
    for number, content in enumerate(contents[:8]):
        write_bytes(join(s3_url, f"{number:02d}"), content)
    fault_proxy.choose = lambda number, line: None
    for number, content in enumerate(contents[8:], 8):
        write_bytes(join(s3_url, f"{number:02d}"), content)
    fault_proxy.choose = lambda number, line: fault if number % 5 == 2 else None
    assert [stat.num_bytes for stat in list_files(s3_url)] == [20_000] * 40
    assert list(read_many(join(s3_url, f"{number:02d}") for number in range(40))) == contents
    (tmp_path / "file").write_bytes(contents[7] * 100)
    upload(tmp_path / "file", join(s3_url, "uploaded"))
    download(join(s3_url, "uploaded"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == contents[7] * 100
    assert fault_proxy.injected[fault] > 5


@pytest.mark.parametrize("fault", ["cut-answer", "503", "time-out"])
def test_an_exclusive_creation_whose_answer_is_lost_has_one_owner(
    fault: str, fault_proxy: FaultProxy, s3_url: str
) -> None:
    fault_proxy.choose = lambda number, line: fault if number == 0 else None
    assert create_exclusively(join(s3_url, "lock"), b"mine")
    assert not create_exclusively(join(s3_url, "lock"), b"yours")


def test_a_store_that_stays_busy_is_one_sentence_after_a_bounded_number_of_attempts(
    fault_proxy: FaultProxy, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    fault_proxy.choose = lambda number, line: "slow-down"
    with pytest.raises(StorageError, match=r"the store failed 7 times in a row \(SlowDown\)"):
        write_bytes(join(s3_url, "a"), b"x")
    assert fault_proxy.num_requests == 7


def test_expired_credentials_end_at_the_first_answer(fault_proxy: FaultProxy, s3_url: str) -> None:
    fault_proxy.choose = lambda number, line: "expired"
    for number, call in enumerate([lambda: write_bytes(join(s3_url, "a"), b"x"), lambda: list_files(s3_url)], 1):
        with pytest.raises(StorageError, match="the credentials have expired; renew them"):
            call()
        assert fault_proxy.num_requests == number
    with pytest.raises(StorageError, match="the credentials have expired; renew them"):
        read_bytes(join(s3_url, "a"))


def test_a_store_that_does_not_answer_is_one_sentence(
    s3_url: str, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.01)
    fault_proxy.choose = lambda number, line: "cut-request"
    for call in (lambda: read_bytes(join(s3_url, "a")), lambda: list_files(s3_url)):
        with pytest.raises(StorageError, match="the store failed 7 times in a row"):
            call()
