"""The verb `train` and the loop behind it, on one local worker."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.process_traces import nothing_is_left
from support.small_trainings import FIT, SMALL, curve, train

from hybridspeech.commands.evaluate import evaluate
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import WAVEFORM_HINT, TrainResult
from hybridspeech.config import AugmentConfig, ClusterConfig, FeatureConfig
from hybridspeech.errors import (
    ConfigError,
    MissingExtraError,
    OutputExistsError,
    RunError,
    ShardError,
)
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.label_counts import count_labels
from hybridspeech.training.checkpoints import places
from hybridspeech.training.config import FitConfig
from hybridspeech.training.loop import has_stopped_improving
from hybridspeech.training.plan import TrainPlan, TrainRequest, WorkerReport, make_plan, shards_data
from hybridspeech.training.run_directory import RunDirectory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def everything_ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All the trainings of this module leave no process, port, thread or temporary file."""
    tmp_path_factory.getbasetemp()  # it must not be below the folder of this fixture
    with nothing_is_left():
        yield


def test_the_loss_decreases_and_accuracy_is_high(small_training: TrainResult) -> None:
    losses = [row["loss"] for row in small_training.history]
    assert losses[-1] < losses[0] / 2
    assert small_training.history[-1]["accuracy"] > 0.9


@pytest.mark.parametrize("backend", ["local", "tfos", "ray"])
def test_a_training_without_its_extra_makes_no_run_directory(
    backend: str, small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find_spec(name))
    with pytest.raises(
        MissingExtraError, match=r"backend '\w+' needs .*'tensorflow' is not installed\); run: pip install"
    ):
        train(small_shards, tmp_path / "run", backend=backend)
    assert not (tmp_path / "run").exists()


def test_the_run_directory_has_all_documented_files(small_training: TrainResult, small_shards: Path) -> None:
    run = RunDirectory(small_training.run_dir)
    plan = run.require_finished()
    assert (plan.digest, plan.labels) == (
        json.loads((small_shards / "index.json").read_text())["digest"],
        ("high", "low", "middle"),
    )
    assert run.labels_path.read_text().split() == ["high", "low", "middle"]
    assert run.read_metrics() == list(small_training.history)
    assert [path.name for path in sorted(run.checkpoints_dir.iterdir())] == ["epoch-0002", "epoch-0003"]
    assert list(run.tensorboard_dir.iterdir())
    assert run.status.read(0)["state"] == "finished"


def test_validation_counts_each_example_once(small_training: TrainResult, small_shards: Path) -> None:
    measured = evaluate(small_training.run_dir, small_shards, split="validation")
    assert small_training.history[-1]["val_accuracy"] == pytest.approx(measured.accuracy, abs=1e-6)
    assert small_training.history[-1]["val_loss"] == pytest.approx(measured.uncalibrated.loss, abs=1e-4)


def test_the_same_seed_gives_the_same_curve(small_training: TrainResult, small_shards: Path, tmp_path: Path) -> None:
    again = train(small_shards, tmp_path / "run", fit=FIT, backend="local")
    assert curve(again) == pytest.approx(curve(small_training), abs=1e-5)


def test_the_last_checkpoints_and_the_best_are_kept(
    small_training: TrainResult, small_shards: Path, tmp_path: Path
) -> None:
    fit = replace(FIT, epochs=5, learning_rate=0.2, keep_checkpoints=1)  # too high: the best epoch is not the last
    result = train(small_shards, tmp_path / "run", fit=fit, backend="local")
    best = min(result.history, key=lambda row: row["val_loss"])["epoch"]
    assert best != 5
    assert [place.epochs for place in places(RunDirectory(result.run_dir))] == [best, 5]


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_incomplete_shards_are_refused_before_training(small_shards: Path, tmp_path: Path, damage: str) -> None:
    copy = shutil.copytree(small_shards, tmp_path / "shards")
    damaged = sorted(copy.glob("training-*"))[2]
    damaged.unlink() if damage == "missing" else os.truncate(damaged, 100)
    with pytest.raises(ShardError, match=rf"{damaged.name}: .*1 incomplete shard in .*: preprocess again"):
        train(copy, tmp_path / "run", fit=FIT, backend="tfos")
    assert not (tmp_path / "run").exists()


def test_invalid_settings_are_refused_before_training(
    small_shards: Path, tmp_path: Path, small_training: TrainResult
) -> None:
    with pytest.raises(ConfigError, match=r"8 shards for 9 workers"):
        train(small_shards, tmp_path / "run", cluster=ClusterConfig(num_workers=9), backend="tfos")
    with pytest.raises(ShardError, match=r"index\.json"):
        train(tmp_path, tmp_path / "run", backend="tfos")
    assert not (tmp_path / "run").exists()
    with pytest.raises(OutputExistsError):
        train(small_shards, small_training.run_dir, backend="local")
    with pytest.raises(RunError, match="other batch size"):
        train(small_shards, small_training.run_dir, fit=FitConfig(batch_size=9), backend="local", resume=True)


@pytest.fixture(scope="module")
def waveforms(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("waveforms") / "shards"
    preprocess(tones, out, features=FeatureConfig(kind="waveform"), engine="local")
    return out


VARIED = replace(FIT, augment=AugmentConfig(time_shift_ms=50, gain_db=3, speed_percent=2, time_masks=1))


@pytest.fixture(scope="module")
def varied(waveforms: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Train with other augmentation in each epoch, on the reference backend."""
    return train(waveforms, tmp_path_factory.mktemp("run") / "run", features=SMALL, fit=VARIED, backend="local")


def test_training_on_waveforms_augments_them_and_learns(
    varied: TrainResult, waveforms: Path, small_shards: Path, small_training: TrainResult
) -> None:
    assert varied.history[-1]["accuracy"] > 0.75
    assert varied.history[-1]["loss"] != pytest.approx(small_training.history[-1]["loss"], abs=1e-4)
    by_waveforms, by_spectrograms = (
        evaluate(varied.run_dir, each, split="testing") for each in (waveforms, small_shards)
    )
    assert by_waveforms.accuracy == by_spectrograms.accuracy
    assert by_waveforms.loss == pytest.approx(by_spectrograms.loss, abs=1e-6)


@pytest.mark.soak
@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_one_worker_gives_the_curve_of_the_reference(
    backend: str, waveforms: Path, tmp_path: Path, varied: TrainResult
) -> None:
    result = train(waveforms, tmp_path / "run", features=SMALL, fit=VARIED, backend=backend)
    assert curve(result) == pytest.approx(curve(varied), abs=1e-5)


def test_early_stopping_ends_the_training_and_keeps_the_best_epoch(waveforms: Path, tmp_path: Path) -> None:
    fit = replace(VARIED, epochs=9, early_stopping=1, learning_rate=0.02)
    result = train(waveforms, tmp_path / "run", features=SMALL, fit=fit, backend="local")
    losses = [row["val_loss"] for row in result.history]
    assert len(losses) < 9
    assert losses[-1] > min(losses) == losses[-2]
    assert evaluate(result.run_dir, waveforms, split="validation").loss == pytest.approx(min(losses), abs=1e-4)


def test_early_stopping_counts_the_epochs_since_the_lowest_validation_loss() -> None:
    rows = [{"epoch": float(i + 1), "loss": 0.0, "val_loss": loss} for i, loss in enumerate((3.0, 1.0, 2.0, 1.5))]
    assert has_stopped_improving(rows, 2)
    assert not has_stopped_improving(rows, 3)
    assert not has_stopped_improving(rows[:2], 1)
    assert not has_stopped_improving(rows, 0)


def test_class_weights_are_inverse_to_the_number_of_clips_and_one_on_average(waveforms: Path, tmp_path: Path) -> None:
    request = TrainRequest(run=tmp_path, backend="local", cluster=ClusterConfig(), fit=FitConfig(class_weights=True))
    plan = make_plan(shards_data(ShardIndex.load(waveforms), waveforms, 1), request)
    counts = [count["training"] for count in count_labels(waveforms, ShardIndex.load(waveforms)).values()]
    weights = plan.label_weights
    assert [weight * count for weight, count in zip(weights, counts, strict=True)] == pytest.approx(
        [sum(counts) / 3] * 3
    )


def test_augmentation_that_the_shards_do_not_allow_is_refused(small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which changes the sound, but the data are logmel"):
        train(small_shards, tmp_path / "run", fit=VARIED, backend="local")


@pytest.mark.parametrize(("features", "is_told"), [(FeatureConfig(n_fft=256, hop_length=256), True), (SMALL, False)])
def test_after_stft_shards_it_tells_what_waveform_shards_give(
    tones: Path, tmp_path: Path, features: FeatureConfig, is_told: bool
) -> None:
    class Untrained:
        name = "local"

        def run(self, plan: TrainPlan, worker: object) -> list[WorkerReport]:
            row = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "examples_per_s": 1.0, "seconds": 1.0}
            return [WorkerReport(rank=0, history=(row,), first_step_at=1.0, finished_at=2.0)]

    notes: list[str] = []
    preprocess(tones, tmp_path / "shards", features=features, engine="local")
    train(tmp_path / "shards", tmp_path / "run", backend=Untrained(), on_progress=lambda p: notes.append(p.message))
    assert (WAVEFORM_HINT in notes) == is_told
