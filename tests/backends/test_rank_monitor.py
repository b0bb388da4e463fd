"""The monitor of the ranks, with real status files. Time-outs are very short or very long, so that timing does not matter."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from hybridspeech.backends import rank_monitor
from hybridspeech.backends.base import execute
from hybridspeech.backends.rank_monitor import RankMonitor
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, WorkerError
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.worker import WorkerContext

HERE = {"pid": os.getpid(), "host": socket.gethostname()}


@pytest.fixture
def plan(tmp_path: Path) -> TrainPlan:
    return TrainPlan(shards="", run=str(tmp_path), cluster=ClusterConfig(num_workers=2))


@pytest.fixture
def run(plan: TrainPlan) -> RunDirectory:
    directory = RunDirectory(plan.run)
    directory.workers_dir.mkdir()
    return directory


def with_limits(plan: TrainPlan, **limits: float) -> TrainPlan:
    return TrainPlan(shards="", run=plan.run, cluster=ClusterConfig(num_workers=2, **limits))


def gone() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_the_run_has_ended_when_all_ranks_have_finished(plan, run):
    monitor = RankMonitor(plan, "")
    assert not monitor.poll()
    execute(lambda plan, context: WorkerReport(rank=0), plan, 0)
    assert not monitor.poll()
    execute(lambda plan, context: WorkerReport(rank=1), plan, 1)
    assert monitor.poll()


def test_the_earliest_failure_counts_even_if_it_is_written_later(plan, run, monkeypatch):
    monkeypatch.setattr(rank_monitor, "FAILURE_DELAY_S", 600.0)
    monitor = RankMonitor(plan, "")
    run.status.write(0, state="running", **HERE, phase="step", step=3)
    run.status.write(1, state="failed", cause="UnavailableError: peer is gone", failed_at=200.0)
    assert not monitor.poll()
    run.status.write(0, state="failed", cause="ValueError: loss is nan", failed_at=100.0)
    with pytest.raises(WorkerError, match="worker 0 failed: ValueError: loss is nan"):
        monitor.poll()


def test_a_failure_is_reported_while_another_rank_hangs(plan, run, monkeypatch):
    monkeypatch.setattr(rank_monitor, "FAILURE_DELAY_S", 0.0)
    run.status.write(0, state="running", **HERE, phase="step", step=3)
    run.status.write(1, state="failed", cause="ValueError: loss is nan", failed_at=200.0)
    with pytest.raises(WorkerError, match="worker 1 failed: ValueError: loss is nan"):
        RankMonitor(plan, "").poll()


def test_a_process_that_has_ended_is_the_cause_of_later_failures(plan, run, monkeypatch):
    monkeypatch.setattr(rank_monitor, "FAILURE_DELAY_S", 0.0)
    run.status.write(0, state="running", pid=gone(), host=socket.gethostname(), phase="step", step=3)
    run.status.write(1, state="failed", cause="UnavailableError: peer is gone", failed_at=time.time() + 5)
    with pytest.raises(WorkerError, match=r"worker 0 failed: its process \d+ on .* was killed .*rank-000.log"):
        RankMonitor(plan, "").poll()


def running_elsewhere(run: RunDirectory, rank: int) -> subprocess.Popen[bytes]:
    """A process for a rank that is in a step."""
    process = subprocess.Popen(["sleep", "600"])
    run.status.write(rank, state="running", pid=process.pid, host=socket.gethostname(), phase="step", step=3)
    return process


def test_of_two_ranks_that_ended_between_two_polls_the_first_is_the_cause(plan, run, monkeypatch):
    monkeypatch.setattr(rank_monitor, "FAILURE_DELAY_S", 0.0)
    processes = [running_elsewhere(run, rank) for rank in range(2)]
    with contextlib.closing(RankMonitor(plan, "")) as monitor:
        monitor.poll()
        for rank in (1, 0):
            processes[rank].kill()
            processes[rank].wait()
        with pytest.raises(WorkerError, match=r"worker 1 failed: its process \d+ on .* was killed"):
            monitor.poll()


@pytest.mark.parametrize(
    ("cause", "blamed"), [("ShardError: damaged", "worker 0"), ("UnavailableError: peer is gone", "worker 1")]
)
def test_a_failure_between_two_polls_is_the_cause_of_a_lost_rank_unless_it_may_follow_from_it(
    cause, blamed, plan, run, monkeypatch
):
    monkeypatch.setattr(rank_monitor, "FAILURE_DELAY_S", 0.0)
    run.status.write(0, state="running", **HERE, phase="step", step=3)
    process = running_elsewhere(run, 1)
    with contextlib.closing(RankMonitor(plan, "")) as monitor:
        monitor.poll()
        run.status.write_failure(0, cause=cause)
        process.kill()
        process.wait()
        with pytest.raises(WorkerError, match=f"{blamed} failed"):
            monitor.poll()


def test_processes_of_other_machines_are_not_checked(plan, run):
    for rank in range(2):
        run.status.write(rank, state="running", pid=gone(), host="elsewhere", phase="step", step=3)
    assert not RankMonitor(plan, "").poll()


def fail_beside_a_rank_on_another_host(run: RunDirectory, cause: str) -> None:
    run.status.write(0, state="running", pid=7, host="host3", phase="step", step=3)
    run.status.write(1, state="failed", cause=cause, failed_at=200.0, pid=8, host="host2")


def test_a_rank_that_may_be_lost_with_its_host_is_named(plan, run, monkeypatch):
    monkeypatch.setattr(rank_monitor, "FAILURE_DELAY_S", 0.0)
    fail_beside_a_rank_on_another_host(run, "InternalError: Collective ops is aborted")
    message = (
        r"worker 1 failed: InternalError: .*aborted; .* the loss of worker 0 \(process 7 on host3\), which has not"
    )
    with pytest.raises(WorkerError, match=message):
        RankMonitor(plan, "").poll()


def test_a_rank_on_another_host_is_not_suspected_if_a_rank_failed_by_itself(plan, run, monkeypatch):
    monkeypatch.setattr(rank_monitor, "FAILURE_DELAY_S", 0.0)
    fail_beside_a_rank_on_another_host(run, "ShardError: damaged")
    with pytest.raises(WorkerError, match=r"worker 1 failed: ShardError: damaged$"):
        RankMonitor(plan, "").poll()


def test_too_few_workers_are_reported_with_their_number_and_advice(plan, run):
    monitor = RankMonitor(with_limits(plan, start_timeout_s=1e-9), "free some cores")
    run.status.write(1, state="running", **HERE, phase="start", step=0)
    with pytest.raises(
        BackendError, match=r"1 of 2 workers started within 1e-09 s; the others wait in phase 'reservation' .*: 0; free"
    ):
        monitor.poll()


def test_of_ranks_without_progress_the_one_with_the_oldest_status_is_stalled(plan, run):
    monitor = RankMonitor(with_limits(plan, stall_timeout_s=1e-9), "")
    run.status.write(1, state="running", **HERE, phase="validate", step=7)
    run.status.write(0, state="running", **HERE, phase="step", step=8)
    with pytest.raises(WorkerError, match=r"worker 1 failed: no progress .* in phase 'validate' at step 7"):
        monitor.poll() or monitor.poll()


def test_no_rank_is_stalled_while_others_have_not_started(plan, run):
    monitor = RankMonitor(with_limits(plan, stall_timeout_s=1e-9), "")
    run.status.write(0, state="running", **HERE, phase="build", step=0)
    assert not monitor.poll()
    assert not monitor.poll()


def test_a_rank_that_has_finished_is_not_stalled(plan, run):
    monitor = RankMonitor(with_limits(plan, stall_timeout_s=1e-9), "")
    execute(lambda plan, context: WorkerReport(rank=0), plan, 0)
    run.status.write(1, state="running", **HERE, phase="save", step=8)
    with pytest.raises(WorkerError, match="worker 1 failed: no progress"):
        monitor.poll() or monitor.poll()


@pytest.mark.parametrize("phase", ["import", "data", "build", "restore", "step", "validate", "save"])
def test_a_stall_is_reported_with_its_phase(phase, plan, run):
    monitor = RankMonitor(with_limits(plan, stall_timeout_s=1e-9), "")
    for rank in range(2):
        run.status.write(rank, state="running", **HERE, phase="start", step=0)
    WorkerContext(rank=0, num_workers=2, run=run).report("finished all but a word", 8)
    WorkerContext(rank=1, num_workers=2, run=run).report(phase, 7)
    run.status.write(0, at=time.time() + 60)
    with pytest.raises(WorkerError, match=f"worker 1 failed: no progress .* in phase '{phase}' at step 7 "):
        monitor.poll() or monitor.poll()


@pytest.mark.parametrize(
    ("waits", "stuck", "phase"),
    [
        (("step", "data"), 1, "data"),
        (("data", "step"), 0, "data"),
        (("step", None), 1, "save"),
        (("step",) * 2, 0, "step"),
    ],
)
def test_a_rank_that_is_not_in_a_step_is_stalled(waits, stuck, phase, plan, run):
    monitor = RankMonitor(with_limits(plan, stall_timeout_s=1e-9), "")
    for rank in range(2):
        run.status.write(rank, state="running", **HERE, phase="save", step=8)
        if waits[rank]:
            WorkerContext(rank=rank, num_workers=2, run=run).report_wait(waits[rank])
    with pytest.raises(WorkerError, match=f"worker {stuck} failed: no progress .* in phase '{phase}' at step 8 "):
        monitor.poll() or monitor.poll()


def test_a_wait_report_is_not_progress(plan, run):
    monitor = RankMonitor(with_limits(plan, stall_timeout_s=600), "")
    for rank in range(2):
        run.status.write(rank, state="running", **HERE, phase="step", step=8)
    monitor.poll()
    before = [rank.changed_at for rank in monitor.ranks]
    WorkerContext(rank=1, num_workers=2, run=run).report_wait("data")
    monitor.poll()
    assert [rank.changed_at for rank in monitor.ranks] == before
    WorkerContext(rank=1, num_workers=2, run=run).report("step", 8)
    monitor.poll()
    assert [rank.changed_at for rank in monitor.ranks] > before


def test_a_stopped_process_is_the_stalled_rank(plan, run):
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        sleeper.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
        run.status.write(0, state="running", **HERE, phase="step", step=3, waits="data")
        run.status.write(1, state="running", pid=sleeper.pid, host=socket.gethostname(), phase="step", step=3)
        monitor = RankMonitor(with_limits(plan, stall_timeout_s=1e-9), "")
        with pytest.raises(WorkerError, match=r"worker 1 failed: .* in phase 'step' at step 3, its process is stopped"):
            monitor.poll() or monitor.poll()
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_rank_that_misses_heartbeats_is_not_the_cause(plan, run, monkeypatch):
    monkeypatch.setattr(rank_monitor, "FAILURE_DELAY_S", 0.0)
    run.status.write(0, state="failed", cause="UnavailableError: ... (stopped sending heartbeats) ...", failed_at=9.0)
    run.status.write(1, state="running", **HERE, phase="step", step=3)
    with pytest.raises(WorkerError, match=r"worker 1 failed: no progress .* in phase 'step' at step 3"):
        RankMonitor(plan, "").poll()


def test_ranks_that_have_not_started_are_in_phase_reservation(plan, run):
    monitor = RankMonitor(with_limits(plan, start_timeout_s=1e-9), "lower --num-workers")
    message = r"0 of 2 workers started .* in phase 'reservation' .*: 0, 1; lower --num-workers"
    with pytest.raises(BackendError, match=message):
        monitor.poll()


def test_the_time_outs_of_ranks_begin_when_the_feed_has_finished(plan, run):
    monitor = RankMonitor(with_limits(plan, start_timeout_s=0.01, stall_timeout_s=60), "")
    run.status.write_feed(state="running", done=3, total=10)
    run.status.write(0, state="running", **HERE, phase="feed", step=3)
    time.sleep(0.05)
    assert not monitor.poll()
    run.status.write_feed(state="finished", done=10, total=10)
    time.sleep(0.05)
    with pytest.raises(BackendError, match=r"1 of 2 workers started within 0\.01 s"):
        monitor.poll()


def test_a_stalled_feed_is_reported(plan, run):
    monitor = RankMonitor(with_limits(plan, stall_timeout_s=0.2), "")
    run.status.write_feed(state="running", done=3, total=10)
    for step in range(5):  # what the ranks receive counts as progress
        run.status.write(0, state="running", **HERE, phase="feed", step=step)
        assert not monitor.poll()
        time.sleep(0.05)
    time.sleep(0.25)
    with pytest.raises(
        BackendError, match=r"no features for 0\.2 s, stalled at clip 3 of 10; raise the stall time-out"
    ):
        monitor.poll()
