"""CPU time of a process tree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def cpu_s(pids: Iterable[int] | None = None) -> float:
    """Return the CPU time, in seconds, of processes and their descendants; a process counts those it has waited for.

    Parameters
    ----------
    pids : the processes; None: this one
    """
    total_s = 0.0
    for pid in [None] if pids is None else pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(pid)
            for process in (top, *top.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total_s += sum(process.cpu_times()[:4])  # user, system, and the same of the children that ended
    return total_s
