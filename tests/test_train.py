"""The verb `train` and the loop behind it: on one local worker, and on both cluster backends with two."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hybridspeech.config import ClusterConfig, FeatureConfig, FitConfig, Progress
from hybridspeech.errors import ConfigError, OutputExistsError, RunError, ShardError, WorkerError
from hybridspeech.evaluate import evaluate
from hybridspeech.preprocess import preprocess
from hybridspeech.runs import RunDirectory
from hybridspeech.train import TrainResult, train

SMALL = FeatureConfig.of("logmel", n_mels=24, hop_length=500)
FIT = FitConfig(epochs=3, batch_size=8, deterministic=True)


@pytest.fixture(scope="module")
def shards(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "shards"
    preprocess(tones, out, features=SMALL, engine="local")
    return out


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(shards, tmp_path_factory.mktemp("run") / "run", fit=FIT, backend="local")


def curve(result: TrainResult) -> list[float]:
    return [row[name] for row in result.history for name in ("loss", "accuracy", "val_loss", "val_accuracy")]


def test_the_loss_falls_and_words_are_learnt(trained: TrainResult) -> None:
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < losses[0] / 2
    assert trained.history[-1]["accuracy"] > 0.9


def test_the_run_directory_explains_itself(trained: TrainResult, shards: Path) -> None:
    run = RunDirectory(trained.run_dir)
    plan = run.require_finished()
    assert (plan.digest, plan.labels) == (
        json.loads((shards / "index.json").read_text())["digest"],
        ("high", "low", "middle"),
    )
    assert run.labels_path.read_text().split() == ["high", "low", "middle"]
    assert run.read_metrics() == list(trained.history)
    assert [path.name for path in sorted(run.checkpoints_dir.iterdir())] == ["epoch-0002", "epoch-0003"]
    assert list(run.tensorboard_dir.iterdir())
    assert run.read_status(0)["state"] == "finished"


def test_validation_counts_each_example_once(trained: TrainResult, shards: Path) -> None:
    measured = evaluate(trained.run_dir, shards, split="validation")
    assert trained.history[-1]["val_accuracy"] == pytest.approx(measured.accuracy, abs=1e-6)
    assert trained.history[-1]["val_loss"] == pytest.approx(measured.loss, abs=1e-4)


def test_the_same_seed_gives_the_same_curve(trained: TrainResult, shards: Path, tmp_path: Path) -> None:
    again = train(shards, tmp_path / "run", fit=FIT, backend="local")
    assert curve(again) == pytest.approx(curve(trained), abs=1e-5)


def test_resume_goes_on_from_the_last_checkpoint(trained: TrainResult, shards: Path, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def stop_after_two(progress: Progress) -> None:
        if progress.stage == "epochs" and progress.done == 2:
            raise Interrupted

    run = tmp_path / "run"
    first = train(shards, run, fit=FitConfig(epochs=2, batch_size=8, deterministic=True), backend="local")
    result = train(shards, run, fit=FIT, backend="local", resume=True)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert result.history[:2] == first.history
    assert result.history[2]["loss"] < first.history[1]["loss"] * 1.5


def test_a_loss_that_is_not_finite_is_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"worker 0 failed: ArithmeticError: loss is nan at step \d+"):
        train(shards, tmp_path / "run", fit=FitConfig(epochs=2, batch_size=8, learning_rate=1e30), backend="local")
    assert not RunDirectory(tmp_path / "run").is_finished()


def test_what_can_not_work_is_said_before_anything_starts(shards: Path, tmp_path: Path, trained: TrainResult) -> None:
    with pytest.raises(ConfigError, match=r"8 shards for 9 workers"):
        train(shards, tmp_path / "run", cluster=ClusterConfig(num_workers=9), backend="tfos")
    with pytest.raises(ShardError, match=r"index\.json"):
        train(tmp_path, tmp_path / "run", backend="tfos")
    assert not (tmp_path / "run").exists()
    with pytest.raises(OutputExistsError):
        train(shards, trained.run_dir, backend="local")
    with pytest.raises(RunError, match="other batch size"):
        train(shards, trained.run_dir, fit=FitConfig(batch_size=9), backend="local", resume=True)


@pytest.fixture(scope="module")
def of_two_workers(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainResult]:
    """The same training on two workers of each cluster backend."""
    return {
        backend: train(
            shards,
            tmp_path_factory.mktemp(backend) / "run",
            fit=replace(FIT, batch_size=4),
            cluster=ClusterConfig(num_workers=2, threads_per_worker=1),
            backend=backend,
        )
        for backend in ("tfos", "ray")
    }


@pytest.mark.cluster
def test_two_workers_give_one_curve_on_every_backend(of_two_workers: dict[str, TrainResult]) -> None:
    assert curve(of_two_workers["tfos"]) == pytest.approx(curve(of_two_workers["ray"]), abs=1e-4)


@pytest.mark.cluster
@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_two_workers_learn_and_validate_each_example_once(
    of_two_workers: dict[str, TrainResult], shards: Path, backend: str
) -> None:
    result = of_two_workers[backend]
    measured = evaluate(result.run_dir, shards, split="validation")
    assert result.history[-1]["accuracy"] > 0.75
    assert result.history[-1]["val_accuracy"] == pytest.approx(measured.accuracy, abs=1e-6)
    assert result.history[-1]["val_loss"] == pytest.approx(measured.loss, abs=1e-4)
    assert (result.global_batch_size, result.steps_per_epoch) == (8, 11)


@pytest.mark.cluster
@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_one_worker_gives_the_curve_of_the_reference(
    backend: str, shards: Path, tmp_path: Path, trained: TrainResult
) -> None:
    result = train(shards, tmp_path / "run", fit=FIT, backend=backend)
    assert curve(result) == pytest.approx(curve(trained), abs=1e-5)
