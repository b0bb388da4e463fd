"""Trainings of the smallest network on small spectrograms: seconds each. The fixture `small_training` is the reference."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.commands import train as verb
from hybridspeech.commands.train import TrainResult
from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.config import FitConfig
from support.port_attack import Attack

SMALL = FeatureConfig(kind="logmel", n_mels=24, hop_length=500)
FIT = FitConfig(epochs=3, batch_size=8, deterministic=True)
"""11 steps an epoch on the fixture `small_shards`."""
TWO_WORKERS = ClusterConfig(num_workers=2, threads_per_worker=1)
FIT_OF_TWO_WORKERS = FitConfig(epochs=3, batch_size=4, deterministic=True, checkpoint_steps=4)
"""The same number of steps for TWO_WORKERS."""
train = functools.partial(verb.train, model=ModelConfig(name="cnn"), recipe="report")  # cnn: the smallest network here


def workers_of(backend: str) -> ClusterConfig:
    """Return one worker for the backend `local`, two for a cluster."""
    return ClusterConfig() if backend == "local" else TWO_WORKERS


def curve(result: TrainResult) -> list[float]:
    """Losses and accuracies of all epochs."""
    return [row[name] for row in result.history for name in ("loss", "accuracy", "val_loss", "val_accuracy")]


@dataclass(frozen=True)
class Attacked:
    """A training of two workers, and the attack on its ports."""

    result: TrainResult
    attack: Attack


def train_attacked(shards: Path, folder: Path, backend: str) -> Attacked:
    """Train on two workers of a cluster backend, while all ports are attacked."""
    with Attack(folder / "proof") as attack:
        result = train(shards, folder / "run", fit=FIT_OF_TWO_WORKERS, cluster=TWO_WORKERS, backend=backend)
        return Attacked(result, attack)
