"""The backend `ray` in a cluster that another process has started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybridspeech.backends.ray import RayBackend
from hybridspeech.clusters.ray_session import ray_environment
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError
from hybridspeech.processes.environment import python_path
from hybridspeech.processes.supervision import GuardedProcess
from hybridspeech.training.plan import TrainPlan, WorkerReport

pytestmark = pytest.mark.cluster

START = """
import os, ray, sys, time
ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80 * 1024**2,
         _node_ip_address="127.0.0.1", _temp_dir=os.getcwd())
with open(sys.argv[1], "w") as file:
    file.write(ray.get_runtime_context().gcs_address + "\\n")
def wait_for(state):
    while not os.path.exists(sys.argv[1] + "." + state):
        time.sleep(0.1)
@ray.remote(num_cpus=1)
class Tenant:
    def is_in(self):
        return True
wait_for("busy")
tenant = Tenant.remote()
ray.get(tenant.is_in.remote())
open(sys.argv[1] + ".busy.done", "w").close()
wait_for("old")
import json
from ray._common.usage import usage_constants, usage_lib
client = ray._private.worker.global_worker.gcs_client
metadata = {**usage_lib.get_cluster_metadata(client), "python_version": "3.9.1"}
client.internal_kv_put(usage_constants.CLUSTER_METADATA_KEY, json.dumps(metadata).encode(), True, b"cluster")
open(sys.argv[1] + ".old.done", "w").close()
time.sleep(600)
"""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a Ray with one CPU in another process; yields its address."""
    for name, value in {**ray_environment(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}.items():
        monkeypatch.setenv(name, value)
    env, said = {**os.environ, "PYTHONPATH": python_path()}, tmp_path / "address"
    with GuardedProcess([sys.executable, "-c", START, str(said)], env=env, log=tmp_path / "log") as process:
        deadline = time.monotonic() + 120
        while not (said.exists() and said.read_text().endswith("\n")):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield said.read_text().strip()


def change_ray(state: str, tmp_path: Path) -> None:
    """Change the Ray of `address`: "busy" occupies its CPU, "old" makes it report another version of Python."""
    (tmp_path / f"address.{state}").touch()
    deadline = time.monotonic() + 120
    while not (tmp_path / f"address.{state}.done").exists():
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.1)


def test_a_joined_ray_is_used_kept_and_checked(address, tmp_path):
    def worker(plan, context):
        return WorkerReport(rank=context.rank, values={"plan": plan.backend})

    def plan(num_workers: int, start_timeout_s: float = 300) -> TrainPlan:
        cluster = ClusterConfig(num_workers=num_workers, ray_address=address, start_timeout_s=start_timeout_s)
        return TrainPlan(shards="", run=str(tmp_path / "run"), backend="ray", cluster=cluster)

    with pytest.raises(BackendError, match=rf"the Ray at {address} has 1 CPU\(s\), and 2 workers need 2; add nodes"):
        RayBackend().run(plan(2), worker)
    assert [report.values["plan"] for report in RayBackend().run(plan(1), worker)] == ["ray"]
    change_ray("busy", tmp_path)
    with pytest.raises(BackendError, match=r"0 of 1 workers started within 10 s; .*: 0; each worker needs 1 free CPU"):
        RayBackend().run(plan(1, start_timeout_s=10), worker)
    change_ray("old", tmp_path)
    with pytest.raises(BackendError, match=r"Version mismatch.*3\.9\.1.*; use this Python and this Ray on every node"):
        RayBackend().run(plan(1), worker)
