"""What a network is fitted by: the optimizer, its schedule, and dropout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hybridspeech.models.build import build_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.optimizer import compile_model, fused, make_optimizer
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.recipes import REPORT

SMALL = ModelConfig(name="dscnn", input_shape=(24, 20), num_labels=3, width=0.25, dropout=0.5)


def test_the_learning_rate_rises_and_falls_as_a_cosine() -> None:
    fit = replace(
        REPORT, epochs=10, learning_rate=0.1, schedule="cosine", warmup_epochs=2, optimizer="adamw", weight_decay=0.1
    )
    rate = make_optimizer(TrainPlan(shards="", run="", fit=fit), num_steps=5)._learning_rate
    rates = [float(rate(step)) for step in range(51)]
    assert rates[:11] == pytest.approx([0.01 * step for step in range(11)])
    assert rates[30] == pytest.approx(0.05)
    assert rates[50] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_the_fused_update_is_that_of_keras(kind: str) -> None:
    import tensorflow as tf
    import tf_keras

    def curve(wrap: Any) -> list[float]:
        """Losses of a linear regression in float64, of which one variable does not decay."""
        generator = np.random.default_rng(0)
        inputs, truth = generator.standard_normal((64, 50)), generator.standard_normal((64, 1))
        weight = tf.Variable(generator.standard_normal((50, 1)), name="kernel")
        bias = tf.Variable(np.ones(1), name="bias")
        rate = tf_keras.optimizers.schedules.CosineDecay(0.1, 100)
        betas = {"beta_1": 0.875, "beta_2": 1 - 2**-10}  # Keras rounds them to float32, which these survive
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


def dropout_of(seed: int) -> tuple[Any, Any]:
    """A dropout layer's generator as training sets it up, and the step that it follows."""
    model = build_model(SMALL)
    compile_model(model, TrainPlan(shards="", run="", model=SMALL, fit=replace(REPORT, seed=seed)), num_steps=1)
    (layer,) = (layer for layer in model.layers if type(layer).__name__ == "Dropout")
    return layer._random_generator, model.optimizer.iterations


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.999999])
def test_dropout_leaves_out_its_share_and_keeps_the_mean(rate: float) -> None:
    import tensorflow as tf

    masks, _ = dropout_of(seed=0)
    made = masks.dropout(tf.ones((301, 1001)), rate).numpy()  # an odd number of cells
    kept = made != 0
    share = min(rate, 1 - 2**-16)
    assert kept.mean() == pytest.approx(1 - share, abs=4 * (share * (1 - share) / made.size) ** 0.5)
    if kept.any():
        assert made[kept] == pytest.approx(1 / (1 - share), rel=1e-4)
    if rate in (0.2, 0.5):
        correlations = [np.corrcoef(kept[:, :-lag].ravel(), kept[:, lag:].ravel())[0, 1] for lag in (1, 2)]
        assert np.abs(correlations).max() < 0.01


def test_dropout_follows_from_seed_and_step() -> None:
    import tensorflow as tf

    masks, step = dropout_of(seed=0)
    ones = tf.ones((8, 100))
    first = masks.dropout(ones, 0.5).numpy()
    assert (masks.dropout(ones, 0.5).numpy() == first).all()
    assert (dropout_of(seed=0)[0].dropout(ones, 0.5).numpy() == first).all()
    assert (dropout_of(seed=1)[0].dropout(ones, 0.5).numpy() != first).any()
    step.assign_add(1)
    assert (masks.dropout(ones, 0.5).numpy() != first).any()


def test_dropout_of_channels_leaves_them_out_as_a_whole() -> None:
    import tensorflow as tf

    masks, _ = dropout_of(seed=0)
    made = masks.dropout(tf.ones((16, 3, 5, 7)), 0.5, noise_shape=(tf.constant(16), 1, 1, 7)).numpy()
    assert (made == made[:, :1, :1]).all()
    assert set(np.unique(made)) == {0.0, 2.0}
