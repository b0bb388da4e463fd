"""Frozen records that several packages share, their JSON form, and the checks of their fields.

A record that one package owns is in that package's `config` module. Standard library only.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from hybridspeech.errors import ConfigError

Record = TypeVar("Record")
SPLITS = ("training", "validation", "testing")


def check(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `choices`; `name` is the name of the setting in the message."""
    check(value in choices, f"{name} is {value!r}; choose one of {', '.join(choices)}")


FEATURE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "stft": {"n_fft": 2048, "hop_length": 321},
    "logmel": {"n_fft": 512, "hop_length": 160},
    "waveform": {},
}


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """From sound to spectrogram. The defaults are the mission's own: 1 s at 16 kHz, STFT in dB, 1025 x 50.

    ``FeatureConfig.of("logmel")`` has the defaults that suit that kind (64 bands, 32 ms window, 10 ms hop: 64 x 101).
    Kind "waveform" is the sound itself, one row of samples; only rate and duration matter there.
    `top_db` None keeps the whole dynamic range. `kernel` "reference" calls librosa; "fast" equals it within 2e-3 dB.
    """

    kind: Literal["stft", "logmel", "waveform"] = "stft"
    sample_rate_hz: int = 16_000
    clip_duration_ms: int = 1_000
    n_fft: int = 2048
    hop_length: int = 321
    top_db: float | None = 80.0
    n_mels: int = 64
    fmin_hz: float = 20.0
    fmax_hz: float = 7_600.0
    kernel: Literal["fast", "reference"] = "fast"

    def __post_init__(self) -> None:
        check_choice("features", self.kind, tuple(FEATURE_DEFAULTS))
        check_choice("kernel", self.kernel, ("fast", "reference"))
        check(
            1_000 <= self.sample_rate_hz <= 384_000, f"sample rate is {self.sample_rate_hz} Hz; expected 1000 to 384000"
        )
        check(1 <= self.clip_duration_ms <= 60_000, f"clip duration is {self.clip_duration_ms} ms; expected 1 to 60000")
        check(self.num_samples >= 1, "clip duration and sample rate give no sample; raise one of them")
        check(
            16 <= self.n_fft <= 65_536 and self.n_fft % 2 == 0,
            f"n_fft is {self.n_fft}; expected an even number of samples from 16 to 65536",
        )
        check(
            1 <= self.hop_length <= self.n_fft, f"hop_length is {self.hop_length}; expected 1 to n_fft ({self.n_fft})"
        )
        check(self.top_db is None or self.top_db > 0, f"top_db is {self.top_db}; expected more than 0 dB")
        if self.kind == "logmel":
            check(1 <= self.n_mels <= 1 + self.n_fft // 2, f"n_mels is {self.n_mels}; expected 1 to 1 + n_fft // 2")
            check(
                0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2,
                f"fmin is {self.fmin_hz} Hz and fmax {self.fmax_hz} Hz; expected 0 <= fmin < fmax <= half the sample "
                f"rate ({self.sample_rate_hz / 2} Hz)",
            )

    @classmethod
    def of(cls, kind: str = "stft", **overrides: Any) -> FeatureConfig:
        """The defaults of `kind`, with the overrides that are not None."""
        check_choice("features", kind, tuple(FEATURE_DEFAULTS))
        given = {name: value for name, value in overrides.items() if value is not None}
        return cls(**{"kind": kind, **FEATURE_DEFAULTS[kind], **given})

    @property
    def num_samples(self) -> int:
        """Samples of one clip at the target rate."""
        return self.sample_rate_hz * self.clip_duration_ms // 1000

    @property
    def num_bins(self) -> int:
        """Rows of a spectrogram: frequency bins (stft) or mel bands (logmel); 1 for a waveform."""
        return {"logmel": self.n_mels, "waveform": 1}.get(self.kind, 1 + self.n_fft // 2)

    @property
    def num_frames(self) -> int:
        """Columns of a spectrogram (centred frames, as librosa counts them); samples of a waveform."""
        return self.num_samples if self.kind == "waveform" else 1 + self.num_samples // self.hop_length

    @property
    def shape(self) -> tuple[int, int]:
        """(num_bins, num_frames) of one spectrogram; (1, num_samples) of a waveform."""
        return (self.num_bins, self.num_frames)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training clips are varied; all 0: not at all. Nothing else is ever varied.

    On the sound, in this order: played faster or slower by up to `speed_percent`, moved by up to `time_shift_ms`, louder or
    softer by up to `gain_db`, and a share `background_frequency` of the clips mixed with background noise of up to
    `background_volume` (of full scale). On the spectrogram (SpecAugment, arXiv:1904.08779): `time_masks` and
    `frequency_masks` bands of up to a `mask_fraction` of the frames or bins are set to the clip's mean. On pairs of clips of
    a batch: `mixup_alpha` of the Beta distribution (arXiv:1710.09412).
    """

    background_volume: float = 0.0
    background_frequency: float = 0.0
    time_shift_ms: float = 0.0
    gain_db: float = 0.0
    speed_percent: float = 0.0
    time_masks: int = 0
    frequency_masks: int = 0
    mask_fraction: float = 0.2
    mixup_alpha: float = 0.0

    def __post_init__(self) -> None:
        for name in (item.name for item in dataclasses.fields(self)):
            value = getattr(self, name)
            check(math.isfinite(value) and value >= 0, f"{name} is {value}; expected 0 or more")
        for name in ("background_volume", "background_frequency", "mask_fraction"):
            check(getattr(self, name) <= 1, f"{name} is {getattr(self, name)}; expected 0 to 1")
        check(self.speed_percent <= 50, f"speed_percent is {self.speed_percent}; expected 0 to 50")

    @property
    def needs_noise(self) -> bool:
        """Whether background noise is mixed in."""
        return self.background_volume > 0 and self.background_frequency > 0

    @property
    def of_sound(self) -> AugmentConfig:
        """The part that works on the sound; the rest is left out."""
        return dataclasses.replace(self, time_masks=0, frequency_masks=0, mixup_alpha=0.0)

    @property
    def of_spectrograms(self) -> AugmentConfig:
        """The part that works on spectrograms; the rest is left out."""
        return AugmentConfig(**{name: getattr(self, name) for name in ON_SPECTROGRAMS})


ON_SPECTROGRAMS = ("time_masks", "frequency_masks", "mask_fraction", "mixup_alpha")
"""Fields of AugmentConfig that work on spectrograms; the others work on the sound."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Where an engine runs. `master` and the executor settings are Spark's; None leaves them to the engine or cluster.

    `num_executors` and `executor_cores` are also the local engine's number of processes.
    """

    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    num_executors: int | None = None
    executor_cores: int | None = None
    executor_memory: str | None = None
    ray_address: str | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        for name in ("num_executors", "executor_cores"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"{name} is {value}; expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Where training workers run. `threads_per_worker` None shares this machine's cores (or takes the executor's).

    `start_timeout_s` bounds the time until every worker runs; `stall_timeout_s` the time without any sign of progress.
    After a failure, training is started again from its last checkpoint, `max_restarts` times at most.
    """

    num_workers: int = 1
    max_restarts: int = 0
    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    ray_address: str | None = None
    threads_per_worker: int | None = None
    executor_memory: str = "1g"
    start_timeout_s: float = 300.0
    stall_timeout_s: float = 300.0
    verbose: bool = False

    def __post_init__(self) -> None:
        check(1 <= self.num_workers <= 1024, f"num_workers is {self.num_workers}; expected 1 to 1024")
        check(
            self.threads_per_worker is None or self.threads_per_worker >= 1,
            f"threads_per_worker is {self.threads_per_worker}; expected 1 or more",
        )
        check(self.max_restarts >= 0, f"max_restarts is {self.max_restarts}; expected 0 or more")
        for name in ("start_timeout_s", "stall_timeout_s"):
            check(getattr(self, name) > 0, f"{name} is {getattr(self, name)} s; expected more than 0")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A sign of life of a verb: `done` of `total` `unit`s in `stage`; `message` is a line worth printing, or empty."""

    stage: str
    done: int = 0
    total: int = 0
    unit: str = ""
    message: str = ""


OnProgress = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The default OnProgress: library functions print nothing."""


def to_json(value: Any) -> Any:
    """JSON-able form of a record (dataclass), of containers of records, paths and numpy-like scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def from_json(record: type[Record], data: Mapping[str, Any]) -> Record:
    """The record of this class that `to_json` made `data` from.

    Raises
    ------
    ConfigError: a field is unknown (written by another version) or has a value that can't be.
    """
    hints = typing.get_type_hints(record)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ConfigError(f"{record.__name__} has no field {unknown[0]!r}; it was written by another version")
    return record(**{name: _restore(hints[name], value) for name, value in data.items()})


def _restore(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_json(typing.cast("type[Any]", hint), value)
    if origin is tuple and isinstance(value, (list, tuple)):
        item = arguments[0] if arguments else Any
        return tuple(_restore(item, each) for each in value)
    return value
