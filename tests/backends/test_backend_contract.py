"""The contract of training backends; every backend in BACKENDS is tested.

The workers do not use TensorFlow. A cluster starts slowly, so each run checks several properties.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from hybridspeech.backends import BACKENDS
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import WorkerError
from hybridspeech.training.config import FitConfig
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory

CLUSTERS = [pytest.param(name, marks=pytest.mark.cluster) for name in BACKENDS.names() if name != "local"]
ALL = ["local", *CLUSTERS]


@pytest.fixture
def plan(tmp_path: Path) -> TrainPlan:
    plan = TrainPlan(
        shards="/data/shards",
        run=str(tmp_path / "run"),
        labels=("no", "yes"),
        fit=FitConfig(epochs=3, learning_rate=0.02),
        cluster=ClusterConfig(num_workers=1, executor_memory="512m"),
    )
    RunDirectory(plan.run).create(plan)
    return plan


def with_workers(plan: TrainPlan, num_workers: int, **settings: float) -> TrainPlan:
    cluster = dataclasses.replace(plan.cluster, num_workers=num_workers, **settings)
    return dataclasses.replace(plan, cluster=cluster)


@pytest.mark.parametrize("name", CLUSTERS)
def test_two_workers_have_one_cluster_listen_on_loopback_and_run_in_scratch_folders(name, plan):
    def worker(plan, context):
        sys.stdout.write(f"said by rank {context.rank}\n")
        guardian = next(
            each for each in psutil.Process().parents() if "hybridspeech.processes.supervision" in each.cmdline()
        )
        hosts = set()
        for process in guardian.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                sockets = process.net_connections("inet")
                hosts |= {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
        names = ("TF_CONFIG", "TF_USE_LEGACY_KERAS", "OMP_NUM_THREADS")
        values = {"hosts": sorted(hosts), "folder": str(Path.cwd()), **{name: os.environ[name] for name in names}}
        return WorkerReport(rank=context.rank, values=values)

    reports = BACKENDS.load(name)().run(with_workers(plan, 2, threads_per_worker=3), worker)
    assert [report.rank for report in reports] == [0, 1]
    configs = [json.loads(report.values["TF_CONFIG"]) for report in reports]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert len({address for job in configs[0]["cluster"].values() for address in job}) == 2
    assert [rank_of(config) for config in configs] == [0, 1]
    for report in reports:
        assert report.values["hosts"] in (["127.0.0.1"], ["127.0.0.1", "::ffff:127.0.0.1"])
        assert report.values["folder"].startswith(tempfile.gettempdir())
        assert (report.values["TF_USE_LEGACY_KERAS"], report.values["OMP_NUM_THREADS"]) == ("1", "3")
        assert f"said by rank {report.rank}\n" in RunDirectory(plan.run).log_path(report.rank).read_text()


def rank_of(config: dict) -> int:
    """Rank by TensorFlow's order: the chief, if there is one, then the workers."""
    cluster, task = config["cluster"], config["task"]
    return task["index"] + (len(cluster.get("chief", [])) if task["type"] == "worker" else 0)


@pytest.mark.parametrize("name", ALL)
def test_a_failure_names_rank_and_cause_and_the_next_run_works(name, plan, monkeypatch):
    last = 0 if name == "local" else 1
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["elsewhere:1"]}}')

    def fails_last(plan, context):
        if context.rank < plan.cluster.num_workers - 1:
            signal.pause()  # as a rank that waits for the others
        raise ValueError("loss is nan\nat step 12")

    def works(plan, context):
        context.report("step", step=7)
        values = {"plan": repr(plan), "chief": context.is_chief, "TF_CONFIG": os.environ.get("TF_CONFIG")}
        return WorkerReport(rank=context.rank, history=({"loss": 0.5},), num_examples=11, values=values)

    backend = BACKENDS.load(name)()
    with pytest.raises(WorkerError, match=f"worker {last} failed: ValueError: loss is nan at step 12") as caught:
        backend.run(with_workers(plan, last + 1), fails_last)
    assert (caught.value.rank, caught.value.cause) == (last, "ValueError: loss is nan at step 12")

    values = {"plan": repr(plan), "chief": True, "TF_CONFIG": None}
    expected = WorkerReport(rank=0, history=({"loss": 0.5},), num_examples=11, values=values)
    assert backend.run(plan, works) == [expected]
    assert RunDirectory(plan.run).status.read(0)["step"] == 7
    assert "elsewhere" in os.environ["TF_CONFIG"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_killed_worker_is_named(name, plan):
    def killed(plan, context):
        if context.rank == 0:
            signal.pause()
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerError, match=r"worker 1 failed: its process \d+ on .* was killed"):
        BACKENDS.load(name)().run(with_workers(plan, 2), killed)


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_stalled_worker_is_named_with_its_phase_and_step(name, plan):
    def stuck(plan, context):
        context.report("step", step=30 + context.rank)
        if context.rank == 1:
            signal.pause()
        for step in range(600):
            context.report("step", step=step)
            signal.sigtimedwait([], 0.1)

    with pytest.raises(WorkerError, match="worker 1 failed: no progress for 2 s, stalled in phase 'step' at step 31"):
        BACKENDS.load(name)().run(with_workers(plan, 2, stall_timeout_s=2), stuck)
