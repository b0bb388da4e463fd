"""Stops all ranks of a training after the same step. Knows nothing of TensorFlow, Spark and Ray.

    driver      writes RUN/workers/stop
    chief       reads it at check n, and writes n + 1 into RUN/workers/stop-at
    every rank  stops at check n + 1

A check is a place in the loop that all ranks pass in the same order. Between two checks is a collective (of a step's
gradients, or of an epoch's statistics). The chief writes the order before it takes part in the collective between checks n
and n + 1, and no rank passes that collective without the chief. So every rank reads the order at its check n + 1, and no
rank is further. All ranks then save together, and none waits alone in a collective.

If the ranks do not share RUN, the order needs seconds. The chief then waits at check n until every rank has answered that
the order is in its folder.
"""

from __future__ import annotations

import time

from hybridspeech.training.worker import WorkerContext

POLL_S = 0.05
ANSWER_TIMEOUT_S = 10.0
"""How long the chief waits for the answers. A rank that does not answer has ended, or can not reach the store."""


class Stopped(Exception):
    """The ranks have agreed to stop, and have saved a checkpoint."""


class StopCheck:
    """Tells one rank when to stop. All ranks of a run start at the same step and check at the same places."""

    def __init__(self, context: WorkerContext) -> None:
        self._status, self._is_chief = context.run.status, context.is_chief
        self._answering = () if context.shares_run else tuple(range(1, context.num_workers))
        self._ahead = 1 if context.num_workers > 1 else 0
        self._count = 0
        self._stop_at: int | None = None

    def should_stop(self) -> bool:
        """Return whether to stop here, or at the next possible place. After True it is always True, on every rank."""
        self._count += 1
        if self._stop_at is None and self._is_chief and self._status.is_stop_requested():
            self._status.order_stop(self._count + self._ahead)
            self._await_answers()
        if self._stop_at is None:
            self._stop_at = self._status.stop_order()
        return self._stop_at is not None and self._count >= self._stop_at

    def _await_answers(self) -> None:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not all(map(self._status.has_answered, self._answering)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
