"""The backend `ray` in a cluster that another process has started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hybridspeech.backends.ray import RayBackend
from hybridspeech.clusters.ray_session import ray_environment
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError
from hybridspeech.processes.environment import python_path
from hybridspeech.processes.supervision import GuardedProcess
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.worker import WorkerContext

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


@dataclass(frozen=True)
class Joined:
    """A running Ray with one CPU: its address, and a folder through which it receives orders."""

    address: str
    folder: Path

    def change(self, state: str) -> None:
        """Change the Ray: "busy" occupies its CPU, "old" makes it report another version of Python."""
        (self.folder / f"address.{state}").touch()
        deadline = time.monotonic() + 120
        while not (self.folder / f"address.{state}.done").exists():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Joined]:
    """Start a Ray with one CPU in another process."""
    for name, value in {**ray_environment(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}.items():
        monkeypatch.setenv(name, value)
    env, said = {**os.environ, "PYTHONPATH": python_path()}, tmp_path / "address"
    with GuardedProcess([sys.executable, "-c", START, str(said)], env=env, log=tmp_path / "log") as process:
        deadline = time.monotonic() + 120
        while not (said.exists() and said.read_text().endswith("\n")):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield Joined(said.read_text().strip(), tmp_path)


def run_on(address: str, run: Path, num_workers: int = 1, start_timeout_s: float = 300) -> list[WorkerReport]:
    def worker(plan: TrainPlan, context: WorkerContext) -> WorkerReport:
        return WorkerReport(rank=context.rank, values={"plan": plan.backend})

    cluster = ClusterConfig(num_workers=num_workers, ray_address=address, start_timeout_s=start_timeout_s)
    return RayBackend().run(TrainPlan(shards="", run=str(run), backend="ray", cluster=cluster), worker)


def test_a_ray_that_refuses_the_token_is_named(joined: Joined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray reads a token from there too
    message = (
        rf"^the Ray at --ray-address {joined.address} refused this driver: its token is wrong or missing; set RAY_"
    )
    monkeypatch.setenv("RAY_AUTH_TOKEN", "1" * 64)
    with pytest.raises(BackendError, match=message):
        run_on(joined.address, tmp_path / "run")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with pytest.raises(BackendError, match=message):
        run_on(joined.address, tmp_path / "run")


def test_a_joined_ray_is_used_kept_and_checked(joined: Joined, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(
        BackendError, match=rf"the Ray at {joined.address} has 1 CPU\(s\), and 2 workers need 2; add nodes"
    ):
        run_on(joined.address, run, num_workers=2)
    reports = run_on(joined.address, run)
    assert [report.values["plan"] for report in reports] == ["ray"]
    joined.change("busy")
    with pytest.raises(BackendError, match=r"0 of 1 workers started within 10 s; .*: 0; each worker needs 1 free CPU"):
        run_on(joined.address, run, start_timeout_s=10)
    joined.change("old")
    with pytest.raises(BackendError, match=r"Version mismatch.*3\.9\.1.*; use this Python and this Ray on every node"):
        run_on(joined.address, run)
