"""Messages between hosts that share a store and no folder. Each rank is a thread with a folder of its own."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from hybridspeech.backends.base import check_hosts, run_probe
from hybridspeech.backends.rank_monitor import RankMonitor
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, StorageError
from hybridspeech.storage.objects import list_files, write_bytes
from hybridspeech.training import status_exchange
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.status_exchange import DriverExchange, begin_attempt, messages_of, rank_exchange
from hybridspeech.training.stopping import StopCheck
from hybridspeech.training.worker import WorkerContext
from hybridspeech.training.worker_status import WorkerStatus

NUM_RANKS = 3


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainPlan:
    """The driver's plan of an attempt that has begun."""
    monkeypatch.setattr(status_exchange, "EXCHANGE_S", 0.01)
    cluster = ClusterConfig(num_workers=NUM_RANKS)
    plan = TrainPlan(
        shards="", run=str(tmp_path / "driver"), store=f"memory://test/{tmp_path.name}", attempt="a", cluster=cluster
    )
    RunDirectory(plan.run).make_folders()
    begin_attempt(plan)
    return plan


def plan_of(rank: int, driver: TrainPlan) -> TrainPlan:
    """The plan on the host of a rank."""
    run = RunDirectory(Path(driver.run).with_name(f"rank-{rank}"))
    run.make_folders()
    return replace(driver, run=str(run.path))


def train_until_stopped(driver: TrainPlan, rank: int, collective: threading.Barrier, stopped: dict[int, int]) -> None:
    plan = plan_of(rank, driver)
    run = RunDirectory(plan.run)
    with rank_exchange(plan, rank):
        check = StopCheck(WorkerContext(rank=rank, num_workers=NUM_RANKS, run=run, shares_run=False))
        for count in range(1, 10_000):
            run.status.write(rank, state="running", step=count, pid=1, host="elsewhere", phase="step")
            if check.should_stop():
                stopped[rank] = count
                break
            collective.wait(20)
        run.status.write(rank, state="finished", report={})


def test_all_ranks_stop_at_the_same_check_and_the_driver_gets_their_states(driver: TrainPlan) -> None:
    collective, stopped = threading.Barrier(NUM_RANKS), dict[int, int]()
    ranks = [
        threading.Thread(target=train_until_stopped, args=(driver, rank, collective, stopped), daemon=True)
        for rank in range(NUM_RANKS)
    ]
    for thread in ranks:
        thread.start()
    monitor = RankMonitor(driver, "")
    while not monitor.run.status.read(0).get("step", 0) > 3:
        assert not monitor.poll()
    monitor.run.status.request_stop()
    deadline = time.monotonic() + 60
    while not monitor.poll() and time.monotonic() < deadline:
        time.sleep(0.01)
    for thread in ranks:
        thread.join(20)
    assert set(stopped) == set(range(NUM_RANKS))
    assert len(set(stopped.values())) == 1
    assert [monitor.run.status.read(rank)["state"] for rank in range(NUM_RANKS)] == ["finished"] * NUM_RANKS


def test_a_rank_sends_its_own_messages_only(driver: TrainPlan) -> None:
    with ExitStack() as stack:
        for rank in range(2):
            plan = plan_of(rank, driver)
            stack.enter_context(rank_exchange(plan, rank))
            status = RunDirectory(plan.run).status
            status.reserve_failure_record(rank)
            status.write(rank, state="running")
            status.write(1 - rank, state="failed")
            (RunDirectory(plan.run).log_path(rank)).write_text("a log")
    names = [stat.name for stat in list_files(messages_of(driver))]
    assert names == ["rank-000.json", "rank-000.last", "rank-001.json", "rank-001.last"]
    DriverExchange(driver).exchange()
    assert [RunDirectory(driver.run).status.read(rank)["state"] for rank in range(2)] == ["running"] * 2


def test_messages_of_an_earlier_attempt_are_ignored(driver: TrainPlan) -> None:
    late = plan_of(1, driver)
    following = replace(driver, attempt="b")
    begin_attempt(following)
    with rank_exchange(late, 1):
        RunDirectory(late.run).status.write(1, state="failed")
    DriverExchange(following).exchange()
    assert RunDirectory(driver.run).status.read(1) == {}


def test_a_store_that_fails_is_reported_after_the_stall_time_out(
    driver: TrainPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError(f"{driver.store}: the store failed 7 times in a row")

    exchange = DriverExchange(replace(driver, cluster=ClusterConfig(stall_timeout_s=0.2)))
    with monkeypatch.context() as patch:
        patch.setattr(status_exchange, "list_files", fail)
        exchange.exchange()
    exchange.exchange(newest=True)
    monkeypatch.setattr(status_exchange, "list_files", fail)
    exchange.exchange(newest=True)
    time.sleep(0.25)
    with pytest.raises(StorageError, match=r"the store failed 7 times .* 0\.2 s; --resume continues"):
        exchange.exchange(newest=True)


def test_the_metrics_of_the_chief_reach_the_driver(driver: TrainPlan) -> None:
    exchange = DriverExchange(driver)
    for rows in (1, 2):
        write_bytes(f"{driver.store}/metrics.jsonl", b'{"epoch": 1, "loss": 0.5}\n' * rows)
        exchange.exchange(newest=True)
        assert len(RunDirectory(driver.run).read_metrics()) == rows


def test_status_files_of_a_store_are_read_directly(driver: TrainPlan) -> None:
    status = WorkerStatus(messages_of(driver))
    assert (status.read(0), status.read_feeder_round(1)) == ({}, 0)
    status.write_feeder_round(1, 4)
    assert status.read_feeder_round(1) == 4


def test_a_host_that_can_not_use_the_store_is_named(driver: TrainPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_probe(driver) as probe:
        assert probe() == ""
        check_hosts(driver, ["", ""])
        monkeypatch.setattr(status_exchange, "read_bytes", lambda _: b"of another store")
        answer = probe()
    with pytest.raises(
        BackendError, match=rf"^{driver.store}: can not be used from every host \({socket.gethostname()}: "
    ):
        check_hosts(driver, ["", answer])
