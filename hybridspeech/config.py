"""Frozen records that travel between stages and processes. They check what can be checked without data.

Standard library only. Each is JSON-able through `to_json` and read back by `from_json`; units stand in the names.
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


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    _check(value in choices, f"{name} is {value!r}; choose one of {', '.join(choices)}")


FEATURE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "stft": {"n_fft": 2048, "hop_length": 321},
    "logmel": {"n_fft": 512, "hop_length": 160},
}


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """From sound to spectrogram. The defaults are the mission's own: 1 s at 16 kHz, STFT in dB, 1025 x 50.

    ``FeatureConfig.of("logmel")`` has the defaults that suit that kind (64 bands, 32 ms window, 10 ms hop: 64 x 101).
    `top_db` None keeps the whole dynamic range. `kernel` "reference" calls librosa; "fast" equals it within 2e-3 dB.
    """

    kind: Literal["stft", "logmel"] = "stft"
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
        _one_of("features", self.kind, tuple(FEATURE_DEFAULTS))
        _one_of("kernel", self.kernel, ("fast", "reference"))
        _check(
            1_000 <= self.sample_rate_hz <= 384_000, f"sample rate is {self.sample_rate_hz} Hz; expected 1000 to 384000"
        )
        _check(
            1 <= self.clip_duration_ms <= 60_000, f"clip duration is {self.clip_duration_ms} ms; expected 1 to 60000"
        )
        _check(self.num_samples >= 1, "clip duration and sample rate give no sample; raise one of them")
        _check(
            16 <= self.n_fft <= 65_536 and self.n_fft % 2 == 0,
            f"n_fft is {self.n_fft}; expected an even number of samples from 16 to 65536",
        )
        _check(
            1 <= self.hop_length <= self.n_fft, f"hop_length is {self.hop_length}; expected 1 to n_fft ({self.n_fft})"
        )
        _check(self.top_db is None or self.top_db > 0, f"top_db is {self.top_db}; expected more than 0 dB")
        if self.kind == "logmel":
            _check(1 <= self.n_mels <= 1 + self.n_fft // 2, f"n_mels is {self.n_mels}; expected 1 to 1 + n_fft // 2")
            _check(
                0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2,
                f"fmin is {self.fmin_hz} Hz and fmax {self.fmax_hz} Hz; expected 0 <= fmin < fmax <= half the sample "
                f"rate ({self.sample_rate_hz / 2} Hz)",
            )

    @classmethod
    def of(cls, kind: str = "stft", **overrides: Any) -> FeatureConfig:
        """The defaults of `kind`, with the overrides that are not None."""
        _one_of("features", kind, tuple(FEATURE_DEFAULTS))
        given = {name: value for name, value in overrides.items() if value is not None}
        return cls(**{"kind": kind, **FEATURE_DEFAULTS[kind], **given})

    @property
    def num_samples(self) -> int:
        """Samples of one clip at the target rate."""
        return self.sample_rate_hz * self.clip_duration_ms // 1000

    @property
    def num_bins(self) -> int:
        """Rows of a spectrogram: frequency bins (stft) or mel bands (logmel)."""
        return self.n_mels if self.kind == "logmel" else 1 + self.n_fft // 2

    @property
    def num_frames(self) -> int:
        """Columns of a spectrogram (centred frames, as librosa counts them)."""
        return 1 + self.num_samples // self.hop_length

    @property
    def shape(self) -> tuple[int, int]:
        """(num_bins, num_frames) of one spectrogram."""
        return (self.num_bins, self.num_frames)


@dataclass(frozen=True, kw_only=True)
class ManifestConfig:
    """How labels, speakers and splits are decided.

    `split` "auto" takes the column of a table, else the published lists, else the hash rule. Percentages are of
    speakers.
    """

    split: Literal["auto", "lists", "hash", "column", "none"] = "auto"
    validation_percentage: float = 10.0
    testing_percentage: float = 10.0
    allow_speaker_overlap: bool = False

    def __post_init__(self) -> None:
        _one_of("split", self.split, ("auto", "lists", "hash", "column", "none"))
        for name in ("validation_percentage", "testing_percentage"):
            _check(0 <= getattr(self, name) <= 100, f"{name} is {getattr(self, name)}; expected 0 to 100")
        total = self.validation_percentage + self.testing_percentage
        _check(total < 100, f"validation and testing percentages add up to {total}; expected less than 100")


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """How spectrograms are stored. `num_shards` is per split; None chooses from the size. `seed` decides the order."""

    dtype: Literal["float32", "float16"] = "float32"
    compression: Literal["none", "gzip"] = "none"
    num_shards: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("dtype", self.dtype, ("float32", "float16"))
        _one_of("compression", self.compression, ("none", "gzip"))
        _check(
            self.num_shards is None or 1 <= self.num_shards <= 99_999,
            f"shards is {self.num_shards}; expected 1 to 99999",
        )


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
            _check(value is None or value >= 1, f"{name} is {value}; expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A network by name. `input_shape` and `num_labels` come from the shards."""

    name: str = "cnn"
    input_shape: tuple[int, int] = (1025, 50)
    num_labels: int = 30
    dropout: float = 0.2

    def __post_init__(self) -> None:
        _check(self.num_labels >= 2, f"the shards have {self.num_labels} label; a classifier needs 2 or more")
        _check(0 <= self.dropout < 1, f"dropout is {self.dropout}; expected 0 or more and less than 1")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a model is fitted. `batch_size` is per worker; the global batch is batch_size x num_workers.

    A checkpoint is saved after each epoch, and within it after every `checkpoint_steps` steps (None: not).
    """

    epochs: int = 8
    batch_size: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    deterministic: bool = False
    shuffle_buffer: int = 1024
    keep_checkpoints: int = 2
    checkpoint_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "shuffle_buffer", "keep_checkpoints", "checkpoint_steps"):
            value = getattr(self, name)
            _check(value is None or value >= 1, f"{name} is {value}; expected 1 or more")
        _check(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            f"learning rate is {self.learning_rate}; expected more than 0",
        )


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
    executor_memory: str = "2g"
    start_timeout_s: float = 300.0
    stall_timeout_s: float = 300.0
    verbose: bool = False

    def __post_init__(self) -> None:
        _check(1 <= self.num_workers <= 1024, f"num_workers is {self.num_workers}; expected 1 to 1024")
        _check(
            self.threads_per_worker is None or self.threads_per_worker >= 1,
            f"threads_per_worker is {self.threads_per_worker}; expected 1 or more",
        )
        _check(self.max_restarts >= 0, f"max_restarts is {self.max_restarts}; expected 0 or more")
        for name in ("start_timeout_s", "stall_timeout_s"):
            _check(getattr(self, name) > 0, f"{name} is {getattr(self, name)} s; expected more than 0")


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """All that a training worker needs; made once on the driver, stored as plan.json, sent to every rank.

    `shards` and `run` are absolute paths that every worker reaches. `digest` is the dataset's; `labels` in index order.
    """

    shards: str
    run: str
    backend: str = "local"
    digest: str = ""
    labels: tuple[str, ...] = ()
    features: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    resume: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """What one rank brings back; `history` has one row an epoch. Times are Unix times of the worker's clock."""

    rank: int
    history: tuple[Mapping[str, float], ...] = ()
    first_step_at: float = 0.0
    finished_at: float = 0.0
    num_examples: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)


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
