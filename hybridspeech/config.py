"""Settings that several packages share.

A record that one package owns is in that package's `config` module. Standard library only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hybridspeech.records import OMIT_DEFAULT, check, check_choice, given_fields, to_json

SPLITS = ("training", "validation", "testing")


UNSET: Any = None
"""Default of a field that has no value of its own: the recipe, or the kind of features, decides it."""

WINDOWS: Mapping[str, tuple[int, int]] = {"stft": (2048, 321), "logmel": (512, 160), "waveform": (2048, 321)}
"""Default (n_fft, hop_length) in samples of each kind of features. Those of a waveform have no effect."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Settings of the features of one clip.

    Parameters
    ----------
    kind : "stft" (power in dB, 1025 x 50 by default), "logmel" (64 x 101 by default), or "waveform" (the samples, for
        features that are computed during training)
    sample_rate_hz, clip_duration_ms : clips are resampled, and cut or zero-padded, to these
    n_fft, hop_length : FFT size and hop length, in samples; None: those of WINDOWS for the kind
    top_db : dynamic range below the maximum of each clip, in dB; None: unlimited
    n_mels, fmin_hz, fmax_hz : number and range of the mel bands; "logmel" only
    kernel : "fast" (float32), or "reference" (librosa); they differ by at most 2e-3 dB
    causal : frame t ends with sample (t + 1) * hop_length, so that it can be computed while the sound arrives; needs top_db
        None. False: frame t is centred at sample t * hop_length, as in librosa

    Raises
    ------
    ConfigError: a value is out of range.
    """

    kind: Literal["stft", "logmel", "waveform"] = "stft"
    sample_rate_hz: int = 16_000
    clip_duration_ms: int = 1_000
    n_fft: int = UNSET
    hop_length: int = UNSET
    top_db: float | None = 80.0
    n_mels: int = 64
    fmin_hz: float = 20.0
    fmax_hz: float = 7_600.0
    kernel: Literal["fast", "reference"] = "fast"
    causal: bool = field(default=False, metadata=OMIT_DEFAULT)

    def __post_init__(self) -> None:
        check_choice("features", self.kind, tuple(WINDOWS))
        check_choice("kernel", self.kernel, ("fast", "reference"))
        for name, default in zip(("n_fft", "hop_length"), WINDOWS[self.kind], strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
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
        check(
            not self.causal or self.top_db is None,
            f"top_db is {self.top_db}; causal features need None, since the maximum of the sound is not known in advance",
        )
        check(
            not self.causal or self.num_samples >= self.hop_length,
            f"hop_length is {self.hop_length}; expected at most the {self.num_samples} samples of a clip",
        )
        if self.kind == "logmel":
            check(1 <= self.n_mels <= 1 + self.n_fft // 2, f"n_mels is {self.n_mels}; expected 1 to 1 + n_fft // 2")
            check(
                0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2,
                f"fmin is {self.fmin_hz} Hz and fmax {self.fmax_hz} Hz; expected 0 <= fmin < fmax <= half the sample "
                f"rate ({self.sample_rate_hz / 2} Hz)",
            )

    @property
    def num_samples(self) -> int:
        """Number of samples of one clip."""
        return self.sample_rate_hz * self.clip_duration_ms // 1000

    @property
    def num_bins(self) -> int:
        """Number of rows of a spectrogram: frequency bins (stft) or mel bands (logmel); 1 for a waveform."""
        return {"logmel": self.n_mels, "waveform": 1}.get(self.kind, 1 + self.n_fft // 2)

    @property
    def num_frames(self) -> int:
        """Number of columns of a spectrogram; number of samples of a waveform."""
        if self.kind == "waveform":
            return self.num_samples
        return self.num_samples // self.hop_length + (0 if self.causal else 1)

    @property
    def padding(self) -> tuple[int, int]:
        """Number of zeros before and after a clip, from which the frames are cut."""
        return (self.n_fft - self.hop_length, 0) if self.causal else (self.n_fft // 2, self.n_fft // 2)

    @property
    def shape(self) -> tuple[int, int]:
        """(num_bins, num_frames) of one spectrogram; (1, num_samples) of a waveform."""
        return (self.num_bins, self.num_frames)


ON_SPECTROGRAMS = (
    "frequency_warp_percent",
    "shift_frames",
    "time_masks",
    "frequency_masks",
    "mask_fraction",
    "mixup_alpha",
)
"""Fields of AugmentConfig that work on spectrograms; the others work on the sound."""
BY_SNR = ("snr_frequency", "snr_min_db", "snr_max_db", "babble_frequency")
"""Fields of AugmentConfig for noise at a signal-to-noise ratio, which needs other clips of the batch."""
WHILE_TRAINING = (*ON_SPECTROGRAMS, *BY_SNR, "rir_frequency")
"""Fields of AugmentConfig that the copies of `preprocess` do not have."""
ADDED_LATER = ("frequency_warp_percent", "shift_frames", *BY_SNR, "rir_frequency")
"""Fields of AugmentConfig that indexes and plans of earlier versions do not have."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of training clips; validation and testing clips are never augmented.

    A field that is None has the value of the recipe (see `training.recipes`); 0 switches it off.

    Parameters
    ----------
    speed_percent : largest change of speed
    time_shift_ms : largest shift, in both directions
    gain_db : largest change of the level, in both directions
    background_frequency, background_volume : share of the clips that are mixed with background noise, and the largest
        volume of the noise (full scale = 1)
    snr_frequency, snr_min_db, snr_max_db : share of the clips that are mixed with noise at a random signal-to-noise ratio,
        and the range of this ratio, in dB of mean powers
    babble_frequency : share of this noise that is babble, the sum of other clips of the batch; the rest is background noise
    rir_frequency : share of the clips that are reverberated with a room impulse response
    frequency_warp_percent : largest stretch of the frequency axis of a spectrogram (VTLP, Jaitly and Hinton, 2013)
    shift_frames : largest shift of a spectrogram, in frames, in both directions
    time_masks, frequency_masks, mask_fraction : number of masks of each clip, and largest width of a mask as a fraction
        of the frames or bins (SpecAugment, arXiv:1904.08779)
    mixup_alpha : parameter of the Beta distribution (mixup, arXiv:1710.09412)

    Raises
    ------
    ConfigError: a value is out of range.
    """

    background_volume: float = UNSET
    background_frequency: float = UNSET
    time_shift_ms: float = UNSET
    gain_db: float = UNSET
    speed_percent: float = UNSET
    snr_frequency: float = UNSET
    snr_min_db: float = UNSET
    snr_max_db: float = UNSET
    babble_frequency: float = UNSET
    rir_frequency: float = UNSET
    frequency_warp_percent: float = UNSET
    shift_frames: int = UNSET
    time_masks: int = UNSET
    frequency_masks: int = UNSET
    mask_fraction: float = UNSET
    mixup_alpha: float = UNSET

    def __post_init__(self) -> None:
        shares = [name for name in vars(self) if name.endswith("_frequency")]
        limits = dict.fromkeys((*shares, "background_volume", "mask_fraction"), 1.0)
        limits |= dict.fromkeys(("speed_percent", "frequency_warp_percent"), 50.0)
        for name, value in given_fields(self).items():
            if name in ("snr_min_db", "snr_max_db"):
                check(-100 <= value <= 100, f"{name} is {value}; expected -100 to 100 dB")
                continue
            check(math.isfinite(value) and value >= 0, f"{name} is {value}; expected 0 or more")
            limit = limits.get(name, math.inf)
            check(value <= limit, f"{name} is {value}; expected 0 to {limit:g}")
        if None not in (self.snr_min_db, self.snr_max_db):
            message = f"snr_min_db is {self.snr_min_db}; expected snr_max_db ({self.snr_max_db}) or less"
            check(self.snr_min_db <= self.snr_max_db, message)

    @property
    def needs_noise(self) -> bool:
        """Whether recordings of background noise are mixed in."""
        return bool(self.background_volume and self.background_frequency) or self.has_noise_by_snr

    @property
    def has_noise_by_snr(self) -> bool:
        """Whether recordings of background noise are mixed in at a signal-to-noise ratio; babble needs none."""
        # None in plans of runs of versions without these fields
        return bool(self.snr_frequency) and self.babble_frequency < 1

    @property
    def of_sound(self) -> AugmentConfig:
        """The part that copies of `preprocess` can have; the rest is off."""
        return dataclasses.replace(self, **{name: getattr(NO_AUGMENTATION, name) for name in WHILE_TRAINING})

    @property
    def digested(self) -> dict[str, Any]:
        """JSON form for the digests of shards with copies: without the fields that were added later, which are off there."""
        return {name: value for name, value in to_json(self).items() if name not in ADDED_LATER}

    @property
    def of_spectrograms(self) -> AugmentConfig:
        """The part that works on spectrograms; the rest is off."""
        return dataclasses.replace(NO_AUGMENTATION, **{name: getattr(self, name) for name in ON_SPECTROGRAMS})


NO_AUGMENTATION = AugmentConfig(
    background_volume=0.0,
    background_frequency=0.0,
    time_shift_ms=0.0,
    gain_db=0.0,
    speed_percent=0.0,
    snr_frequency=0.0,
    snr_min_db=-5.0,
    snr_max_db=30.0,
    babble_frequency=0.0,
    rir_frequency=0.0,
    frequency_warp_percent=0.0,
    shift_frames=0,
    time_masks=0,
    frequency_masks=0,
    mask_fraction=0.2,
    mixup_alpha=0.0,
)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Resources of a preprocessing engine; None: the default of the engine or cluster.

    Parameters
    ----------
    master, conf, executor_memory : Spark master, Spark settings, memory of a Spark executor such as "2g"
    num_executors, executor_cores : Spark executors and their cores; engine "local": their product is the number of processes
    ray_address : Ray cluster to join; None: start one on this machine
    environment : archive of `pack` that executors run in; None: the environment that their hosts have
    stall_timeout_s : longest time without progress, in seconds
    verbose : show the logs of Spark and Ray
    """

    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    num_executors: int | None = None
    executor_cores: int | None = None
    executor_memory: str | None = None
    ray_address: str | None = None
    environment: str | None = None
    stall_timeout_s: float = 300.0
    verbose: bool = False

    def __post_init__(self) -> None:
        for name in ("num_executors", "executor_cores"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"{name} is {value}; expected 1 or more")
        check(self.stall_timeout_s > 0, f"stall_timeout_s is {self.stall_timeout_s} s; expected more than 0")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Resources and time-outs of the training workers.

    Parameters
    ----------
    num_workers : number of workers
    max_restarts : how often training starts again from its last checkpoint after a failure
    master, conf, executor_memory : Spark master, Spark settings, memory of a Spark executor; backend "tfos"
    ray_address : Ray cluster to join; None: start one on this machine
    environment : archive of `pack` that workers run in; None: the environment that their hosts have
    placement : workers of backend "ray" on as many hosts as possible ("spread"), or on as few ("pack")
    threads_per_worker : threads of TensorFlow; None: the cores of this machine divided by the workers, or the executor's
    shard_cache : disk space per worker for shards of an object store, such as "16g"; the rest is fetched again
    start_timeout_s : longest time until every worker runs, in seconds
    stall_timeout_s : longest time without progress, in seconds
    verbose : show the logs of Spark, Ray and TensorFlow
    """

    num_workers: int = 1
    max_restarts: int = 0
    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict)
    ray_address: str | None = None
    environment: str | None = None
    placement: Literal["spread", "pack"] = "spread"
    threads_per_worker: int | None = None
    executor_memory: str = "1g"
    shard_cache: str = "16g"
    start_timeout_s: float = 300.0
    stall_timeout_s: float = 300.0
    verbose: bool = False

    def __post_init__(self) -> None:
        check(1 <= self.num_workers <= 1024, f"num_workers is {self.num_workers}; expected 1 to 1024")
        check(
            self.threads_per_worker is None or self.threads_per_worker >= 1,
            f"threads_per_worker is {self.threads_per_worker}; expected 1 or more",
        )
        check_choice("placement", self.placement, ("spread", "pack"))
        check(self.max_restarts >= 0, f"max_restarts is {self.max_restarts}; expected 0 or more")
        for name in ("start_timeout_s", "stall_timeout_s"):
            check(getattr(self, name) > 0, f"{name} is {getattr(self, name)} s; expected more than 0")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a verb.

    Parameters
    ----------
    stage : name of the stage; stages may overlap
    done, total, unit : `done` of `total` units are finished; total 0: the stage has no length
    message : a line for the user, or empty; a message with done == total ends the stage
    detail : short text beside the progress bar
    """

    stage: str
    done: int = 0
    total: int = 0
    unit: str = ""
    message: str = ""
    detail: str = ""


OnProgress = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Ignore progress: the default, since library functions print nothing."""
