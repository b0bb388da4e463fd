"""Progress of a training, read from its run directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridspeech.config import ClusterConfig, Progress
from hybridspeech.training.config import FitConfig
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.progress import TrainingProgress, epoch_line
from hybridspeech.training.run_directory import RunDirectory

ROW = {"epoch": 1.0, "loss": 1.5, "accuracy": 0.5, "val_loss": 1.25, "val_accuracy": 0.75}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path)
    directory.create(plan_of(directory))
    directory.status.clear(1)
    directory.status.write(0, phase="build", steps_per_epoch=10)
    return directory


def plan_of(run: RunDirectory) -> TrainPlan:
    fit = FitConfig(epochs=3, batch_size=4)
    return TrainPlan(shards="", run=str(run.path), fit=fit, cluster=ClusterConfig(num_workers=2))


def test_phases_before_the_first_step_are_named_once(run: RunDirectory) -> None:
    seen: list[Progress] = []
    progress = TrainingProgress(run, plan_of(run), seen.append)
    for phase in ("import", "import", "build", "build"):
        run.status.write(0, phase=phase)
        progress.report()
    assert [item.message for item in seen] == ["importing TensorFlow", "compiling the network"]


def test_steps_are_examples_of_the_epoch(run: RunDirectory) -> None:
    seen: list[Progress] = []
    progress = TrainingProgress(run, plan_of(run), seen.append)
    run.status.write(0, phase="step", step=4)
    progress.report()
    run.append_metrics(ROW)
    run.status.write(0, phase="step", step=13)
    progress.report()
    first, message, second = seen
    assert (first.stage, first.done, first.total, first.unit) == ("epoch 1/3", 32, 80, "examples")
    assert message.message == epoch_line(ROW, 3)
    assert (second.stage, second.done, second.detail) == ("epoch 2/3", 24, "best 0.750")


def test_an_epoch_that_has_ended_has_no_bar(run: RunDirectory) -> None:
    seen: list[Progress] = []
    run.append_metrics(ROW)
    run.status.write(0, phase="validate", step=10)
    TrainingProgress(run, plan_of(run), seen.append).report()
    assert [item.message for item in seen] == [epoch_line(ROW, 3)]


def test_the_line_of_an_epoch_fits_80_columns() -> None:
    line = epoch_line({**ROW, "epoch": 100.0, "loss": 12.3456}, 100)
    assert line == "epoch 100/100: loss 12.3456, accuracy 0.500, val_loss 1.2500, val_accuracy 0.750"
    assert len(line) <= 80
