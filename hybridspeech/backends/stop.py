"""The driver's side of an interrupt: ask the ranks for a checkpoint, and give them a bounded time for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from hybridspeech.backends.watch import Watch
from hybridspeech.errors import BackendError

POLL_S = 0.1
GRACE_S = 15.0
EPOCH_END_GRACE_S = 60.0
"""While validating or saving: the checkpoint of the whole epoch comes right after it."""


def stop_in_order(watch: Watch, is_over: Callable[[], bool]) -> None:
    """Return when the ranks have saved and stopped, have failed, or have had their time. A second interrupt passes through.

    Parameters
    ----------
    is_over : whether the process that started the ranks has ended
    """
    run = watch.run
    if not run.status.read(0).get("step"):
        return  # no step was taken: there is nothing to save
    run.status.request_stop()
    asked_at = time.monotonic()
    with contextlib.suppress(BackendError):
        while not watch.look() and not is_over():
            ends_epoch = run.status.read(0).get("phase") in ("validate", "save")
            if time.monotonic() - asked_at > (EPOCH_END_GRACE_S if ends_epoch else GRACE_S):
                return
            time.sleep(POLL_S)
