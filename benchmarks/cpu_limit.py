"""Limits the CPU time of this process and its descendants, by a control group (Linux, as root)."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil

PERIOD_US = 100_000
_VERSIONS = (
    (
        Path("/sys/fs/cgroup/cpu"),
        {"cpu.cfs_period_us": "{period}", "cpu.cfs_quota_us": "{quota}", "cpu.shares": "262144"},
    ),
    (Path("/sys/fs/cgroup"), {"cpu.max": "{quota} {period}", "cpu.weight": "10000"}),
)
"""Parent of new groups, and files with their content: of version 1 and of version 2.

The weight is the highest: other load on the machine does not reduce what the limit gives.
"""


@contextlib.contextmanager
def cpu_limit(cores: float | None, without: Collection[int] = ()) -> Iterator[float]:
    """Give this process and its descendants the CPU time of `cores` until the context ends.

    Gives the number of cores; 0: there is no limit, as `cores` is None or control groups can't be made here.

    Parameters
    ----------
    without : descendants that are not limited, with their own descendants
    """
    group = _group(cores) if cores else None
    if group is None or cores is None:
        yield 0.0
        return
    try:
        _move(group, without)
        yield cores
    finally:
        _move(group.parent, without)
        remove_group(group)


def _group(cores: float) -> Path | None:
    numbers = {"quota": round(cores * PERIOD_US), "period": PERIOD_US}
    for parent, contents in _VERSIONS:
        group = parent / f"hybridspeech-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                for name, content in contents.items():
                    (group / name).write_text(content.format(**numbers))
            except OSError:
                group.rmdir()
            else:
                return group
    return None


def _move(group: Path, without: Collection[int]) -> None:
    kept = {pid for top in without for pid in _tree(top)}
    for pid in _tree(os.getpid()):
        if pid not in kept:
            with contextlib.suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))


def _tree(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def remove_group(group: Path, timeout_s: float = 10.0) -> None:
    """Remove a control group when its processes have ended.

    Raises
    ------
    OSError: they have not ended after `timeout_s`, in seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
