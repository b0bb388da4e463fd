"""Spark with authentication and Ray with a token on hosts whose only common storage is an S3 server on a further host."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.cluster_hosts import MASTER, SECRET, WORKERS, ClusterHosts, cluster_hosts
from support.ray_hosts import TOKEN, start_ray
from support.small_trainings import SMALL as FEATURES
from support.small_trainings import Attacked, curve

from hybridspeech.clusters.java import LIGHT_JVM
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import TrainResult
from hybridspeech.patches.raydp_datasets import JAVA_OPTIONS
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.storage.objects import list_files

SMALL = ("--features", "logmel", "--n-mels", "24", "--hop-length", "500")
TRAINING = (
    *("--recipe", "report", "--model", "cnn", "--epochs", "3", "--batch-size", "4", "--deterministic"),
    *("--checkpoint-steps", "4", "--num-workers", "2", "--threads-per-worker", "1", "--json"),
)
"""As FIT_OF_TWO_WORKERS and TWO_WORKERS."""


@pytest.fixture(scope="module")
def of_two_workers(attacked_training: Callable[[str], Attacked]) -> TrainResult:
    """Train on two workers on this machine; before the hosts start, whose ports the attack must not find."""
    return attacked_training("tfos").result


@pytest.fixture(scope="module")
def cluster(of_two_workers: TrainResult) -> Iterator[ClusterHosts]:
    with cluster_hosts() as started:
        yield started


def command_lines() -> Iterator[str]:
    for process in psutil.process_iter(["cmdline"]):
        yield " ".join(process.info["cmdline"] or ())


@pytest.fixture(scope="module")
def shards(cluster: ClusterHosts, tones: Path) -> dict[str, Any]:
    """Preprocess clips of the store to shards there."""
    cluster.upload(tones, f"{cluster.bucket}/clips")
    done = cluster.hybridspeech(
        *("preprocess", f"{cluster.bucket}/clips", f"{cluster.bucket}/shards", *SMALL),
        *("--master", cluster.master, "--executor-memory", "512m", "--json"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


@pytest.mark.cluster
def test_shards_from_three_hosts_are_those_of_one_process(
    cluster: ClusterHosts, shards: dict[str, Any], small_shards: Path
) -> None:
    assert shards["digest"] == ShardIndex.load(small_shards).digest
    logs = [cluster.log_of_worker(host).read_text() for host in WORKERS]
    assert all("Launched executor" in log or "Asked to launch executor" in log for log in logs)
    assert not any(SECRET in line for line in command_lines())


@pytest.mark.cluster
def test_ranks_of_spark_on_two_hosts_train_into_a_run_on_the_store(
    cluster: ClusterHosts, shards: dict[str, Any], of_two_workers: TrainResult
) -> None:
    run = f"{cluster.bucket}/run-tfos"
    done = cluster.hybridspeech(
        *("train", f"{cluster.bucket}/shards", run, "--backend", "tfos", "--master", cluster.master),
        *("--executor-memory", "512m", *TRAINING),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    check_training(cluster, run, json.loads(done.stdout), of_two_workers, {"host1", "host2"})


def check_training(
    cluster: ClusterHosts, run: str, result: dict[str, Any], reference: TrainResult, hosts: set[str]
) -> None:
    """Check curve, hosts and files of a training with two ranks into a run on the store."""
    assert curve(replace(reference, history=tuple(result["history"]))) == curve(reference)
    stored = cluster.stored(run)
    assert set(stored["hosts"]) == hosts
    local = [stat.name for stat in list_files(reference.run_dir)]
    assert names_of(stored["names"]) == names_of(local)


def names_of(files: list[str]) -> set[str]:
    """Return the names of files; those of TensorBoard without host and time."""
    return {"tensorboard" if name.startswith("tensorboard/") else name for name in files}


@pytest.mark.cluster
def test_doctor_names_the_host_without_the_storage(cluster: ClusterHosts) -> None:
    scratch = cluster.hosts.shared / "scratch"
    scratch.mkdir()
    done = cluster.hybridspeech("doctor", "--master", cluster.master, "--storage", str(scratch), "--json")
    checks = json.loads(done.stdout)["checks"]
    assert done.returncode == 0, [check for check in checks if check["status"] == "failed"]
    nodes = {cluster.hosts.address(host) for host in WORKERS}
    assert {check["node"] for check in checks} == nodes | {"driver"}
    reached = [check["value"] for check in checks if check["subject"] == "ports"]
    assert reached == ["reached 1 other node(s)"] * 2
    assert {check["status"] for check in checks if check["subject"] == "secret"} == {"ok"}

    private = cluster.hybridspeech("doctor", "--master", cluster.master, "--storage", "/tmp", "--json")
    assert private.returncode == 1
    failed = [check for check in json.loads(private.stdout)["checks"] if check["status"] == "failed"]
    assert {check["node"] for check in failed} == nodes
    assert {check["subject"] for check in failed} == {"storage"}
    assert all("not shared with this node" in check["value"] for check in failed)


@pytest.fixture(scope="module")
def ray_address(cluster: ClusterHosts) -> str:
    """Start Ray on hosts 0 and 1, with what the JVMs of RayDP need."""
    spark = {"JDK_JAVA_OPTIONS": f"{LIGHT_JVM} {JAVA_OPTIONS}", "_SPARK_AUTH_SECRET": SECRET}
    return start_ray(cluster.hosts, {**cluster.variables, **TOKEN, **spark}, cpus=2)


@pytest.mark.cluster
def test_ranks_of_ray_on_two_hosts_train_into_a_run_on_the_store(
    cluster: ClusterHosts, ray_address: str, shards: dict[str, Any], of_two_workers: TrainResult
) -> None:
    run = f"{cluster.bucket}/run-ray"
    done = cluster.hybridspeech(
        *("train", f"{cluster.bucket}/shards", run, "--backend", "ray", "--ray-address", ray_address, *TRAINING),
        **TOKEN,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    check_training(cluster, run, json.loads(done.stdout), of_two_workers, {"host0", "host1"})


@pytest.mark.cluster
def test_spark_on_a_joined_ray_makes_the_shards_of_one_process(
    cluster: ClusterHosts, ray_address: str, shards: dict[str, Any]
) -> None:
    done = cluster.hybridspeech(
        *("preprocess", f"{cluster.bucket}/clips", f"{cluster.bucket}/shards-raydp", *SMALL, "--engine", "raydp"),
        *("--ray-address", ray_address, "--executor-memory", "512m", "--num-executors", "2", "--json"),
        **TOKEN,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["digest"] == shards["digest"]


@pytest.mark.cluster
def test_run_on_a_joined_ray_gives_the_curve_of_train(
    cluster: ClusterHosts, ray_address: str, shards: dict[str, Any], of_two_workers: TrainResult
) -> None:
    run = f"{cluster.bucket}/run-without-shards"
    done = cluster.hybridspeech(
        *("run", f"{cluster.bucket}/clips", run, *SMALL, "--backend", "ray", "--ray-address", ray_address),
        *TRAINING,
        **TOKEN,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert curve(replace(of_two_workers, history=tuple(json.loads(done.stdout)["history"]))) == curve(of_two_workers)


@pytest.mark.cluster
def test_a_host_that_is_powered_off_during_its_task_does_not_change_the_shards(
    cluster: ClusterHosts, shards: dict[str, Any], tones: Path, tmp_path: Path
) -> None:
    """The last test of this cluster: one of its hosts is gone afterwards."""
    undisturbed = preprocess(
        tones, tmp_path / "local", features=FEATURES, shards=ShardConfig(num_shards=4), engine="local"
    )
    before = cluster.executors(WORKERS[1])
    options = (*SMALL, "--shards", "4", "--master", cluster.master, "--executor-memory", "512m", "--json")
    command = ["preprocess", f"{cluster.bucket}/clips", f"{cluster.bucket}/shards-of-one-host", *options]
    log = cluster.hosts.shared / "preprocess.log"
    job = cluster.hosts.start(MASTER, [sys.executable, "-m", "hybridspeech", *command], cluster.variables, log)
    while not any("Running task" in log.read_text() for log in cluster.executors(WORKERS[1]) - before):
        assert job.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
    cluster.hosts.kill(WORKERS[1])
    assert job.wait(240) == 0, log.read_text()[-3000:]
    assert json.loads(log.read_text().splitlines()[-1])["digest"] == undisturbed.digest
