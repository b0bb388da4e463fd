"""The driver's reaction to Ctrl-C: it requests a checkpoint from the ranks, and waits a limited time for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from hybridspeech.backends.rank_monitor import RankMonitor
from hybridspeech.errors import BackendError

POLL_S = 0.1
SAVE_TIMEOUT_S = 15.0
EPOCH_END_TIMEOUT_S = 60.0
"""Time limit during validation and saving, after which the checkpoint of the whole epoch is saved."""


def stop_after_checkpoint(monitor: RankMonitor, is_over: Callable[[], bool]) -> None:
    """Return when the ranks have saved and stopped, when they have failed, or after the time limit.

    A second Ctrl-C ends the wait.

    Parameters
    ----------
    is_over : returns whether the process that has started the ranks has ended
    """
    status = monitor.run.status
    if not status.read(0).get("step"):
        return  # no step was taken: there is nothing to save
    status.request_stop()
    requested_at = time.monotonic()
    with contextlib.suppress(BackendError):
        while not monitor.poll() and not is_over():
            is_epoch_end = status.read(0).get("phase") in ("validate", "save")
            if time.monotonic() - requested_at > (EPOCH_END_TIMEOUT_S if is_epoch_end else SAVE_TIMEOUT_S):
                return
            time.sleep(POLL_S)
