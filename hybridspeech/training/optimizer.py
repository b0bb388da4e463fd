"""What a network is fitted by: loss, optimizer, schedule, and dropout that a resume sees again. Knows nothing of data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hybridspeech.training.config import FitConfig
from hybridspeech.training.plan import TrainPlan

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
    rate = peak_learning_rate(fit, plan.cluster.num_workers)
    if fit.schedule == "cosine":
        warmup = round(fit.warmup_epochs * num_steps)
        rate = tf_keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            decay_steps=max(1, fit.epochs * num_steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if fit.optimizer == "adam":
        return fused(tf_keras.optimizers.Adam)(rate)
    optimizer = fused(tf_keras.optimizers.AdamW)(rate, weight_decay=fit.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def fused(kind: type[Any]) -> type[Any]:
    """Adam or AdamW of Keras that updates a variable in one operation instead of ten; the same numbers but for rounding.

    Keras spells the rule out, operation by operation, and leaves it to XLA to join them, which it does on GPUs alone. Not for
    `amsgrad` and sparse gradients.
    """
    import tensorflow as tf

    class Fused(kind):  # type: ignore[misc]
        def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
            number = self._index_dict[self._var_key(variable)]
            step = tf.cast(self.iterations + 1, variable.dtype)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._momentums[number].handle,
                v=self._velocities[number].handle,
                beta1_power=self.beta_1**step,
                beta2_power=self.beta_2**step,
                lr=tf.cast(self.learning_rate, variable.dtype),
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )

    Fused.__name__ = kind.__name__
    return Fused


def peak_learning_rate(fit: FitConfig, num_workers: int) -> float:
    """Return the peak learning rate for the global batch size."""
    if not fit.learning_rate_batch:
        return fit.learning_rate
    return fit.learning_rate * math.sqrt(fit.batch_size * num_workers / fit.learning_rate_batch)


class _Masks:
    """The random generator of a dropout layer, whose masks follow from the seed, the layer and the step alone.

    Keras' own draws from a state that no checkpoint holds: a resumed training would see other masks. A cell is left out by
    16 random bits, where a float32 would take 32 and a conversion.
    """

    def __init__(self, seed: int, layer: int, step: tf.Variable) -> None:
        self._seed, self._layer, self._step = seed, layer, step

    def dropout(self, inputs: tf.Tensor, rate: float, noise_shape: Any = None) -> tf.Tensor:
        """What `tf.nn.dropout` gives, with `rate` rounded to a multiple of 2 ** -16."""
        import tensorflow as tf

        seed = tf.stack([tf.constant(1_000 * self._seed + self._layer, tf.int64), tf.cast(self._step, tf.int64)])
        shape = tf.shape(inputs) if noise_shape is None else tf.stack(noise_shape)
        size = tf.reduce_prod(shape)
        pairs = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32)
        draws = tf.reshape(tf.bitcast(pairs, tf.int16), [-1])[:size]  # -2 ** 15 to 2 ** 15 - 1
        left_out = min(round(rate * 2**16), 2**16 - 1)
        is_kept = tf.cast(tf.reshape(draws >= left_out - 2**15, shape), inputs.dtype)
        return inputs * (is_kept * (2**16 / (2**16 - left_out)))
