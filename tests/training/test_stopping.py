"""All ranks stop at the same look, however they come to it; and the driver waits for it with patience that ends."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_launch import call_the_worker

from hybridspeech.backends import stop
from hybridspeech.backends.launch import Launch, run_apart
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.stopping import Looks
from hybridspeech.training.worker import WorkerContext


@given(st.integers(1, 4), st.lists(st.integers(0, 3), max_size=60), st.integers(0, 60))
def test_no_rank_goes_on_and_none_stays_behind(num_workers: int, turns: list[int], asked_at: int) -> None:
    """Any order of ranks in which none looks again before the others have looked: the collective between two looks."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(folder)
        run.forget_workers(num_workers)
        ranks = [Looks(WorkerContext(rank=rank, num_workers=num_workers, run=run)) for rank in range(num_workers)]
        counts, stopped = [0] * num_workers, dict[int, int]()
        asked_after = None
        for number, turn in enumerate([*turns, *[0, 1, 2, 3] * 20]):
            if number == asked_at:
                run.request_stop()
                asked_after = max(counts)
            rank = turn % num_workers
            if rank in stopped or counts[rank] > min(counts):
                continue
            counts[rank] += 1
            if ranks[rank].is_time():
                stopped[rank] = counts[rank]
        assert len(set(stopped.values())) == 1
        assert set(stopped) == set(range(num_workers))
        assert asked_after is not None and stopped[0] <= asked_after + 2


def test_without_a_request_nobody_stops_and_the_answer_stays(tmp_path) -> None:
    run = RunDirectory(tmp_path)
    run.forget_workers(1)
    looks = Looks(WorkerContext(rank=0, num_workers=1, run=run))
    assert not looks.is_time()
    run.request_stop()
    assert looks.is_time() and looks.is_time()
    run.forget_workers(1)
    assert not Looks(WorkerContext(rank=0, num_workers=1, run=run)).is_time()


@pytest.fixture
def plan(tmp_path) -> TrainPlan:
    return TrainPlan(shards="", run=str(tmp_path / "run"))


def interrupted(worker, plan: TrainPlan) -> RunDirectory:
    with pytest.raises(KeyboardInterrupt):
        run_apart(Launch(driver=call_the_worker, advice=""), plan, worker)
    return RunDirectory(plan.run)


def test_the_ranks_get_time_to_stop(plan: TrainPlan) -> None:
    def stops_when_asked(plan, context):
        context.say("step", 1)
        os.kill(caller, signal.SIGINT)
        looks = Looks(context)
        while not looks.is_time():
            signal.sigtimedwait([], 0.01)
        return WorkerReport(rank=0)

    caller = os.getpid()
    assert interrupted(stops_when_asked, plan).read_status(0)["state"] == "finished"


def test_a_second_interrupt_ends_at_once(plan: TrainPlan) -> None:
    def stubborn(plan, context):
        context.say("step", 1)
        os.kill(caller, signal.SIGINT)
        while not context.run.is_stop_requested():
            signal.sigtimedwait([], 0.01)
        os.kill(caller, signal.SIGINT)
        signal.pause()

    caller = os.getpid()
    assert interrupted(stubborn, plan).read_status(0)["state"] == "running"


@pytest.mark.parametrize("phase", ["step", "validate"])
def test_patience_ends(phase: str, plan: TrainPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(plan, context):
        context.say(phase, 1)
        os.kill(caller, signal.SIGINT)
        signal.pause()

    caller = os.getpid()
    monkeypatch.setattr(stop, "GRACE_S", 0.1)
    monkeypatch.setattr(stop, "EPOCH_END_GRACE_S", 0.2)
    assert interrupted(stubborn, plan).is_stop_requested()
