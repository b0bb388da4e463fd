"""Temperature scaling: one number that divides the logits, so that probabilities match accuracies.

After Guo et al., arXiv:1706.04599, section 4.2. It is fitted on the validation split after training, and changes neither the
weights of the network nor its predicted labels. Knows nothing of Spark, Ray and of files but the one of the temperature.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.errors import ConfigError, RunError
from hybridspeech.records import from_json, to_json
from hybridspeech.storage.small_files import write_atomically
from hybridspeech.training.rank import Rank

if TYPE_CHECKING:
    import tf_keras

TEMPERATURES = np.geomspace(0.05, 20.0, 241)
"""The temperatures that are compared, 2.5 % apart; the result is interpolated between them."""
SMALLEST_PROBABILITY = 1e-30
"""Lower bound of a probability before its logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The temperature of a run, and the mean cross-entropy in nats on the validation split without and with it.

    A run without a validation split has temperature 1 and 0 clips.
    """

    temperature: float = 1.0
    num_clips: int = 0
    loss_before: float = 0.0
    loss_after: float = 0.0


def fit_temperature(rank: Rank) -> Calibration:
    """Find the temperature with the lowest cross-entropy on the validation split. Every rank calls it, and gets the same.

    Raises
    ------
    ShardError: a shard is damaged or missing.
    """
    if not rank.index.of_split("validation"):
        return Calibration()
    import tf_keras

    rank.context.report("validate")
    with rank.strategy.scope():
        # A separate model, since weights are saved together with the metrics that a model was compiled with
        inputs = tf_keras.Input(rank.model.input_shape[1:])
        probe = tf_keras.Model(inputs, rank.model(inputs))
        probe.compile(loss="categorical_crossentropy", weighted_metrics=[_make_metric()])
    with rank.shard_errors("validation"):
        logs = probe.evaluate(rank.validation_data(), steps=rank.count_steps("validation"), verbose=0, return_dict=True)
    losses = np.asarray(logs["losses"], np.float64)
    return best_temperature(losses, rank.index.splits["validation"])


def best_temperature(losses: np.ndarray, num_clips: int) -> Calibration:
    """Interpolate the minimum of the losses, float64 [shape=(len(TEMPERATURES),)], by a parabola over log temperature."""
    if not np.isfinite(losses).all():
        return Calibration()
    last = len(TEMPERATURES) - 1
    best = int(np.clip(losses.argmin(), 1, last - 1))
    below, lowest, above = losses[best - 1 : best + 2]
    curvature = below - 2 * lowest + above
    offset = float(np.clip((below - above) / (2 * curvature), -1, 1)) if curvature > 0 else 0.0
    temperature = float(np.exp(np.interp(best + offset, np.arange(last + 1), np.log(TEMPERATURES))))
    before = float(np.interp(0.0, np.log(TEMPERATURES), losses))
    return Calibration(
        temperature=round(temperature, 4), num_clips=num_clips, loss_before=before, loss_after=float(lowest)
    )


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities after temperature scaling, float32; the last axis is that of the labels."""
    if temperature == 1:
        return probabilities
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY)) / temperature
    scaled = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True), np.float32)


def scale_model(model: tf_keras.Model, temperature: float) -> tf_keras.Model:
    """Return a network whose probabilities are those of `model` after temperature scaling.

    The weights of a last Dense layer with softmax are divided, in place; any other network gets two operations more.
    """
    import tensorflow as tf
    from tf_keras import Input, Model, layers

    if temperature == 1:
        return model
    last = model.layers[-1]
    if isinstance(last, layers.Dense) and getattr(last.activation, "__name__", "") == "softmax":
        last.set_weights([values / np.float32(temperature) for values in last.get_weights()])
        return model
    inputs = Input(model.input_shape[1:])
    logits = tf.math.log(tf.maximum(model(inputs), SMALLEST_PROBABILITY)) / temperature
    return Model(inputs, layers.Softmax()(logits), name=model.name)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write the temperature of a run."""
    write_atomically(path, json.dumps(to_json(calibration)) + "\n")


def read_calibration(path: Path) -> Calibration:
    """Read the temperature of a run; 1 for a run of a version without temperature scaling.

    Raises
    ------
    RunError: the file is damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        calibration = from_json(Calibration, content)
        valid = 0 < float(calibration.temperature) < np.inf
    except FileNotFoundError:
        return Calibration()
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise RunError(f"{path}: can't be read ({error}); remove it to use temperature 1, or train again") from error
    if not valid:
        raise RunError(f"{path}: temperature is {calibration.temperature}; expected more than 0; train again")
    return calibration


def _make_metric() -> tf_keras.metrics.Metric:
    import tensorflow as tf
    import tf_keras

    class TemperatureLosses(tf_keras.metrics.Metric):  # type: ignore[misc]
        """Mean cross-entropy at each of TEMPERATURES, float64 [shape=(len(TEMPERATURES),)]."""

        def __init__(self) -> None:
            super().__init__(name="losses", dtype="float64")
            self.total = self.add_weight("total", shape=TEMPERATURES.shape, initializer="zeros")
            self.weight = self.add_weight("weight", shape=(), initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
            weights = tf.reshape(tf.cast(sample_weight, tf.float64), (-1,))
            logits = tf.math.log(tf.maximum(tf.cast(y_pred, tf.float64), SMALLEST_PROBABILITY))
            scaled = logits[:, tf.newaxis] / TEMPERATURES[:, np.newaxis]
            true = tf.reduce_sum(scaled * tf.cast(y_true, tf.float64)[:, tf.newaxis], axis=-1)
            losses = tf.reduce_logsumexp(scaled, axis=-1) - true
            self.total.assign_add(tf.linalg.matvec(losses, weights, transpose_a=True))
            self.weight.assign_add(tf.reduce_sum(weights))

        def result(self) -> Any:
            return self.total / self.weight

    return TemperatureLosses()
