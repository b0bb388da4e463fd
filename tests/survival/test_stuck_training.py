"""A stalled rank is named with its phase; no process is left.

`backends/test_backend_contract.py` has a stalled worker on every backend, `backends/test_rank_monitor.py` every phase.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import psutil
import pytest
from support.worker_faults import FaultyBackend, stop_process

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import train
from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.errors import WorkerError
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.config import FitConfig
from hybridspeech.training.partition import rank_shards

FIT = FitConfig(epochs=500, batch_size=8)
CLUSTER = ClusterConfig(num_workers=2, threads_per_worker=1, stall_timeout_s=30)
BACKENDS = pytest.mark.parametrize("backend", ["tfos", "ray"])

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.timeout(240)]


@pytest.fixture
def shards(clips: Path, tmp_path: Path) -> Path:
    features = FeatureConfig(kind="logmel", n_mels=24, hop_length=500)
    preprocess(clips, tmp_path / "shards", features=features, engine="local")
    return tmp_path / "shards"


def become_a_pipe(shard: Path) -> None:
    """Replace a shard by a pipe, so that reading it never ends, as from a file server that does not answer."""
    shard.unlink()
    os.mkfifo(shard)


@BACKENDS
def test_a_stalled_reader_is_named(backend: str, shards: Path, tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    victim = shards / rank_shards(ShardIndex.load(shards), "training", 1, 2)[0].name
    faulty = FaultyBackend(backend, 0, tmp_path / "fault-injected", partial(become_a_pipe, victim), phase="build")
    with pytest.raises(WorkerError, match="worker 1 failed: no progress for 30 s, stalled in phase 'data' at step 0 "):
        train(shards, tmp_path / "run", fit=FIT, cluster=CLUSTER, model=ModelConfig(name="cnn"), backend=faulty)
    assert set(psutil.Process().children(recursive=True)) <= before


@BACKENDS
def test_a_stopped_rank_is_named_although_the_others_made_no_progress_before(
    backend: str, shards: Path, tmp_path: Path
) -> None:
    before = set(psutil.Process().children(recursive=True))
    faulty = FaultyBackend(backend, 40, tmp_path / "fault-injected", stop_process)
    message = (
        r"worker 1 failed: no progress for [\d.]+ s, stalled in phase 'step' at step \d\d+, its process is stopped"
    )
    with pytest.raises(WorkerError, match=message):
        train(shards, tmp_path / "run", fit=FIT, cluster=CLUSTER, model=ModelConfig(name="cnn"), backend=faulty)
    assert set(psutil.Process().children(recursive=True)) <= before
