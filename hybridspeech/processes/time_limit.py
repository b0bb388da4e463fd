"""Limits the time of calls that have no time-out of their own. Knows nothing of what is called."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def time_limit(timeout_s: float, on_timeout: Callable[[], None]) -> Iterator[None]:
    """Call `on_timeout` in another thread if the body takes longer; it must make the body fail, e.g. by killing a process.

    Raises
    ------
    TimeoutError: instead of the exception that the body then raises.
    """
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        on_timeout()

    timer = threading.Timer(timeout_s, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException as error:
        if expired.is_set():
            raise TimeoutError(f"not finished within {timeout_s:g} s") from error
        raise
    finally:
        timer.cancel()


def finishes_within(timeout_s: float, function: Callable[[], object]) -> bool:
    """Call a function in another thread, and return whether it has finished in time. An exception counts as finished."""

    def call() -> None:
        with contextlib.suppress(Exception):
            function()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return not thread.is_alive()
