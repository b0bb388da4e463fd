"""The settings of stored shards: number type, compression, number of shards. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hybridspeech.config import check, check_choice


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """How clips are stored. `num_shards` is per split; None chooses from the size. `seed` decides the order.

    `dtype` is float32 or float16 for spectrograms, int16 (PCM 16) for waveforms.
    """

    dtype: Literal["float32", "float16", "int16"] = "float32"
    compression: Literal["none", "gzip"] = "none"
    num_shards: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("float32", "float16", "int16"))
        check_choice("compression", self.compression, ("none", "gzip"))
        check(
            self.num_shards is None or 1 <= self.num_shards <= 99_999,
            f"shards is {self.num_shards}; expected 1 to 99999",
        )

    @classmethod
    def of(cls, kind: str, **overrides: Any) -> ShardConfig:
        """The defaults for features of this kind, with the overrides that are not None."""
        given = {name: value for name, value in overrides.items() if value is not None}
        return cls(**{**({"dtype": "int16"} if kind == "waveform" else {}), **given})
