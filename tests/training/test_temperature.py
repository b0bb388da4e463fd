"""Temperature scaling: the fit, and its application to probabilities and to networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridspeech.errors import RunError
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.temperature import (
    TEMPERATURES,
    Calibration,
    apply_temperature,
    best_temperature,
    read_calibration,
    scale_model,
    write_calibration,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_the_data_is_found(temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits = 3 * generator.standard_normal((20_000, 5))
    labels = (softmax(logits / temperature).cumsum(axis=1) < generator.uniform(size=(20_000, 1))).sum(axis=1)
    losses = [-np.log(softmax(logits / t))[np.arange(20_000), labels].mean() for t in TEMPERATURES]
    found = best_temperature(np.array(losses), 20_000)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.loss_after <= found.loss_before
    assert found.loss_before == pytest.approx(-np.log(softmax(logits))[np.arange(20_000), labels].mean(), rel=1e-3)


def test_losses_that_are_not_finite_leave_the_temperature_at_one() -> None:
    assert best_temperature(np.full(len(TEMPERATURES), np.nan), 7) == Calibration()


def test_scaled_probabilities_are_those_of_scaled_logits() -> None:
    logits = np.random.default_rng(0).standard_normal((6, 4))
    scaled = apply_temperature(softmax(logits).astype(np.float32), 0.5)
    np.testing.assert_allclose(scaled, softmax(logits / 0.5), atol=1e-6)
    np.testing.assert_array_equal(scaled.argmax(axis=1), logits.argmax(axis=1))


@pytest.mark.parametrize("ends_in_dense", [True, False])
def test_a_scaled_network_gives_scaled_probabilities(ends_in_dense: bool) -> None:
    from tf_keras import Sequential, layers

    last = [layers.Dense(4, activation="softmax")] if ends_in_dense else [layers.Dense(4), layers.Softmax()]
    model = Sequential([layers.Input((3,)), *last])
    inputs = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    expected = apply_temperature(model.predict_on_batch(inputs), 2.0)
    np.testing.assert_allclose(scale_model(model, 2.0).predict_on_batch(inputs), expected, atol=1e-6)


def test_a_run_without_a_temperature_has_one(tmp_path: Path) -> None:
    assert read_calibration(RunDirectory(tmp_path).calibration_path) == Calibration(temperature=1.0)


def test_a_damaged_temperature_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, Calibration(temperature=0.7, num_clips=30, loss_before=1.0, loss_after=0.9))
    assert read_calibration(path).temperature == 0.7
    for content in ("", "[]", '{"temperature": "hot"}', '{"temperature": -1}', '{"temperature": NaN}'):
        path.write_text(content)
        with pytest.raises(RunError, match=r"calibration\.json: "):
            read_calibration(path)
