"""Where a rank that says nothing waits: for its data, or in a step for its peers. Knows nothing of networks.

In a step TensorFlow takes a batch from the pipeline, computes, and waits for the other ranks, all in one call. When
that call lasts, a thread of this module writes down which of them it is, so that the driver names the rank whose reader
is stuck and not one of those that wait for it.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.training.worker import WorkerContext

if TYPE_CHECKING:
    import tensorflow as tf


class Pulse:
    """Counts batches that come out of the pipeline, and steps that end. A context manager: the thread ends with it.

    Parameters
    ----------
    quiet_s : how long one step lasts before it is written down where it waits
    """

    def __init__(self, context: WorkerContext, quiet_s: float) -> None:
        self._context, self._quiet_s = context, quiet_s
        self._given: tf.Variable | None = None
        self._taken = 0
        self._ticked_at = time.monotonic()
        self._said = ""
        self._checks = PeriodicCall(self._check, quiet_s / 3, "hybridspeech-stall-monitor")

    def __enter__(self) -> Pulse:
        self._checks.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given = None
        self._checks.__exit__()

    def counted(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The same dataset of the batches of an epoch; from now on its batches count."""
        import tensorflow as tf

        given = tf.Variable(0, dtype=tf.int64, trainable=False)

        def count(*batch: Any) -> Any:
            given.assign_add(1)
            return batch

        self._given, self._taken, self._ticked_at = given, 0, time.monotonic()
        return dataset.map(count)

    def tick(self) -> None:
        """A step has ended."""
        self._taken += 1
        self._ticked_at = time.monotonic()
        self._said = ""

    def rest(self) -> None:
        """The epoch's steps have ended: what comes now has phases of its own."""
        self._given = None

    def _check(self) -> None:
        given = self._given
        if given is None or time.monotonic() - self._ticked_at < self._quiet_s:
            return
        waits = "step" if int(given.numpy()) > self._taken else "data"
        if waits != self._said:
            self._context.wait_in(waits)
            self._said = waits
