"""A custom network that `own_network` imports, so that its source does not define it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridspeech.models.config import ModelConfig

if TYPE_CHECKING:
    import tf_keras


def imported(config: ModelConfig) -> tf_keras.Model:
    """Logistic regression."""
    import tf_keras

    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((*config.input_shape, 1)),
            layers.Flatten(),
            layers.Dense(config.num_labels, activation="softmax"),
        ]
    )
