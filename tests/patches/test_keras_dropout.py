"""Dropout masks that depend only on seed, layer and step, and what the patch assumes about Keras."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hybridspeech.models.build import build_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.optimizer import compile_model
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.recipes import REPORT

SMALL = ModelConfig(name="dscnn", input_shape=(24, 20), num_labels=3, width=0.25, dropout=0.5)


def test_a_dropout_layer_draws_from_its_private_generator() -> None:
    import tf_keras

    source = inspect.getsource(tf_keras.layers.Dropout.call)
    assert "self._random_generator.dropout(" in source
    assert "inputs, self.rate, noise_shape=self._get_noise_shape(inputs)" in source


def dropout_of(seed: int) -> tuple[Any, Any]:
    """Return a dropout generator as training sets it up, and its step variable."""
    model = build_model(SMALL)
    compile_model(model, TrainPlan(shards="", run="", model=SMALL, fit=replace(REPORT, seed=seed)), num_steps=1)
    (layer,) = (layer for layer in model.layers if type(layer).__name__ == "Dropout")
    return layer._random_generator, model.optimizer.iterations


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.999999])
def test_dropout_drops_the_given_rate_and_keeps_the_mean(rate: float) -> None:
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


@pytest.mark.slow
def test_dropout_depends_on_seed_and_step() -> None:
    import tensorflow as tf

    masks, step = dropout_of(seed=0)
    ones = tf.ones((8, 100))
    first = masks.dropout(ones, 0.5).numpy()
    assert (masks.dropout(ones, 0.5).numpy() == first).all()
    assert (dropout_of(seed=0)[0].dropout(ones, 0.5).numpy() == first).all()
    assert (dropout_of(seed=1)[0].dropout(ones, 0.5).numpy() != first).any()
    step.assign_add(1)
    assert (masks.dropout(ones, 0.5).numpy() != first).any()


def test_spatial_dropout_drops_whole_channels() -> None:
    import tensorflow as tf

    masks, _ = dropout_of(seed=0)
    made = masks.dropout(tf.ones((16, 3, 5, 7)), 0.5, noise_shape=(tf.constant(16), 1, 1, 7)).numpy()
    assert (made == made[:, :1, :1]).all()
    assert set(np.unique(made)) == {0.0, 2.0}
