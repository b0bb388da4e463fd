"""Dropout masks of Keras layers that depend on the seed, the layer and the step alone.

Written against: tf_keras 2.21.0.

Reason: Keras draws the masks from a generator whose state is in no checkpoint, and has no argument for another generator.

Without it: a resumed training sees other masks than an undisturbed one, and its loss curve differs.

It can go when: a Keras Dropout layer accepts a stateless generator, or its state is part of a checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras


def use_stateless_masks(model: tf_keras.Model, seed: int, step: tf.Variable) -> None:
    """Replace the random generator of each Dropout layer of a model.

    Parameters
    ----------
    step : int64 scalar; number of the training step, e.g. ``model.optimizer.iterations``
    """
    import tf_keras

    dropouts = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.Dropout)]
    for number, layer in enumerate(dropouts):
        layer._random_generator = StatelessMasks(seed, number, step)


class StatelessMasks:
    """Random generator of one dropout layer.

    It keeps or drops a cell by 16 random bits, where a float32 would take 32 and a conversion.

    Parameters
    ----------
    layer : number of the layer among the dropout layers of the model
    step : int64 scalar
    """

    def __init__(self, seed: int, layer: int, step: tf.Variable) -> None:
        self._seed, self._layer, self._step = seed, layer, step

    def dropout(self, inputs: tf.Tensor, rate: float, noise_shape: Any = None) -> tf.Tensor:
        """Apply dropout as `tf.nn.dropout` does, with `rate` rounded to a multiple of 2 ** -16."""
        import tensorflow as tf

        seed = tf.stack([tf.constant(1_000 * self._seed + self._layer, tf.int64), tf.cast(self._step, tf.int64)])
        shape = tf.shape(inputs) if noise_shape is None else tf.stack(noise_shape)
        size = tf.reduce_prod(shape)
        pairs = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32)
        draws = tf.reshape(tf.bitcast(pairs, tf.int16), [-1])[:size]  # -2 ** 15 to 2 ** 15 - 1
        threshold = min(round(rate * 2**16), 2**16 - 1)
        is_kept = tf.cast(tf.reshape(draws >= threshold - 2**15, shape), inputs.dtype)
        return inputs * (is_kept * (2**16 / (2**16 - threshold)))
