"""Spark with authentication and Ray with a token on hosts whose only common storage is an S3 server on a further host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.cluster_hosts import SECRET, WORKERS, ClusterHosts, cluster_hosts
from support.ray_hosts import TOKEN, start_ray
from support.small_trainings import Attacked, curve

from hybridspeech.commands.train import TrainResult
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
    """Start Ray on hosts 0 and 1."""
    return start_ray(cluster.hosts, {**cluster.variables, **TOKEN}, cpus=2)


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
