"""Loss, optimizer, learning rate schedule, and dropout that a resumed training repeats. Knows nothing of data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hybridspeech.patches.keras_dropout import use_stateless_masks
from hybridspeech.patches.keras_optimizer import fused
from hybridspeech.training.config import FitConfig
from hybridspeech.training.plan import TrainPlan

if TYPE_CHECKING:
    import tf_keras


def compile_model(model: tf_keras.Model, plan: TrainPlan, num_steps: int) -> list[tf_keras.metrics.Metric]:
    """Compile a network for training, and return its metrics: cross-entropy and accuracy.

    The cross-entropy is a metric, since examples that only fill a batch have weight 0.

    Parameters
    ----------
    num_steps : steps of one epoch
    """
    import tf_keras

    metrics = [
        tf_keras.metrics.CategoricalCrossentropy(name="cross_entropy"),
        tf_keras.metrics.CategoricalAccuracy(name="accuracy"),
    ]
    model.compile(
        optimizer=make_optimizer(plan, num_steps),
        loss=tf_keras.losses.CategoricalCrossentropy(label_smoothing=plan.fit.label_smoothing),
        weighted_metrics=metrics,
    )
    model.optimizer.build(model.trainable_variables)
    use_stateless_masks(model, plan.fit.seed, model.optimizer.iterations)
    return metrics


def make_optimizer(plan: TrainPlan, num_steps: int) -> tf_keras.optimizers.Optimizer:
    """Return Adam or AdamW with the plan's schedule; biases and BatchNorm parameters have no weight decay."""
    import tf_keras

    fit = plan.fit
    rate = peak_learning_rate(fit, plan.cluster.num_workers)
    if fit.schedule == "cosine":
        warmup = round(fit.warmup_epochs * num_steps)
        rate = tf_keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            decay_steps=max(1, fit.epochs * num_steps - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if fit.optimizer == "adam":
        return fused(tf_keras.optimizers.Adam)(rate)
    optimizer = fused(tf_keras.optimizers.AdamW)(rate, weight_decay=fit.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def peak_learning_rate(fit: FitConfig, num_workers: int) -> float:
    """Return the peak learning rate for the global batch size."""
    if not fit.learning_rate_batch:
        return fit.learning_rate
    return fit.learning_rate * math.sqrt(fit.batch_size * num_workers / fit.learning_rate_batch)
