"""The order in which processes of this machine end, also if several have ended since the last look."""

from __future__ import annotations

import contextlib
import os
import select
import sys


class ExitOrder:
    """Watches processes through file descriptors (pidfd, Linux 5.3); they need not be children of this process.

    The kernel lists descriptors in the order in which they became ready. Elsewhere than on Linux, `ended` is always empty.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll() if sys.platform == "linux" else None
        self._watched: dict[int, int] = {}  # process id by descriptor
        self._added: set[int] = set()
        self._ended: list[int] = []

    def add(self, pid: int) -> None:
        """Watch a process from now on; no effect if it is watched, or has ended already."""
        if self._epoll is None or pid in self._added:
            return
        self._added.add(pid)
        with contextlib.suppress(OSError):  # it has ended, or the kernel has no pidfd
            descriptor = os.pidfd_open(pid)
            self._watched[descriptor] = pid
            self._epoll.register(descriptor, select.EPOLLIN)

    def ended(self) -> list[int]:
        """Return the ids of the watched processes that have ended, the first to end first."""
        if self._epoll is not None and self._watched:
            for descriptor, _ in self._epoll.poll(0):
                self._epoll.unregister(descriptor)
                os.close(descriptor)
                self._ended.append(self._watched.pop(descriptor))
        return list(self._ended)

    def close(self) -> None:
        """Release the descriptors."""
        while self._watched:
            os.close(self._watched.popitem()[0])
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
