from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hybridspeech.errors import ShardError
from hybridspeech.storage.copies import LocalCopies, fetched, upload_files
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import delete_files, list_files, write_bytes

NAMES = [f"shard-{number:02d}" for number in range(20)]
SIZES = dict.fromkeys(NAMES, 1000)


@pytest.fixture
def store() -> str:
    """Twenty files of 1,000 bytes."""
    place = f"memory://test/{uuid.uuid4().hex}"
    for number, name in enumerate(NAMES):
        write_bytes(join(place, name), bytes([number]) * 1000)
    return place


def check_nothing(name: str, path: Path) -> None:
    pass


def await_bytes(copies: LocalCopies, expected: int) -> None:
    deadline = time.monotonic() + 10
    while copies.num_bytes != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert copies.num_bytes == expected


def test_files_are_fetched_ahead_in_reading_order_up_to_the_limit(store: str) -> None:
    with LocalCopies(store, SIZES, 5000, check_nothing) as copies:
        copies.expect(NAMES[::-1])
        await_bytes(copies, 5000)
        delete_files(join(store, name) for name in NAMES[-5:])
        for name in NAMES[:-6:-1]:
            assert copies.path(name).read_bytes() == bytes([NAMES.index(name)]) * 1000


def test_more_than_the_limit_is_read_epoch_after_epoch(store: str) -> None:
    with LocalCopies(store, SIZES, 12_000, check_nothing) as copies:
        for order in (NAMES, NAMES[::-1], NAMES):
            copies.expect(order)
            for name in order:
                assert copies.path(name).read_bytes()[0] == NAMES.index(name)
                assert copies.num_bytes <= 12_000


def test_a_second_epoch_within_the_limit_fetches_nothing(store: str) -> None:
    with LocalCopies(store, SIZES, 20_000, check_nothing) as copies:
        copies.expect(NAMES)
        assert all(copies.path(name) for name in NAMES)
        delete_files(join(store, name) for name in NAMES)
        copies.expect(NAMES[::-1])
        assert all(copies.path(name).is_file() for name in NAMES)
        folder = copies.path(NAMES[0]).parent
    assert not folder.exists()


def test_several_readers_may_ask_in_any_order(store: str) -> None:
    with LocalCopies(store, SIZES, 1, check_nothing) as copies, ThreadPoolExecutor(4) as pool:
        copies.expect(NAMES)
        assert all(pool.map(lambda name: copies.path(name).read_bytes(), NAMES[::-1], timeout=30))


def test_an_error_of_the_check_reaches_the_reader(store: str) -> None:
    def check(name: str, path: Path) -> None:
        if name == NAMES[3]:
            raise ShardError(f"{name}: damaged")

    with LocalCopies(store, SIZES, 20_000, check) as copies:
        copies.expect(NAMES)
        assert copies.path(NAMES[2]).is_file()
        with pytest.raises(ShardError, match="shard-03: damaged"):
            copies.path(NAMES[3])
    delete_files([join(store, NAMES[19])])
    with LocalCopies(store, SIZES, 20_000, check) as copies, pytest.raises(FileNotFoundError):
        copies.path(NAMES[19])


def test_closing_waits_for_running_downloads(store: str) -> None:
    begun, ended = threading.Semaphore(0), threading.Semaphore(0)

    def check(name: str, path: Path) -> None:
        begun.release()
        time.sleep(0.5)
        path.with_name(f"{name}.checked").touch()
        ended.release()

    with LocalCopies(store, SIZES, 20_000, check) as copies:
        copies.expect(NAMES)
        begun.acquire()
    assert ended.acquire(blocking=False)


def test_parts_of_a_location_are_fetched_and_files_uploaded(tmp_path: Path) -> None:
    place = f"memory://test/{uuid.uuid4().hex}"
    for name in ("plan.json", "model/a/weights", "model/b", "other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    upload_files(tmp_path, ["model/a/weights", "model/b", "other", "plan.json"], place)
    assert [stat.name for stat in list_files(place)] == ["model/a/weights", "model/b", "other", "plan.json"]
    with fetched(place, "plan.json", "model/") as folder:
        assert [stat.name for stat in list_files(str(folder))] == ["model/a/weights", "model/b", "plan.json"]
    with fetched(tmp_path) as folder:
        assert folder == tmp_path
