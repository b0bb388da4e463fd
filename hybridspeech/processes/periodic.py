"""A look that is taken again and again beside other work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Itself = TypeVar("Itself", bound="Polled")


class Polled:
    """A context that calls `look` in a thread of its own, every so many seconds and once more when it ends.

    Parameters
    ----------
    name : of the thread
    """

    def __init__(self, look: Callable[[], None], every_s: float, name: str) -> None:
        self._look, self._every_s = look, every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self: Itself) -> Itself:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._look()
        self._look()
