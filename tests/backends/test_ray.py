"""What is Ray's own: joining a cluster that somebody else has started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybridspeech.backends.ray import RayBackend
from hybridspeech.config import ClusterConfig, TrainPlan, WorkerReport
from hybridspeech.errors import BackendError
from hybridspeech.processes import GuardedProcess
from hybridspeech.runtime import python_path, ray_environment

pytestmark = pytest.mark.cluster

START = """
import os, ray, sys, time
ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80 * 1024**2,
         _node_ip_address="127.0.0.1", _temp_dir=os.getcwd())
with open(sys.argv[1], "w") as file:
    file.write(ray.get_runtime_context().gcs_address + "\\n")
time.sleep(600)
"""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a Ray with one CPU, in another process."""
    for name, value in {**ray_environment(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}.items():
        monkeypatch.setenv(name, value)
    env, said = {**os.environ, "PYTHONPATH": python_path()}, tmp_path / "address"
    with GuardedProcess([sys.executable, "-c", START, str(said)], env=env, log=tmp_path / "log") as process:
        deadline = time.monotonic() + 120
        while not (said.exists() and said.read_text().endswith("\n")):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield said.read_text().strip()


def test_a_joined_ray_is_used_and_stays_and_its_cpus_are_counted(address, tmp_path):
    def worker(plan, context):
        return WorkerReport(rank=context.rank, values={"plan": plan.backend})

    def plan(num_workers: int) -> TrainPlan:
        cluster = ClusterConfig(num_workers=num_workers, ray_address=address)
        return TrainPlan(shards="", run=str(tmp_path / "run"), backend="ray", cluster=cluster)

    with pytest.raises(BackendError, match=rf"the Ray at {address} has 1 CPU\(s\), and 2 workers need 2; add nodes"):
        RayBackend().run(plan(2), worker)
    assert [report.values["plan"] for report in RayBackend().run(plan(1), worker)] == ["ray"]
