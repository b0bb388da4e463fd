"""An advisory lock on a location of an object store. Knows nothing of what is written there.

    LOCATION/_lock-000001      JSON: owner, host, process, heartbeat

The lock is the object of the highest number, and is created exclusively. Its owner renews the heartbeat. A job that sees no
new heartbeat for `stale_s`, by its own clock, creates the object of the next number and owns the lock; so two jobs that
take over at the same time can't both succeed. A store has no lock that ends with its owner, as a local file has.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hybridspeech.errors import ConfigError, StorageError
from hybridspeech.storage.locations import join
from hybridspeech.storage.objects import create_exclusively, delete_files, list_files, read_bytes, write_bytes

LOCK_PREFIX = "_lock-"
_owners_here: set[str] = set()
"""Owners of the locks that this process holds."""
_NUMBER = re.compile(rf"{LOCK_PREFIX}(\d+)")


@dataclass(frozen=True, kw_only=True)
class LockTiming:
    """How often a lock is renewed, and how long it stays valid without that, in seconds."""

    heartbeat_s: float = 10.0
    stale_s: float = 60.0
    poll_s: float = 1.0


class StoreLock:
    """The lock of one location; its owner calls `renew` every `timing.heartbeat_s` seconds.

    Parameters
    ----------
    location : a URL
    """

    def __init__(self, location: str, timing: LockTiming = LockTiming()) -> None:
        self._location, self._timing = location, timing
        self._owner, self._number, self._heartbeat = uuid.uuid4().hex, 0, 0

    def acquire(self) -> None:
        """Take the lock; wait up to `timing.stale_s` to see whether its owner is alive.

        Raises
        ------
        ConfigError: another job holds it.
        """
        _owners_here.add(self._owner)
        waited_since = time.monotonic()
        seen: dict[str, Any] | None = None
        while True:
            number, holder = self._holder()
            if holder is not None and not self._is_dead(holder):
                if seen is None or seen["owner"] != holder["owner"]:
                    seen, waited_since = holder, time.monotonic()
                elif seen["heartbeat"] != holder["heartbeat"]:
                    raise self._refusal(holder)
                if time.monotonic() - waited_since < self._timing.stale_s:
                    time.sleep(self._timing.poll_s)
                    continue
            if self._create(number + 1, holder):
                return

    def renew(self) -> None:
        """Tell others that the owner is alive.

        Raises
        ------
        StorageError: another job has taken the lock over, since it was not renewed in time.
        """
        self.check()
        self._heartbeat += 1
        write_bytes(self._path(self._number), self._content())

    def check(self) -> None:
        """Check that the lock is still this job's; errors as `renew`."""
        number, holder = self._holder()
        if holder is None or (number, holder["owner"]) != (self._number, self._owner):
            raise StorageError(
                f"{self._location}: another job has taken this output over, since this one could not renew its lock; "
                "its work stays there for --resume"
            )

    def release(self) -> None:
        """Remove the lock, if it is still this job's."""
        _owners_here.discard(self._owner)
        if self._number:
            delete_files([self._path(self._number)])

    def _create(self, number: int, stale: dict[str, Any] | None) -> bool:
        """Create the lock of this number; false if another job was faster."""
        if not create_exclusively(self._path(number), self._content()):
            return False
        below = [n for n in self._numbers() if n != number]
        if any(self._read(n) not in (None, stale) for n in below):
            delete_files([self._path(number)])  # the lock was released and taken while this job did not check it
            return False
        delete_files(self._path(n) for n in below)
        self._number = number
        return True

    def _holder(self) -> tuple[int, dict[str, Any] | None]:
        numbers = self._numbers()
        return (numbers[-1], self._read(numbers[-1])) if numbers else (0, None)

    def _numbers(self) -> list[int]:
        """Numbers of the lock objects, sorted."""
        matches = (_NUMBER.fullmatch(stat.name) for stat in list_files(self._location, prefix=LOCK_PREFIX))
        return sorted(int(match[1]) for match in matches if match)

    def _path(self, number: int) -> str:
        return join(self._location, f"{LOCK_PREFIX}{number:06d}")

    def _read(self, number: int) -> dict[str, Any] | None:
        try:
            content = json.loads(read_bytes(self._path(number)))
        except (FileNotFoundError, ValueError):
            return None
        return content if isinstance(content, dict) and {"owner", "heartbeat"} <= set(content) else None

    def _content(self) -> bytes:
        process = {"host": socket.gethostname(), "machine": _machine(), "process": os.getpid(), "started": _started()}
        return json.dumps({"owner": self._owner, "heartbeat": self._heartbeat, **process}).encode()

    @staticmethod
    def _is_dead(holder: dict[str, Any]) -> bool:
        """Whether the owner was a process of this machine that has ended, or a job of this process that has."""
        if holder.get("machine") != _machine():
            return False
        if holder.get("process") == os.getpid():
            return holder["owner"] not in _owners_here
        try:
            return bool(psutil.Process(holder["process"]).create_time() != holder["started"])
        except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
            return True

    def _refusal(self, holder: dict[str, Any]) -> ConfigError:
        return ConfigError(
            f"{self._location}: another job is writing there (process {holder.get('process')} on {holder.get('host')}); "
            "wait for it, or choose another output"
        )


def _machine() -> str:
    """Identity of this boot of this machine and of the process numbers in it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - one number of a link's target


def _started() -> float:
    return psutil.Process().create_time()
