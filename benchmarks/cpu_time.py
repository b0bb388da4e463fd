"""CPU time of a process tree."""

from __future__ import annotations

import contextlib

import psutil


def cpu_s(name: str = "") -> float:
    """Return the CPU time, in seconds, of this process and its descendants; a process counts those it has waited for.

    Parameters
    ----------
    name : count processes of this name only
    """
    here, total_s = psutil.Process(), 0.0
    for process in (here, *here.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            if not name or process.name() == name:
                total_s += sum(process.cpu_times()[:4])  # user, system, and the same of the children that ended
    return total_s
