"""Driver and workers must see the same folders; this is checked before the work and before the commit mark."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from support.own_folder import own_folder
from support.spark_standalone import standalone_cluster

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import EngineConfig, FeatureConfig, Progress
from hybridspeech.errors import ConfigError, ShardError
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.shared_storage import probed_storage

SMALL = FeatureConfig(kind="logmel", n_mels=16, hop_length=400)
CHECK = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1])).check()"


def check_elsewhere(storage: object, private: Path) -> str:
    """Return the last line of the error of a worker that does not see `private`; empty if it sees all."""
    command = [*own_folder(private, "elsewhere"), sys.executable, "-c", CHECK, pickle.dumps(storage).hex()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


@pytest.mark.slow
def test_a_worker_that_does_not_see_output_or_source_names_both_hosts(tones: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "other").mkdir()
    with probed_storage(str(tmp_path / "out"), read_manifest(tones).clips) as storage:
        storage.check()
        assert check_elsewhere(storage, tmp_path / "other") == ""
        error = check_elsewhere(storage, tmp_path / "out")
        assert (
            f"{tmp_path}/out of the driver (host {storage.driver_host}) is not visible to a worker (host elsewhere)"
            in error
        )
        assert "not on shared storage" in error
        assert "the source file" in check_elsewhere(storage, tones)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_shard_that_the_driver_does_not_see_stops_the_commit(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def remove(progress: Progress) -> None:
        if progress.stage == "shards" and progress.done == progress.total:
            (out / "training-00000-of-00002.tfrecord").unlink()

    with pytest.raises(
        ShardError, match=r"training-00000-of-00002.tfrecord: missing .*written on .*not on shared storage"
    ):
        preprocess(tones, out, features=SMALL, shards=ShardConfig(num_shards=2), engine="local", on_progress=remove)
    assert not (out / "index.json").exists()


@pytest.mark.cluster
def test_a_cluster_without_shared_storage_is_refused_before_any_work(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with standalone_cluster(tmp_path, num_workers=1, private=out) as master:
        config = EngineConfig(master=master, num_executors=1, executor_cores=1, executor_memory="512m")
        with pytest.raises(ConfigError, match=r"out of the driver .* not visible to a worker \(host elsewhere\)"):
            preprocess(tones, out, features=SMALL, engine="spark", engine_config=config)
    assert not list(out.glob("*.tfrecord"))
    assert not (out / "index.json").exists()
