"""What happens after each step of an epoch: reports, checks of the loss, checkpoints within the epoch, the stop order."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from hybridspeech.training.checkpoints import Place
from hybridspeech.training.stopping import Stopped

if TYPE_CHECKING:
    import tf_keras

    from hybridspeech.training.rank import Rank

REPORT_S = 1.0
"""Least time between two reports of a step."""


class EpochSteps:
    """The steps of one epoch on one rank.

    Parameters
    ----------
    start : where the epoch starts; steps before it were taken before a checkpoint
    num_steps : steps of the whole epoch
    """

    def __init__(self, rank: Rank, start: Place, num_steps: int) -> None:
        self.first_step_at = 0.0
        """Unix time at the end of the first step, in seconds; 0 before it."""
        self._rank, self._start, self._num_steps = rank, start, num_steps
        self._reported_at = 0.0

    def callback(self) -> tf_keras.callbacks.Callback:
        """Return the Keras callback that follows these steps."""
        import tf_keras

        return tf_keras.callbacks.LambdaCallback(on_epoch_begin=self._begin, on_batch_end=self._end_step)

    def _begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for metric in self._rank.metrics:  # `fit` does not know them yet when it begins for the first time
            metric.reset_state()
        if self._start.steps:
            self._rank.checkpoints.restore_again(self._start, metrics=self._rank.metrics)

    def _end_step(self, batch: int, logs: dict[str, Any]) -> None:
        """Raises ArithmeticError if the loss is not finite, and Stopped after the requested checkpoint."""
        self.first_step_at = self.first_step_at or time.time()
        rank, every = self._rank, self._rank.plan.fit.checkpoint_steps or 0
        place = Place(self._start.epochs, self._start.steps + batch + 1)
        is_last = place.steps == self._num_steps
        rank.monitor.end_step()
        stops = rank.stop_check.should_stop() and not is_last  # the last step is saved with the whole epoch
        saves = stops or (every > 0 and place.steps % every == 0 and not is_last)
        step = place.epochs * self._num_steps + place.steps
        if saves or is_last or time.monotonic() - self._reported_at > REPORT_S:
            self._reported_at = time.monotonic()
            check_loss(logs["loss"], step)
            rank.context.report("save" if saves else "step", step)
        if saves:
            average_statistics(rank.model)  # a checkpoint holds their mean only
            rank.checkpoints.save(place)
            rank.context.report("step", step)
        if stops:
            raise Stopped


def check_loss(loss: float, step: int) -> None:
    """Raise ArithmeticError if the loss is not finite."""
    if not math.isfinite(loss):
        raise ArithmeticError(f"loss is {loss} at step {step}; try a lower learning rate")


def average_statistics(model: tf_keras.Model) -> None:
    """Give all replicas the mean of their BatchNorm statistics, which is what a saved model holds.

    Each replica has its own moving averages during training; validation with them would measure another model.
    """
    for variable in model.non_trainable_variables:
        variable.assign(variable.read_value())
