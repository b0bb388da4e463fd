"""Settings of the optimization. Standard library only: the driver reads them without TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from hybridspeech.config import UNSET, AugmentConfig
from hybridspeech.records import check, check_choice, given_fields


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of the optimization. A field that is None has the value of the recipe (see `training.recipes`).

    Parameters
    ----------
    epochs : number of epochs
    batch_size : batch size per worker
    learning_rate : peak learning rate
    learning_rate_batch : global batch size for which `learning_rate` is meant; the rate is scaled with the square root
        of the global batch size (arXiv:2205.10287); 0: no scaling
    optimizer : "adam" or "adamw"
    weight_decay : weight decay of AdamW
    schedule : "constant", or "cosine" (linear warm-up over `warmup_epochs`, then cosine decay to 0)
    label_smoothing : label smoothing
    class_weights : weight the loss of each label by the inverse of its frequency
    early_stopping : stop after this number of epochs without a lower validation loss, and keep the best epoch; 0: off
    augment : augmentation of the training clips
    negatives_percentage : number of negatives that each batch has besides its clips, in percent of the batch size
    seed : seed of weights, order, dropout and augmentation
    deterministic : use deterministic operations: the same seed gives the same curve
    shuffle_buffer : size of the shuffle buffer of each worker, in examples
    keep_checkpoints : number of last checkpoints that are kept; the best epoch's is kept too
    checkpoint_steps : steps between two checkpoints within an epoch; 0: a checkpoint after each epoch only

    Raises
    ------
    ConfigError: a value is out of range.
    """

    epochs: int = UNSET
    batch_size: int = UNSET
    learning_rate: float = UNSET
    learning_rate_batch: int = UNSET
    optimizer: Literal["adam", "adamw"] = UNSET
    weight_decay: float = UNSET
    schedule: Literal["constant", "cosine"] = UNSET
    warmup_epochs: float = UNSET
    label_smoothing: float = UNSET
    class_weights: bool = UNSET
    early_stopping: int = UNSET
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    negatives_percentage: float = UNSET
    seed: int = UNSET
    deterministic: bool = UNSET
    shuffle_buffer: int = UNSET
    keep_checkpoints: int = UNSET
    checkpoint_steps: int = UNSET

    def __post_init__(self) -> None:
        given = given_fields(self)
        for name, choices in (("optimizer", ("adam", "adamw")), ("schedule", ("constant", "cosine"))):
            if name in given:
                check_choice(name, given[name], choices)
        least = {"epochs": 1, "batch_size": 1, "shuffle_buffer": 1, "keep_checkpoints": 1}
        least |= dict.fromkeys(("checkpoint_steps", "learning_rate_batch", "early_stopping"), 0)
        for name in least.keys() & given.keys():
            check(given[name] >= least[name], f"{name} is {given[name]}; expected {least[name]} or more")
        for name in {"weight_decay", "warmup_epochs"} & given.keys():
            check(0 <= given[name] < math.inf, f"{name} is {given[name]}; expected 0 or more")
        rate, smoothing = given.get("learning_rate", 1.0), given.get("label_smoothing", 0.0)
        negatives = given.get("negatives_percentage", 0.0)
        check(0 <= negatives <= 400, f"negatives_percentage is {negatives}; expected 0 to 400")
        check(math.isfinite(rate) and rate > 0, f"learning rate is {rate}; expected more than 0")
        check(0 <= smoothing < 1, f"label_smoothing is {smoothing}; expected 0 to less than 1")
