"""The settings of a training. Standard library only: the driver reads them without TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from hybridspeech.config import AugmentConfig, check, check_choice


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a model is fitted. `batch_size` is per worker; the global batch is batch_size x num_workers.

    `learning_rate` is the highest one; it is meant for `learning_rate_batch` clips a step and grows with the square root of
    the global batch (arXiv:2205.10287); None: it stays. The schedule "cosine" rises over `warmup_epochs` and falls to 0.
    `class_weights` counts rare labels as much as frequent ones. With `early_stopping`, training ends after so many epochs
    without a smaller validation loss, and the best epoch's model is the result; else the last one's is. A checkpoint is
    saved after each epoch, and within it after every `checkpoint_steps` steps (None: not).
    """

    epochs: int = 8
    batch_size: int = 16
    learning_rate: float = 1e-3
    learning_rate_batch: int | None = None
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    class_weights: bool = False
    early_stopping: int | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0
    deterministic: bool = False
    shuffle_buffer: int = 1024
    keep_checkpoints: int = 2
    checkpoint_steps: int | None = None

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("adam", "adamw"))
        check_choice("schedule", self.schedule, ("constant", "cosine"))
        counts = ("epochs", "batch_size", "shuffle_buffer", "keep_checkpoints", "checkpoint_steps")
        for name in (*counts, "learning_rate_batch", "early_stopping"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"{name} is {value}; expected 1 or more")
        check(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            f"learning rate is {self.learning_rate}; expected more than 0",
        )
        check(0 <= self.label_smoothing < 1, f"label_smoothing is {self.label_smoothing}; expected 0 to less than 1")
        for name in ("weight_decay", "warmup_epochs"):
            check(0 <= getattr(self, name) < math.inf, f"{name} is {getattr(self, name)}; expected 0 or more")
