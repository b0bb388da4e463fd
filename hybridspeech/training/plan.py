"""The plan of a training, and the report of each worker. Knows nothing of Spark, Ray and TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.config import FitConfig


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """All that a training worker needs; made once on the driver, stored as plan.json, sent to every rank.

    `shards` and `run` are absolute paths that every worker reaches. `digest` is the dataset's; `labels` in index order.
    `label_weights`: of an example of each
    label in the loss; empty: all alike. `features` is what the network takes, `stored` what the shards hold: the same, or
    waveforms.
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
