"""Trainings into a run on a store, on hosts without a shared disk, one of which is powered off."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.cluster_hosts import MASTER, ClusterHosts, cluster_hosts
from support.small_trainings import FIT_OF_TWO_WORKERS, TWO_WORKERS, curve, train

from hybridspeech.commands.train import TrainResult

EPOCHS = 40
TRAINING = (
    *("--recipe", "report", "--model", "cnn", "--epochs", str(EPOCHS), "--batch-size", "4", "--deterministic"),
    *("--num-workers", "2", "--threads-per-worker", "1", "--executor-memory", "512m"),
    *("--stall-timeout", "60", "--json"),
)


@pytest.fixture
def undisturbed(small_shards: Path, tmp_path: Path) -> TrainResult:
    fit = replace(FIT_OF_TWO_WORKERS, epochs=EPOCHS, checkpoint_steps=0)
    return train(small_shards, tmp_path / "run", fit=fit, cluster=TWO_WORKERS, backend="tfos")


@pytest.fixture
def cluster(undisturbed: TrainResult, small_shards: Path) -> Iterator[ClusterHosts]:
    with cluster_hosts() as started:
        started.upload(small_shards, f"{started.bucket}/shards")
        yield started


def command(cluster: ClusterHosts, *options: str) -> list[str]:
    place = ("--backend", "tfos", "--master", cluster.master)
    return ["train", f"{cluster.bucket}/shards", f"{cluster.bucket}/run", *place, *TRAINING, *options]


def kill_the_host_of_the_chief(cluster: ClusterHosts, training: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait until some epochs are on the store; returns their number, and the name of the host."""
    while True:
        stored = cluster.stored(f"{cluster.bucket}/run")
        if stored["epochs"] >= 3:
            break
        assert training.poll() is None
        time.sleep(0.5)
    cluster.hosts.kill(int(stored["hosts"][0].removeprefix("host")))
    return int(stored["epochs"]), stored["hosts"][0]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_training_is_resumed_from_the_store_after_the_host_with_the_only_local_copy_is_lost(
    cluster: ClusterHosts, undisturbed: TrainResult
) -> None:
    log = cluster.hosts.shared / "training.log"
    arguments = [sys.executable, "-m", "hybridspeech", *command(cluster)]
    training = cluster.hosts.start(MASTER, arguments, cluster.variables, log)
    saved, lost = kill_the_host_of_the_chief(cluster, training)
    cluster.start_worker(MASTER)
    assert training.wait(300) == 1, log.read_text()[-3000:]
    sys.stderr.write(log.read_text()[-1000:])
    last = log.read_text().splitlines()[-1]
    assert "error: " in last
    assert f"on {lost})" in last
    cluster.await_worker(MASTER)
    resumed = cluster.hybridspeech(*command(cluster, "--resume"))
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert saved < EPOCHS
    assert curve(replace(undisturbed, history=tuple(json.loads(resumed.stdout)["history"]))) == curve(undisturbed)
