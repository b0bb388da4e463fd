from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.fault_proxy import FaultProxy

from hybridspeech.errors import ConfigError, OutputExistsError, StorageError
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import list_files, read_bytes, write_bytes
from hybridspeech.storage.output import claim_output
from hybridspeech.storage.store_lock import LockTiming, StoreLock

QUICK = LockTiming(heartbeat_s=0.2, stale_s=1.5, poll_s=0.1)


def claim(out: str, *, overwrite: bool = False, resume: bool = False) -> Any:
    return claim_output(
        out, marks=("index.json",), ours=("*.tfrecord", "index.json"), overwrite=overwrite, resume=resume, timing=QUICK
    )


def names(out: str) -> list[str]:
    return [stat.name for stat in list_files(out)]


def as_if_elsewhere(out: str) -> None:
    """Make the owner of the lock a process of another machine that no longer runs."""
    content = json.loads(read_bytes(join(out, "_lock-000001")))
    write_bytes(join(out, "_lock-000001"), json.dumps({**content, "machine": "another", "owner": "gone"}))


def test_a_lock_is_removed_after_the_job(s3_url: str) -> None:
    with claim(s3_url):
        assert names(s3_url) == ["_lock-000001"]
    assert names(s3_url) == []


def test_a_second_job_is_refused_while_the_first_renews_its_lock(s3_url: str) -> None:
    with claim(s3_url) as check:
        with pytest.raises(ConfigError, match=rf"{s3_url}: another job is writing there \(process {os.getpid()} on "):
            claim(s3_url, overwrite=True).__enter__()
        check()


def test_a_lock_whose_owner_died_on_this_machine_is_taken_over_without_waiting(s3_url: str) -> None:
    code = (
        "import time; from hybridspeech.storage.store_lock import StoreLock\n"
        f"StoreLock({s3_url!r}).acquire(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        assert owner.stdout and owner.stdout.readline()
        owner.send_signal(signal.SIGKILL)
        owner.wait(timeout=30)
    StoreLock(s3_url, LockTiming(stale_s=3600)).acquire()
    assert names(s3_url) == ["_lock-000002"]


@pytest.mark.slow
def test_a_lock_without_a_heartbeat_is_taken_over_by_one_job(s3_url: str) -> None:
    StoreLock(s3_url, QUICK).acquire()
    as_if_elsewhere(s3_url)

    def take() -> bool:
        try:
            with claim(s3_url):
                time.sleep(4 * QUICK.stale_s)
        except ConfigError:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        taken = list(pool.map(lambda _: take(), range(3)))
    assert sorted(taken) == [False, False, True]
    assert names(s3_url) == []


def test_an_owner_whose_lock_was_taken_over_notices_it(s3_url: str) -> None:
    with claim(s3_url) as check:
        write_bytes(join(s3_url, "_lock-000002"), json.dumps({"owner": "another", "heartbeat": 0}))
        with pytest.raises(StorageError, match="another job has taken this output over"):
            check()
    assert names(s3_url) == ["_lock-000002"]


def test_overwrite_deletes_only_files_of_this_verb(s3_url: str) -> None:
    for name in ("index.json", "a.tfrecord", "notes.txt"):
        write_bytes(join(s3_url, name), b"x")
    with pytest.raises(OutputExistsError, match="is not empty"), claim(s3_url):
        pass
    with claim(s3_url, overwrite=True):
        assert names(s3_url) == ["_lock-000001", "notes.txt"]


def test_a_foreign_output_is_never_emptied(s3_url: str) -> None:
    write_bytes(join(s3_url, "thesis.doc"), b"x")
    with pytest.raises(ConfigError, match=r"'thesis.doc'.*nothing was touched"), claim(s3_url, overwrite=True):
        pass
    assert names(s3_url) == ["thesis.doc"]


def test_emptying_that_was_interrupted_is_repeated(s3_url: str) -> None:
    for name in ("_emptying", "a.tfrecord"):
        write_bytes(join(s3_url, name), b"x")
    with claim(s3_url, resume=True):
        assert names(s3_url) == ["_lock-000001"]


def test_a_busy_store_does_not_lose_the_lock(fault_proxy: FaultProxy, s3_url: str) -> None:
    generator = random.Random(0)
    fault_proxy.choose = lambda number, line: "503" if generator.random() < 0.3 else None
    with claim(s3_url) as check:
        time.sleep(3 * QUICK.heartbeat_s)
        check()
    assert names(s3_url) == []
