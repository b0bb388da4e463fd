"""Ctrl-C and SIGTERM during `train`: a checkpoint is saved, no process is left, and --resume gives the same curve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.process_faults import command_of_training, frozen_at_first_step, job

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import counted
from hybridspeech.training.checkpoints import places
from hybridspeech.training.run_directory import RunDirectory

OPTIONS = (
    "--model",
    "cnn",
    "--epochs",
    "2",
    "--batch-size",
    "8",
    "--deterministic",
    "--threads-per-worker",
    "1",
    "--json",
)
PATIENCE_S = 120.0
"""Time limit on a busy machine: the start of two workers, or the end of Ray's processes."""


@pytest.fixture(scope="module")
def shards(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "shards"
    preprocess(clips, out, features=FeatureConfig(kind="logmel", n_mels=24, hop_length=500), engine="local")
    return out


def finish(command: Sequence[str]) -> list[float]:
    """Return the curve of an undisturbed training."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return [row[name] for row in json.loads(done.stdout)["history"] for name in names]


@dataclass
class Curves:
    """Return the curve of an undisturbed training by number of workers; it is the same on all backends."""

    shards: Path
    folder: Path
    made: dict[int, list[float]]

    def of(self, num_workers: int) -> list[float]:
        if num_workers not in self.made:
            options = (
                *OPTIONS,
                "--backend",
                "local" if num_workers == 1 else "tfos",
                "--num-workers",
                str(num_workers),
            )
            self.made[num_workers] = finish(command_of_training(self.shards, self.folder / str(num_workers), *options))
        return self.made[num_workers]


@pytest.fixture(scope="module")
def undisturbed_curves(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Curves:
    return Curves(shards, tmp_path_factory.mktemp("undisturbed"), {})


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("backend", "num_workers", "number"),
    [
        pytest.param("local", 1, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("tfos", 2, signal.SIGTERM, marks=pytest.mark.cluster),
        pytest.param("ray", 2, signal.SIGINT, marks=pytest.mark.cluster),
    ],
)
def test_an_interrupted_training_saves_a_checkpoint_and_a_resume_gives_the_undisturbed_curve(
    backend: str, num_workers: int, number: signal.Signals, shards: Path, tmp_path: Path, undisturbed_curves: Curves
) -> None:
    run = RunDirectory(tmp_path / "run")
    command = command_of_training(shards, run.path, *OPTIONS, "--backend", backend, "--num-workers", str(num_workers))
    with job(command, stderr=tmp_path / "said") as running:
        with frozen_at_first_step(running, run):
            os.kill(running.child.pid, number)
            if backend != "local":
                running.run_until(run.status.is_stop_requested)
        assert running.left(PATIENCE_S) == []
        assert running.child.wait(timeout=30) == 128 + number
    said = (tmp_path / "said").read_text()
    (saved,) = places(run)
    assert (saved.epochs, 1 <= saved.steps < 30) == (0, True)
    assert f"stopped; 0 epochs and {counted(saved.steps, 'step')} of epoch 1 saved in {run.path}/checkpoints" in said
    assert "the same command with --resume continues" in said
    assert finish([*command, "--resume"]) == pytest.approx(undisturbed_curves.of(num_workers), abs=1e-5)
