"""The fused optimizers, and what they assume about Keras."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from hybridspeech.patches.keras_optimizer import fused


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_keras_keeps_moments_and_hyperparameters_under_the_assumed_names(kind: str) -> None:
    import tf_keras

    optimizer = getattr(tf_keras.optimizers, kind)
    assert list(inspect.signature(optimizer.update_step).parameters) == ["self", "gradient", "variable"]
    source = inspect.getsource(optimizer.update_step)
    assert "var_key = self._var_key(variable)" in source
    assert "m = self._momentums[self._index_dict[var_key]]" in source
    assert "v = self._velocities[self._index_dict[var_key]]" in source
    assert "local_step = tf.cast(self.iterations + 1, variable.dtype)" in source


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_the_fused_update_is_that_of_keras(kind: str) -> None:
    import tensorflow as tf
    import tf_keras

    def curve(wrap: Any) -> list[float]:
        """Return losses of a linear regression in float64, with one variable without weight decay."""
        generator = np.random.default_rng(0)
        inputs, truth = generator.standard_normal((64, 50)), generator.standard_normal((64, 1))
        weight = tf.Variable(generator.standard_normal((50, 1)), name="kernel")
        bias = tf.Variable(np.ones(1), name="bias")
        rate = tf_keras.optimizers.schedules.CosineDecay(0.1, 100)
        betas = {"beta_1": 0.875, "beta_2": 1 - 2**-10}  # exact in float32, to which Keras rounds them
        optimizer = wrap(getattr(tf_keras.optimizers, kind))(rate, **betas)
        if kind == "AdamW":
            optimizer.exclude_from_weight_decay(var_names=["bias"])
        optimizer.build([weight, bias])

        @tf.function
        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                error = inputs @ weight + bias - truth
                loss = tf.reduce_mean(error**2)
            gradients = tape.gradient(loss, [weight, bias])
            optimizer.apply_gradients(zip(gradients, [weight, bias], strict=True))
            return loss

        return [float(step()) for _ in range(60)]

    ours, keras = curve(fused), curve(lambda kind: kind)
    assert ours == pytest.approx(keras, rel=1e-9)
    assert ours[-1] < 0.2 * ours[0]
