"""The training of `inspect --audit`: a network on one fold of a cross-validation, in this process."""

from __future__ import annotations

from pathlib import Path

from hybridspeech.backends import BACKENDS
from hybridspeech.config import AugmentConfig, ClusterConfig, OnProgress, Progress, silent
from hybridspeech.evaluation.audit.label_doubts import FoldNetwork
from hybridspeech.evaluation.audit.thresholds import EPOCHS, NUM_FOLDS
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.config import FitConfig
from hybridspeech.training.driver import open_run
from hybridspeech.training.loop import run_worker
from hybridspeech.training.plan import TrainRequest, make_plan, shards_data
from hybridspeech.training.run_directory import RunDirectory

MODEL = ModelConfig(name="dscnn")
FIT = FitConfig(
    epochs=EPOCHS,
    batch_size=32,
    label_smoothing=0.0,
    warmup_epochs=1,
    seed=0,
    augment=AugmentConfig(
        background_frequency=0.0,
        background_volume=0.0,
        speed_percent=5,
        time_masks=0,
        frequency_masks=1,
        mixup_alpha=0.0,
    ),
)
"""Few epochs and little augmentation: the network must know the labels well enough to doubt some, and not for long enough to
learn the wrong ones by heart."""


def train_fold(shards: Path, run: Path, on_progress: OnProgress = silent) -> FoldNetwork:
    """Train on the training split of a fold.

    Raises
    ------
    WorkerError: the training failed.
    """
    index = ShardIndex.load(shards)
    request = TrainRequest(run=run, backend="local", cluster=ClusterConfig(), model=MODEL, fit=FIT)
    plan = make_plan(shards_data(index, shards, 1), request)
    number = int(shards.name.rpartition("-")[2]) + 1
    message = f"training on fold {number} of {NUM_FOLDS}, for the check of the labels"
    on_progress(Progress(stage=f"fold {number}", message=message))
    with open_run(plan, False, silent) as local:
        BACKENDS.load("local")().run(local, run_worker)
    from hybridspeech.training.trained_model import load_model

    network = load_model(RunDirectory(run), plan, calibrated=False)
    return FoldNetwork(features=plan.features, classify=network.predict_on_batch)
