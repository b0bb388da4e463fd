"""Optimizer, learning rate schedule and dropout."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hybridspeech.models.config import ModelConfig
from hybridspeech.training.optimizer import make_optimizer
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
