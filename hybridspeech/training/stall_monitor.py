"""Reports whether a long step waits for input or for the other ranks. Knows nothing of networks.

TensorFlow takes a batch from the pipeline, computes, and waits for the other ranks in one call. If that call lasts, a thread
reports which of them it is, so that the driver names the rank whose reader is stuck and not a rank that waits for it.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.training.worker import WorkerContext

if TYPE_CHECKING:
    import tensorflow as tf


class StallMonitor:
    """Counts the batches that leave the pipeline and the steps that end; a context manager.

    Parameters
    ----------
    quiet_s : duration of a step, in seconds, after which the monitor reports what the step waits for
    """

    def __init__(self, context: WorkerContext, quiet_s: float) -> None:
        self._context, self._quiet_s = context, quiet_s
        self._num_batches: tf.Variable | None = None
        self._num_steps = 0
        self._step_ended_at = time.monotonic()
        self._reported = ""
        self._thread = PeriodicCall(self._check, quiet_s / 3, "hybridspeech-stall-monitor")

    def __enter__(self) -> StallMonitor:
        self._thread.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_epoch()
        self._thread.__exit__(kind, error, trace)

    def count_batches(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Return `dataset`, the training batches of an epoch that starts now; each batch is counted."""
        import tensorflow as tf

        num_batches = tf.Variable(0, dtype=tf.int64, trainable=False)

        def count(*batch: Any) -> Any:
            num_batches.assign_add(1)
            return batch

        self._num_batches, self._num_steps, self._step_ended_at = num_batches, 0, time.monotonic()
        return dataset.map(count)

    def end_step(self) -> None:
        """Count a step that has ended."""
        self._num_steps += 1
        self._step_ended_at = time.monotonic()
        self._reported = ""

    def end_epoch(self) -> None:
        """Stop reporting until the next epoch: validation and saving have other phases."""
        self._num_batches = None

    def _check(self) -> None:
        num_batches = self._num_batches
        if num_batches is None or time.monotonic() - self._step_ended_at < self._quiet_s:
            return
        waits = "step" if int(num_batches.numpy()) > self._num_steps else "data"
        if waits != self._reported:
            self._context.report_wait(waits)
            self._reported = waits
