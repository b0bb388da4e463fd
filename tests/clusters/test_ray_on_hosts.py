"""A Ray cluster with a token on two hosts: placement of ranks, and the error of `run` without JDK_JAVA_OPTIONS on nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.hosts import Hosts
from support.ray_hosts import TOKEN, start_ray

from hybridspeech.clusters.java import find_java

ROOT = Path(__file__).parents[2]
PLACES = """
import socket, sys
from hybridspeech.backends.ray import RayBackend
from hybridspeech.config import ClusterConfig
from hybridspeech.training.plan import TrainPlan, WorkerReport

def worker(plan, context):
    return WorkerReport(rank=context.rank, values={"host": socket.gethostname()})

cluster = ClusterConfig(num_workers=2, ray_address=sys.argv[2], placement=sys.argv[3])
reports = RayBackend().run(TrainPlan(shards=sys.argv[1], run=sys.argv[1], backend="ray", cluster=cluster), worker)
print("hosts", *sorted(report.values["host"] for report in reports))
"""


@dataclass
class RayHosts:
    """Two hosts, each with a raylet of three CPUs; host 0 has the head."""

    hosts: Hosts
    address: str
    variables: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self.hosts.run(0, [sys.executable, *command], self.variables, timeout_s=500)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayHosts]:
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="hybridspeech-hosts-") as folder,
        Hosts(Path(folder), 2) as hosts,
    ):
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{find_java() / 'bin'}:{os.environ['PATH']}",
            "HOME": os.environ["HOME"],
            "PYTHONPATH": str(ROOT),
            **TOKEN,
        }
        yield RayHosts(hosts, start_ray(hosts, variables), variables)


@pytest.mark.soak
@pytest.mark.parametrize(("placement", "expected"), [("spread", {"host0", "host1"}), ("pack", {"host0"})])
def test_ranks_are_placed_as_the_setting_says(cluster: RayHosts, placement: str, expected: set[str]) -> None:
    run = cluster.hosts.shared / placement
    run.mkdir()
    done = cluster.run("-c", PLACES, str(run), cluster.address, placement)
    assert done.returncode == 0, done.stderr[-3000:]
    found = next(line for line in done.stdout.splitlines() if line.startswith("hosts")).split()[1:]
    assert len(found) == 2
    assert len(set(found)) == len(expected)


@pytest.mark.soak
def test_run_names_the_java_options_that_nodes_lack(cluster: RayHosts, tones: Path) -> None:
    clips, run = cluster.hosts.shared / "clips", cluster.hosts.shared / "run"
    shutil.copytree(tones, clips)
    options = ["--features", "logmel", "--epochs", "1", "--num-workers", "2", "--json"]
    done = cluster.run(
        "-m",
        "hybridspeech",
        "run",
        str(clips),
        str(run),
        "--backend",
        "ray",
        "--ray-address",
        cluster.address,
        *options,
    )
    assert done.returncode == 1, done.stderr[-4000:]
    assert "JDK_JAVA_OPTIONS in the environment of every `ray start`" in done.stderr
