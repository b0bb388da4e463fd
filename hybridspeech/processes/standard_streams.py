"""Standard input, output and error of this process, also where the caller has closed them. Knows nothing of their use."""

from __future__ import annotations

import os
import sys


def open_closed_streams() -> None:
    """Open /dev/null for each of the file descriptors 0, 1 and 2 that is closed.

    Otherwise the next files or sockets get these numbers, and child processes write their output into them.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
