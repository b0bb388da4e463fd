from __future__ import annotations

import functools

import numpy as np
import pytest
import tf_keras

from hybridspeech.errors import ConfigError
from hybridspeech.models.build import build_model, check_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.models.networks import MODELS, _normalised_by_sub_bands

LOGMEL = (64, 101)


def network(**settings: object) -> ModelConfig:
    return ModelConfig(**{"dropout": 0.2, "width": 1.0, **settings})  # type: ignore[arg-type]


@functools.cache
def built(name: str, shape: tuple[int, int]) -> tf_keras.Model:
    """An untrained network for five labels."""
    return build_model(network(name=name, input_shape=shape, num_labels=5))


@pytest.mark.parametrize(
    ("name", "width", "shape", "num_labels", "parameters"),
    [
        ("cnn", 1.0, (1025, 50), 30, 1_935_070),
        ("dscnn", 1.0, LOGMEL, 12, 104_924),
        ("dscnn", 0.5, LOGMEL, 12, 30_068),
        ("bcresnet", 1.0, LOGMEL, 12, 11_040),
        ("bcresnet", 3.0, LOGMEL, 12, 59_336),
    ],
)
def test_networks_have_the_documented_number_of_parameters(
    name: str, width: float, shape: tuple[int, int], num_labels: int, parameters: int
) -> None:
    model = build_model(network(name=name, input_shape=shape, num_labels=num_labels, width=width))
    assert model.count_params() == parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_standardized_spectrograms_need_no_parameters_and_remove_level_and_range(name: str) -> None:
    sizes = {"name": name, "input_shape": LOGMEL, "num_labels": 5}
    plain, model = (build_model(network(**sizes, standardize=value)) for value in ("none", "clip"))
    spectrograms = np.random.default_rng(0).uniform(-80, 20, (2, *LOGMEL, 1)).astype(np.float32)
    assert model.count_params() == plain.count_params()
    np.testing.assert_allclose(
        model.predict_on_batch(spectrograms), model.predict_on_batch(0.5 * spectrograms - 20), atol=1e-4
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [LOGMEL, (40, 98), (17, 33)])
def test_every_network_accepts_all_features(name: str, shape: tuple[int, int]) -> None:
    spectrograms = np.random.default_rng(0).uniform(-80, 20, (2, *shape, 1)).astype(np.float32)
    probabilities = built(name, shape)(spectrograms, training=False).numpy()
    assert probabilities.shape == (2, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_training_needs_no_gradient_of_the_spectrogram(name: str) -> None:
    model = built(name, LOGMEL)
    before_the_convolution = [layer for layer in model.layers if layer.output.shape[1:] == (*LOGMEL, 1)]
    assert not [weight.name for layer in before_the_convolution for weight in layer.trainable_weights]


def test_sub_bands_are_normalised_separately() -> None:
    maps = tf_keras.layers.Input((20, 7, 3))
    model = tf_keras.Model(maps, _normalised_by_sub_bands(maps))
    values = np.random.default_rng(0).normal(size=(4, 20, 7, 3)).astype(np.float32)
    groups = values.reshape(4, 5, 4, 7, 3)
    mean, variance = (part(groups, axis=(0, 2, 3), keepdims=True) for part in (np.mean, np.var))
    expected = ((groups - mean) / np.sqrt(variance + 1e-3)).reshape(values.shape)
    np.testing.assert_allclose(model(values, training=True), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "frames_per_output"), [("dscnn", 8), ("bcresnet", 2)])
def test_a_causal_network_has_the_weights_of_the_other_one_and_ignores_later_frames(
    name: str, frames_per_output: int
) -> None:
    sizes = {"name": name, "input_shape": (64, 100), "num_labels": 5}
    tf_keras.utils.set_random_seed(0)
    model = build_model(network(**sizes, causal=True))
    assert model.count_params() == build_model(network(**sizes)).count_params()
    pooling = next(layer for layer in model.layers if isinstance(layer, tf_keras.layers.GlobalAveragePooling2D))
    maps = tf_keras.Model(model.input, pooling.input)
    spectrograms = np.random.default_rng(0).uniform(-60, 20, (2, 64, 100, 1)).astype(np.float32)
    spectrograms[1, :, :48] = spectrograms[0, :, :48]
    first, second = maps(spectrograms).numpy()
    np.testing.assert_allclose(first[:, : 48 // frames_per_output], second[:, : 48 // frames_per_output], atol=1e-5)
    assert np.abs(first - second)[:, 48 // frames_per_output :].max() > 1e-4


def test_a_network_without_a_causal_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="model 'cnn' has no causal form; choose one of dscnn, bcresnet"):
        check_model(network(name="cnn", input_shape=LOGMEL, num_labels=5, causal=True))


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="'dscnnn'; choose one of cnn, dscnn, bcresnet, or module:function"):
        build_model(network(name="dscnnn", input_shape=(8, 9), num_labels=3))


@pytest.mark.parametrize(("name", "smallest"), [("cnn", 17), ("dscnn", 8), ("bcresnet", 8)])
def test_a_spectrogram_that_is_too_small_is_refused_on_the_driver(name: str, smallest: int) -> None:
    check_model(network(name=name, input_shape=(smallest, smallest), num_labels=30))
    build_model(network(name=name, input_shape=(smallest, smallest), num_labels=30))
    with pytest.raises(ConfigError, match=f"needs spectrograms of {smallest} x {smallest} or more"):
        check_model(network(name=name, input_shape=(smallest - 1, 50), num_labels=30))
