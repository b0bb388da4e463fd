"""Settings of stored shards: number type, compression, number of shards. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from hybridspeech.config import UNSET
from hybridspeech.records import check, check_choice, given_fields


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """Settings of stored shards.

    Parameters
    ----------
    dtype : "float32" or "float16" for spectrograms, "int16" (PCM 16) for waveforms; None: float32 or int16, as the
        features need
    compression : "none" or "gzip"
    num_shards : number of shards of each split; None: chosen from the size
    seed : decides the order of the clips

    Raises
    ------
    ConfigError: a value is out of range.
    """

    dtype: Literal["float32", "float16", "int16"] = UNSET
    compression: Literal["none", "gzip"] = "none"
    num_shards: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dtype is not None:
            check_choice("dtype", self.dtype, ("float32", "float16", "int16"))
        check_choice("compression", self.compression, ("none", "gzip"))
        check(
            self.num_shards is None or 1 <= self.num_shards <= 99_999,
            f"shards is {self.num_shards}; expected 1 to 99999",
        )

    def for_features(self, kind: str) -> ShardConfig:
        """Return these settings with the dtype for features of this kind.

        Raises
        ------
        ConfigError: the dtype can not store such features.
        """
        choices = ("int16",) if kind == "waveform" else ("float32", "float16")
        dtype: Any = given_fields(self).get("dtype", choices[0])
        check(dtype in choices, f"dtype is {dtype} for features {kind!r}; expected {' or '.join(choices)}")
        return replace(self, dtype=dtype)
