"""Calls a function periodically in a background thread. Knows nothing of what the function does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Self = TypeVar("Self", bound="PeriodicCall")


class PeriodicCall:
    """Context manager that calls a function periodically in a separate thread, and a last time when it ends.

    Parameters
    ----------
    function : called without arguments; an exception that it raises ends the calls
    period_s : time between two calls, in seconds
    name : name of the thread
    """

    def __init__(self, function: Callable[[], None], period_s: float, name: str) -> None:
        self._function, self._period_s = function, period_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self: Self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._period_s):
            self._function()
        self._function()
