"""How a training is told to stop, and all its ranks stop after the same step. Knows nothing of TensorFlow, Spark and Ray.

    driver      writes RUN/workers/stop
    chief       sees it at its look n, and writes n + 1 into RUN/workers/stop-at
    every rank  stops at its look n + 1

A look is a place in the loop that all ranks pass in the same order, with a collective (of a step's gradients, of an
epoch's statistics) between any two. The chief writes before it takes part in the collective between its looks n and
n + 1, and without it no rank gets past that one. So a rank that has come to its look n + 1 reads what the chief has
written, and none has come further: nobody is left alone in a collective, and what they do then, saving, all do.
"""

from __future__ import annotations

from hybridspeech.training.worker import WorkerContext


class Stopped(Exception):
    """The ranks have agreed to stop, and what they have done is saved."""


class Looks:
    """One rank's looks at whether to stop. All ranks of a run begin at the same time, and look at the same places."""

    def __init__(self, context: WorkerContext) -> None:
        self._run, self._is_chief = context.run, context.is_chief
        self._ahead = 1 if context.num_workers > 1 else 0
        self._count = 0
        self._stop_at: int | None = None

    def is_time(self) -> bool:
        """Whether to stop here, or as soon as possible if not here: the answer stays, and is the same on every rank."""
        self._count += 1
        if self._stop_at is None and self._is_chief and self._run.is_stop_requested():
            self._run.order_stop(self._count + self._ahead)
        if self._stop_at is None:
            self._stop_at = self._run.stop_ordered_at()
        return self._stop_at is not None and self._count >= self._stop_at
