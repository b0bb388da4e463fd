"""All ranks stop at the same check, in any order of their checks; the driver waits for a bounded time."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.in_driver import call_the_worker

from hybridspeech.backends import interrupt
from hybridspeech.backends.launch import Launch, run_apart
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.stopping import StopCheck
from hybridspeech.training.worker import WorkerContext


@given(st.integers(1, 4), st.lists(st.integers(0, 3), max_size=60), st.integers(0, 60))
def test_all_ranks_stop_at_the_same_check(num_workers: int, turns: list[int], asked_at: int) -> None:
    """Ranks check in any order, but none checks twice before all have checked, because a collective is between two checks."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(folder)
        run.status.clear(num_workers)
        ranks = [StopCheck(WorkerContext(rank=rank, num_workers=num_workers, run=run)) for rank in range(num_workers)]
        counts, stopped = [0] * num_workers, dict[int, int]()
        asked_after = None
        for number, turn in enumerate([*turns, *[0, 1, 2, 3] * 20]):
            if number == asked_at:
                run.status.request_stop()
                asked_after = max(counts)
            rank = turn % num_workers
            if rank in stopped or counts[rank] > min(counts):
                continue
            counts[rank] += 1
            if ranks[rank].should_stop():
                stopped[rank] = counts[rank]
        assert len(set(stopped.values())) == 1
        assert set(stopped) == set(range(num_workers))
        assert asked_after is not None and stopped[0] <= asked_after + 2


def test_no_rank_stops_without_a_request_and_the_order_is_final(tmp_path) -> None:
    run = RunDirectory(tmp_path)
    run.status.clear(1)
    check = StopCheck(WorkerContext(rank=0, num_workers=1, run=run))
    assert not check.should_stop()
    run.status.request_stop()
    assert check.should_stop() and check.should_stop()
    run.status.clear(1)
    assert not StopCheck(WorkerContext(rank=0, num_workers=1, run=run)).should_stop()


@pytest.fixture
def plan(tmp_path) -> TrainPlan:
    return TrainPlan(shards="", run=str(tmp_path / "run"))


def interrupted(worker, plan: TrainPlan) -> RunDirectory:
    with pytest.raises(KeyboardInterrupt):
        run_apart(Launch(driver=call_the_worker, advice=""), plan, worker)
    return RunDirectory(plan.run)


def test_the_driver_waits_for_the_ranks_to_stop(plan: TrainPlan) -> None:
    def stops_when_asked(plan, context):
        context.report("step", 1)
        os.kill(caller, signal.SIGINT)
        check = StopCheck(context)
        while not check.should_stop():
            signal.sigtimedwait([], 0.01)
        return WorkerReport(rank=0)

    caller = os.getpid()
    assert interrupted(stops_when_asked, plan).status.read(0)["state"] == "finished"


def test_a_second_interrupt_ends_the_wait(plan: TrainPlan) -> None:
    def stubborn(plan, context):
        context.report("step", 1)
        os.kill(caller, signal.SIGINT)
        while not context.run.status.is_stop_requested():
            signal.sigtimedwait([], 0.01)
        os.kill(caller, signal.SIGINT)
        signal.pause()

    caller = os.getpid()
    assert interrupted(stubborn, plan).status.read(0)["state"] == "running"


@pytest.mark.parametrize("phase", ["step", "validate"])
def test_the_wait_for_the_ranks_has_a_limit(phase: str, plan: TrainPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(plan, context):
        context.report(phase, 1)
        os.kill(caller, signal.SIGINT)
        signal.pause()

    caller = os.getpid()
    monkeypatch.setattr(interrupt, "SAVE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(interrupt, "EPOCH_END_TIMEOUT_S", 0.2)
    assert interrupted(stubborn, plan).status.is_stop_requested()
