"""The settings of a network. Standard library only: the driver reads them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from hybridspeech.config import check


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A network by name, or "module:function" of your own. `input_shape` and `num_labels` come from the shards.

    `width` multiplies the channels.
    """

    name: str = "cnn"
    input_shape: tuple[int, int] = (1025, 50)
    num_labels: int = 30
    dropout: float = 0.2
    width: float = 1.0

    def __post_init__(self) -> None:
        check(0 < self.width <= 64, f"width is {self.width}; expected more than 0 and at most 64")
        check(self.num_labels >= 2, f"the shards have {self.num_labels} label; a classifier needs 2 or more")
        check(0 <= self.dropout < 1, f"dropout is {self.dropout}; expected 0 or more and less than 1")
