"""Cores and open files that this process may use, and memory sizes as text. Knows nothing of Spark and Ray."""

from __future__ import annotations

import contextlib
import math
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hybridspeech.errors import ConfigError


def num_cores() -> int:
    """Count the CPUs that this process may use: its affinity, limited by the quota of its control groups.

    Returns
    -------
    int, at least 1
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in cpu_quotas())]))


def cpu_quotas(root: Path = Path("/")) -> list[float]:
    """Read the CPU quotas of this process's control groups (version 1 and 2) and of their parents.

    Parameters
    ----------
    root : root of the file system

    Returns
    -------
    quotas, in CPUs; a group without a quota is left out
    """
    quotas = []
    for folder in _control_groups(root):
        with contextlib.suppress(OSError, ValueError):  # version 2: "QUOTA PERIOD" in µs, "max PERIOD" without a quota
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            quotas.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError):  # version 1: the quota is -1 if there is none
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )
            if int(quota) > 0:
                quotas.append(int(quota) / int(period))
    return quotas


def _control_groups(root: Path) -> Iterator[Path]:
    """Folders of this process's control groups and of their parents; some may not exist inside a container."""
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for base in (mount / controllers, mount / "cpu") if controllers else (mount,):
            group = PurePosixPath(path.lstrip("/"))
            yield from (base / each for each in (group, *group.parents))
            if base.exists():
                break


def parse_memory_size(text: str, name: str) -> int:
    """Parse a memory size such as "512m" or "2g"; the units are powers of 1024.

    Parameters
    ----------
    name : what the size is of, for the message

    Returns
    -------
    int, bytes

    Raises
    ------
    ConfigError: it is not a number with a unit.
    """
    match = re.fullmatch(r"(\d+)\s*([kmgt])b?", text.strip().lower())
    if match is None:
        raise ConfigError(f"{name} is {text!r}; expected a number and a unit, such as 512m or 4g")
    return int(match[1]) << 10 * (1 + "kmgt".index(match[2]))


def check_open_files(needed: int, what: str) -> None:
    """Check that this process and its children may open enough files.

    Parameters
    ----------
    what : what needs them, for the message

    Raises
    ------
    ConfigError: the hard limit is lower.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise ConfigError(
            f"a process may open {limit} files, and {what} needs {needed}; raise the limit with ulimit -Hn"
        )
