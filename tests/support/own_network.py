"""Valid and invalid custom networks, for ``--model support.own_network:...``; the import of the module is cheap."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from hybridspeech.models.config import ModelConfig
from support.imported_network import imported as imported

if TYPE_CHECKING:
    import tf_keras

NAMES = ("small", "wrong")


def small(config: ModelConfig) -> tf_keras.Model:
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


def _unchanged(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def call(*given: object) -> object:
        return function(*given)

    return call


@_unchanged
def decorated(config: ModelConfig) -> object:
    """As `small`."""
    return small(config)


def wrong(config: ModelConfig) -> tf_keras.Model:
    """Return a network with one label too many."""
    import tf_keras

    layers = tf_keras.layers
    return tf_keras.Sequential(
        [layers.Input((*config.input_shape, 1)), layers.Flatten(), layers.Dense(config.num_labels + 1)]
    )


def two_arguments(config: ModelConfig, size: int) -> None:
    """Needs more than the settings."""


def no_argument() -> None:
    """Does not take the settings."""


def keyword_needed(config: ModelConfig, *, size: int) -> None:
    """Needs more than the settings."""


def nothing(config: ModelConfig) -> None:
    """Return something that is not a model."""


def keras_3(config: ModelConfig) -> object:
    """Logistic regression in Keras 3."""
    import keras

    layers = keras.layers
    return keras.Sequential([layers.Input((*config.input_shape, 1)), layers.Flatten(), layers.Dense(config.num_labels)])
