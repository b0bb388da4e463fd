"""The plan of a training: all that the workers need, checked on the driver before a cluster starts.

Knows nothing of Spark, Ray and TensorFlow.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hybridspeech.config import NO_AUGMENTATION, ClusterConfig, FeatureConfig
from hybridspeech.errors import ConfigError, RunError, ShardError, counted
from hybridspeech.models.build import check_model
from hybridspeech.models.config import ModelConfig
from hybridspeech.records import OMIT_DEFAULT, override
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.label_counts import count_labels
from hybridspeech.storage.locations import normalized
from hybridspeech.training.config import FitConfig
from hybridspeech.training.initial_weights import InitialWeights, check_fits
from hybridspeech.training.partition import rank_shards
from hybridspeech.training.recipes import DataSummary, resolve, summary_of

RECORDED_PACKAGES = (
    "hybridspeech",
    "tensorflow",
    "tf-keras",
    "tensorflowonspark",
    "pyspark",
    "ray",
    "numpy",
    "librosa",
)
FIXED_FOR_A_RESUME = (
    *("batch_size", "seed", "optimizer", "label_smoothing", "class_weights", "augment"),
    "negatives_percentage",
)
"""Fields of FitConfig that must not change when a training is resumed: the loss curve depends on them."""

MODEL_OF_EARLIER_VERSIONS = ModelConfig(standardize="none", causal=False)
"""Fields of a network that plans of earlier versions do not have."""


@dataclass(frozen=True, kw_only=True)
class RoomResponses:
    """Room impulse responses for training.

    Parameters
    ----------
    folder : location that they were read from
    count : number of responses
    checksum : of the file in the run that holds them; each rank compares it with its copy
    """

    folder: str
    count: int
    checksum: str


@dataclass(frozen=True, kw_only=True)
class NegativeWindows:
    """Windows of sound without the words of a run, for its training.

    Parameters
    ----------
    source : location that they come from
    counts : number of windows of each label, in the order of the file in the run that holds them; empty: not found yet
    checksum : of the windows; each rank compares it with its copy
    """

    source: str
    counts: Mapping[str, int] = field(default_factory=dict)
    checksum: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """All that a training worker needs. The driver makes it, stores it as plan.json, and sends it to every rank.

    Parameters
    ----------
    shards, run : absolute paths that every worker reaches, or URLs
    store, attempt : of a run on a store: its URL, while `run` is the local folder of a process; and the attempt that trains
    digest : of the data
    labels : in index order
    features, stored : features that the network takes, and those that the shards hold
    model, fit : resolved settings: no field is None
    label_weights : weight of an example of each label in the loss; empty: 1
    init_from : weights to start from, a copy of which is in the run; None: random ones. A checkpoint takes precedence
    rir : room impulse responses of the augmentation, a copy of which is in the run; None: no reverberation
    negatives : windows that fill up the batches, a copy of which is in the run; None: none
    resume : whether to start from the last checkpoint
    preprocessing : settings of `run` for its input, as JSON, to repeat it; empty for `train`
    versions : versions of the packages on the driver
    """

    shards: str
    run: str
    backend: str = "local"
    digest: str = ""
    labels: tuple[str, ...] = ()
    features: FeatureConfig = field(default_factory=FeatureConfig)
    stored: FeatureConfig = field(default_factory=FeatureConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    label_weights: tuple[float, ...] = ()
    init_from: InitialWeights | None = None
    rir: RoomResponses | None = field(default=None, metadata=OMIT_DEFAULT)
    negatives: NegativeWindows | None = field(default=None, metadata=OMIT_DEFAULT)
    resume: bool = False
    store: str = ""
    attempt: str = ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_negatives(self) -> int:
        """Number of negatives that each batch has besides its clips."""
        share = (self.fit.negatives_percentage or 0.0) / 100  # None in plans of earlier versions
        return max(1, round(share * self.fit.batch_size)) if self.negatives and share else 0


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """Result of one rank; `history` has one row per epoch. Times are Unix times of the worker's clock, in seconds."""

    rank: int
    history: tuple[Mapping[str, float], ...] = ()
    first_step_at: float = 0.0
    finished_at: float = 0.0
    num_examples: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Settings that a caller of `train` or `run` gives; None: the recipe decides."""

    run: str | Path
    backend: str
    cluster: ClusterConfig
    features: FeatureConfig | None = None
    model: ModelConfig | None = None
    fit: FitConfig | None = None
    recipe: str = "default"
    init_from: InitialWeights | None = None
    rir: RoomResponses | None = None
    negatives: NegativeWindows | None = None
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The data of a training.

    Parameters
    ----------
    shards : folder of the shards; empty: a feed brings them
    training_counts : returns the number of training clips of each label, in index order
    """

    summary: DataSummary
    shards: str
    digest: str
    labels: tuple[str, ...]
    training_counts: Callable[[], Sequence[int]]


def shards_data(index: ShardIndex, shards: str | Path, num_workers: int) -> TrainingData:
    """Return finished shards as the data of a training.

    Raises
    ------
    ConfigError: a split has fewer shards than there are workers, or there are no training clips. ShardError: a shard is
    missing or has another size.
    """
    for split in ("training", "validation"):
        if index.of_split(split):
            rank_shards(index, split, 0, num_workers)
    if not index.of_split("training"):
        raise ConfigError(
            f"{shards}: has no training clips (splits: {dict(index.splits)}); preprocess with other splits"
        )
    if incomplete := index.incomplete(shards):
        raise ShardError(
            f"{incomplete[0]}; {counted(len(incomplete), 'incomplete shard')} in {shards}: preprocess again with --resume"
        )
    return TrainingData(
        summary=summary_of(index),
        shards=normalized(shards),
        digest=index.digest,
        labels=index.labels,
        training_counts=lambda: [splits.get("training", 0) for splits in count_labels(shards, index).values()],
    )


def make_plan(data: TrainingData, request: TrainRequest) -> TrainPlan:
    """Return the plan of a training.

    Raises
    ------
    ConfigError: a setting can not work with these data, or with the initial weights; see `resolve`, `check_model`,
    `check_fits`.
    """
    features, wanted, start = request.features, request.model, request.init_from
    if start:
        features, wanted = start.features_for(data.summary.features, features), start.model_for(wanted)
    summary = replace(data.summary, has_responses=request.rir is not None, has_negatives=request.negatives is not None)
    recipe = resolve(
        summary, features=features, model=wanted, fit=request.fit, name=request.recipe, is_fine_tuning=bool(start)
    )
    if start:
        check_fits(start, recipe.features, recipe.model)
    model = replace(recipe.model, input_shape=recipe.features.shape, num_labels=len(data.labels))
    check_model(model)
    return TrainPlan(
        shards=data.shards,
        run=normalized(request.run),
        backend=request.backend,
        digest=data.digest,
        labels=data.labels,
        features=recipe.features,
        stored=data.summary.features,
        model=model,
        fit=recipe.fit,
        cluster=request.cluster,
        label_weights=label_weights(data.training_counts()) if recipe.fit.class_weights else (),
        init_from=start,
        rir=request.rir,
        negatives=request.negatives,
        resume=request.resume,
        versions=installed_versions(),
    )


def label_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Return a weight for each label: inverse to its number of clips, 1 on average over the clips, 0 without clips."""
    present = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (present * count) if count else 0.0 for count in counts)


def check_resumable(before: TrainPlan, plan: TrainPlan) -> None:
    """Check that a training can be resumed with other settings.

    Raises
    ------
    RunError: data, features, model, number of workers, or one of FIXED_FOR_A_RESUME differ.
    """
    # Fields that a plan of an earlier version does not have
    fit = replace(
        before.fit,
        augment=override(NO_AUGMENTATION, before.fit.augment),
        negatives_percentage=before.fit.negatives_percentage or 0.0,
    )
    same = {
        "shards (another digest)": (before.digest, plan.digest),
        "features": (before.features, plan.features),
        "model": (override(MODEL_OF_EARLIER_VERSIONS, before.model), plan.model),
        **{name.replace("_", " "): (getattr(fit, name), getattr(plan.fit, name)) for name in FIXED_FOR_A_RESUME},
        "number of workers": (before.cluster.num_workers, plan.cluster.num_workers),
    }
    changed = [name for name, (old, new) in same.items() if old != new]
    if changed:
        raise RunError(
            f"{plan.run}: was started with other {', '.join(changed)}; resume with the same, or start again with --overwrite"
        )


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of those of RECORDED_PACKAGES that are installed."""
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
