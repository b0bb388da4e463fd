"""What a network is fitted by: loss, optimizer, schedule, and dropout that a resume sees again. Knows nothing of data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hybridspeech.config import FitConfig, TrainPlan

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras


def compile_model(model: tf_keras.Model, plan: TrainPlan, num_steps: int) -> list[tf_keras.metrics.Metric]:
    """Optimizer and cross-entropy. Returns the metrics: the reported loss is one, since fillers have weight 0.

    Parameters
    ----------
    num_steps : of one epoch
    """
    import tf_keras

    metrics = [
        tf_keras.metrics.CategoricalCrossentropy(name="cross_entropy"),
        tf_keras.metrics.CategoricalAccuracy(name="accuracy"),
    ]
    model.compile(
        optimizer=make_optimizer(plan, num_steps),
        loss=tf_keras.losses.CategoricalCrossentropy(label_smoothing=plan.fit.label_smoothing),
        weighted_metrics=metrics,
    )
    model.optimizer.build(model.trainable_variables)
    dropouts = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.Dropout)]
    for number, layer in enumerate(dropouts):
        layer._random_generator = _Masks(plan.fit.seed, number, model.optimizer.iterations)
    return metrics


def make_optimizer(plan: TrainPlan, num_steps: int) -> tf_keras.optimizers.Optimizer:
    """Adam or AdamW with the plan's schedule; biases and BatchNorm do not decay."""
    import tf_keras

    fit = plan.fit
    rate = highest_learning_rate(fit, plan.cluster.num_workers)
    if fit.schedule == "cosine":
        warmup = round(fit.warmup_epochs * num_steps)
        rate = tf_keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            decay_steps=max(1, fit.epochs * num_steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if fit.optimizer == "adam":
        return tf_keras.optimizers.Adam(rate)
    optimizer = tf_keras.optimizers.AdamW(rate, weight_decay=fit.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def highest_learning_rate(fit: FitConfig, num_workers: int) -> float:
    """The rate of the plan, for the global batch."""
    if fit.learning_rate_batch is None:
        return fit.learning_rate
    return fit.learning_rate * math.sqrt(fit.batch_size * num_workers / fit.learning_rate_batch)


class _Masks:
    """The random generator of a dropout layer, whose masks follow from the seed, the layer and the step alone.

    Keras' own draws from a state that no checkpoint holds: a resumed training would see other masks.
    """

    def __init__(self, seed: int, layer: int, step: tf.Variable) -> None:
        self._seed, self._layer, self._step = seed, layer, step

    def dropout(self, inputs: tf.Tensor, rate: float, noise_shape: Any = None) -> tf.Tensor:
        """What `tf.nn.dropout` gives."""
        import tensorflow as tf

        seed = tf.stack([tf.constant(1_000 * self._seed + self._layer, tf.int64), tf.cast(self._step, tf.int64)])
        return tf.nn.experimental.stateless_dropout(inputs, rate, seed, noise_shape=noise_shape)
