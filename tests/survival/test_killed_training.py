"""The command that trains is killed or told to end: its workers, JVMs and Rays end too, and a resume goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harm import job

from hybridspeech.checkpoints import places
from hybridspeech.config import FeatureConfig
from hybridspeech.preprocess import preprocess
from hybridspeech.runs import RunDirectory


@pytest.fixture(scope="module")
def shards(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "shards"
    preprocess(clips, out, features=FeatureConfig.of("logmel", n_mels=24, hop_length=500), engine="local")
    return out


def command(shards: Path, run: Path, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "hybridspeech",
        "train",
        str(shards),
        str(run),
        "--model",
        "cnn",
        "--batch-size",
        "8",
        *options,
    ]


def has_checkpoint(run: Path) -> bool:
    return bool(places(RunDirectory(run)))


@pytest.mark.cluster
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("backend", "number", "code"), [("tfos", signal.SIGTERM, 128 + 15), ("ray", signal.SIGKILL, -9)]
)
def test_nothing_of_a_training_outlives_its_command(
    backend: str, number: signal.Signals, code: int, shards: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with job(command(shards, run, "--backend", backend, "--num-workers", "2", "--epochs", "500")) as running:
        running.run_until(lambda: has_checkpoint(run))
        assert running.child.poll() is None
        os.kill(running.child.pid, number)
        assert running.left() == []
        assert running.child.wait(timeout=30) == code
    assert not RunDirectory(run).is_finished()


def test_a_training_that_was_told_to_end_goes_on(shards: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with job(command(shards, run, "--backend", "local", "--epochs", "500")) as running:
        running.run_until(lambda: has_checkpoint(run))
        os.kill(running.child.pid, signal.SIGTERM)
        assert running.child.wait(timeout=30) == 128 + signal.SIGTERM
    done = places(RunDirectory(run))[-1].epochs
    options = ("--backend", "local", "--epochs", str(done + 1), "--resume")
    again = subprocess.run(command(shards, run, *options), capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert f"epoch {done + 1} " in again.stderr
    assert RunDirectory(run).is_finished()
