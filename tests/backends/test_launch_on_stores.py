"""A rank in another process, whose messages and files go through an object store; its driver process is the rank itself."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.in_driver import call_the_worker

from hybridspeech.backends.launch import Launch, run_apart
from hybridspeech.config import ClusterConfig, Progress
from hybridspeech.errors import WorkerError
from hybridspeech.storage.objects import list_files, read_bytes
from hybridspeech.training.driver import open_run, train_with_restarts
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.stopping import StopCheck

pytestmark = pytest.mark.slow
LAUNCH = Launch(driver=call_the_worker, advice="")
STATE = ("state.data-00000-of-00001", "state.index")


@pytest.fixture
def plan(s3_url: str) -> TrainPlan:
    return TrainPlan(shards="", run=s3_url, backend="tfos")


def train(
    plan: TrainPlan, worker, messages: list[str] | None = None, on_step: Callable[[int], None] = lambda pid: None
) -> list[WorkerReport]:
    """Train; `on_step` is called with the process of the rank when the driver knows that it has taken a step."""

    def on_progress(progress: Progress) -> None:
        if messages is not None:
            messages.append(progress.message)

    def wait_for_a_step(run: RunDirectory) -> None:
        while not run.status.read(0).get("step"):
            time.sleep(0.05)
        on_step(run.status.read(0)["pid"])

    with open_run(plan, overwrite=False, on_progress=on_progress) as local:
        threading.Thread(target=wait_for_a_step, args=(RunDirectory(local.run),), daemon=True).start()
        return train_with_restarts(lambda attempt: run_apart(LAUNCH, attempt, worker), local, on_progress)


def save(context, epoch: int) -> None:
    folder = context.run.checkpoints_dir / f"epoch-{epoch:04d}"
    folder.mkdir()
    for name in STATE:
        (folder / name).write_text(f"{name} of {epoch}")
    context.run.append_metrics({"epoch": epoch, "loss": 0.5, "accuracy": 0.5})


def test_files_and_report_of_a_rank_arrive(plan: TrainPlan) -> None:
    def worker(plan, context):
        sys.stdout.write("said by the rank\n")
        save(context, 1)
        context.run.model_dir.mkdir()
        context.run.weights_path.write_text("weights")
        return WorkerReport(rank=0, values={"run": plan.run})

    (report,) = train(plan, worker)
    assert not Path(report.values["run"]).exists()
    names = [stat.name for stat in list_files(plan.run)]
    assert [name for name in names if not name.startswith("workers/")] == [
        *(f"checkpoints/epoch-0001/{name}" for name in STATE),
        *("labels.txt", "metrics.jsonl", "model/model.weights.h5", "plan.json"),
    ]
    expected = {
        f"workers/{name}" for name in ("launcher.log", "rank-000.json", "rank-000.last", "rank-000.log", "stop-at")
    }
    assert {name for name in names if name.startswith("workers/")} == expected
    assert b"said by the rank" in read_bytes(f"{plan.run}/workers/rank-000.log")
    assert json.loads(read_bytes(f"{plan.run}/workers/rank-000.json"))["state"] == "finished"


def test_a_restart_gets_the_checkpoints_and_the_log_of_the_attempt_before(plan: TrainPlan) -> None:
    def worker(plan, context):
        sys.stdout.write("said by the rank\n")
        if not plan.resume:
            save(context, 1)
            raise OSError(f"broken: {plan.run}")
        found = sorted(str(path.relative_to(plan.run)) for path in Path(plan.run).rglob("state.*"))
        return WorkerReport(rank=0, values={"found": found, "epochs": len(context.run.read_metrics())})

    messages: list[str] = []
    (report,) = train(replace(plan, cluster=ClusterConfig(max_restarts=1)), worker, messages)
    (restart,) = [message for message in messages if "starting again" in message]
    assert f"worker 0 failed: OSError: broken: {plan.run}" in restart
    assert report.values == {"found": [f"checkpoints/epoch-0001/{name}" for name in STATE], "epochs": 1}
    assert read_bytes(f"{plan.run}/workers/rank-000.log").count(b"said by the rank\n") == 2


def test_a_killed_rank_is_reported(plan: TrainPlan) -> None:
    def worker(plan, context):
        context.report("step", 3)
        signal.pause()

    with pytest.raises(
        WorkerError, match=rf"worker 0 failed: its process \d+ on .* was killed .*{plan.run}/workers/rank-000"
    ):
        train(plan, worker, on_step=lambda pid: os.kill(pid, signal.SIGKILL))


def test_after_an_interrupt_the_driver_waits_for_the_checkpoint_on_the_store(plan: TrainPlan) -> None:
    def worker(plan, context):
        context.report("step", 1)
        check = StopCheck(context)
        while not check.should_stop():
            signal.sigtimedwait([], 0.05)
        save(context, 1)
        return WorkerReport(rank=0)

    messages: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train(plan, worker, messages, on_step=lambda pid: os.kill(os.getpid(), signal.SIGINT))
    assert messages[-1] == f"stopped; 1 epoch saved in {plan.run}/checkpoints/epoch-0001"
