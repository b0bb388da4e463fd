"""Settings of a network. Standard library only: the driver reads them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hybridspeech.config import UNSET
from hybridspeech.records import check, check_choice


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Settings of a network. A field that is None has the value of the recipe (see `training.recipes`).

    Parameters
    ----------
    name : "cnn", "dscnn", "bcresnet", or "module:function" for a function that builds a network
    input_shape, num_labels : (num_bins, num_frames) and number of labels; `train` and `run` take them from the data
    dropout : dropout rate
    width : factor of the number of channels
    standardize : "clip" (the first layer shifts and scales each spectrogram to mean 0 and variance 1) or "none"; built-in
        networks only. None, in a run of an earlier version, is "none"
    causal : each output depends on earlier frames only, so that the network can be exported for streams; "dscnn" and
        "bcresnet". Its features are causal, too (see FeatureConfig)

    Raises
    ------
    ConfigError: a value is out of range.
    """

    name: str = UNSET
    input_shape: tuple[int, int] = UNSET
    num_labels: int = UNSET
    dropout: float = UNSET
    width: float = UNSET
    standardize: Literal["clip", "none"] = UNSET
    causal: bool = UNSET

    def __post_init__(self) -> None:
        if self.standardize is not None:
            check_choice("standardize", self.standardize, ("clip", "none"))
        check(
            not self.causal or self.standardize != "clip",
            "standardize is 'clip', which needs the whole clip; a causal network needs 'none'",
        )
        check(self.width is None or 0 < self.width <= 64, f"width is {self.width}; expected more than 0, at most 64")
        check(
            self.num_labels is None or self.num_labels >= 2,
            f"the number of labels is {self.num_labels}; a classifier needs 2 or more",
        )
        check(
            self.dropout is None or 0 <= self.dropout < 1,
            f"dropout rate is {self.dropout}; expected 0 or more and less than 1",
        )
