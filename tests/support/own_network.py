"""Networks of a user's own, for ``--model support.own_network:...``."""

from __future__ import annotations

import tf_keras

from hybridspeech.models.config import ModelConfig


def small(config: ModelConfig) -> tf_keras.Model:
    """Logistic regression."""
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((*config.input_shape, 1)),
            layers.Flatten(),
            layers.Dense(config.num_labels, activation="softmax"),
        ]
    )


def wrong(config: ModelConfig) -> tf_keras.Model:
    """Has a label too many."""
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [layers.Input((*config.input_shape, 1)), layers.Flatten(), layers.Dense(config.num_labels + 1)]
    )
