"""`train` is killed with SIGKILL: its workers, JVMs and Ray processes end too. Other signals: test_interrupted_training."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.process_faults import command_of_training, job

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import FeatureConfig
from hybridspeech.training.checkpoints import places
from hybridspeech.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def shards(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "shards"
    preprocess(clips, out, features=FeatureConfig(kind="logmel", n_mels=24, hop_length=500), engine="local")
    return out


@pytest.mark.cluster
@pytest.mark.timeout(400)
@pytest.mark.parametrize("backend", [pytest.param("tfos", marks=pytest.mark.soak), "ray"])
def test_no_process_of_a_training_outlives_its_command(backend: str, shards: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    options = ("--backend", backend, "--num-workers", "2", "--epochs", "500", "--batch-size", "8", "--model", "cnn")
    with job(command_of_training(shards, run.path, *options)) as running:
        running.run_until(lambda: bool(places(run)))
        assert running.child.poll() is None
        os.kill(running.child.pid, signal.SIGKILL)
        assert running.left() == []
    assert not run.is_finished()
