"""The driver process without a cluster: these drivers run the only worker in their own process."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.in_driver import call_the_worker

from hybridspeech.backends.launch import Job, Launch, run_apart
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import BackendError, ShardError, WorkerError
from hybridspeech.training.plan import TrainPlan, WorkerReport
from hybridspeech.training.run_directory import RunDirectory


@pytest.fixture
def plan(tmp_path: Path) -> TrainPlan:
    return TrainPlan(shards="", run=str(tmp_path / "run"))


def fail_on_purpose(job: Job) -> None:
    raise ShardError("no shards here; preprocess first")


def fail_by_accident(job: Job) -> None:
    raise KeyError("executor")


def exit_at_once(job: Job) -> None:
    sys.exit(3)


def exit_with_output(job: Job) -> None:
    os.write(1, b"first\n\x1b[31mjava.lang.OutOfMemoryError\x1b[0m\n")
    os._exit(9)


def kill_itself(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def return_immediately(job: Job) -> None:
    pass


def wait_for_ever(job: Job) -> None:
    signal.pause()


def fail_after_the_time_out(job: Job) -> None:
    while time.time() < job.start_by + 0.2 * job.plan.cluster.start_timeout_s:  # the time-out of the caller has passed
        time.sleep(0.01)
    raise BackendError("the cluster gave 0 of 1 executors")


def works(plan, context):
    return WorkerReport(rank=context.rank, values={"pid": os.getpid(), "TF_CONFIG": os.environ.get("TF_CONFIG")})


def test_the_worker_runs_in_another_process_without_the_callers_cluster(plan, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    (report,) = run_apart(Launch(driver=call_the_worker, advice=""), plan, works)
    assert report.values["pid"] != os.getpid()
    assert report.values["TF_CONFIG"] is None


def test_statuses_of_an_earlier_run_are_ignored(plan):
    run_apart(Launch(driver=call_the_worker, advice=""), plan, works)
    with pytest.raises(BackendError, match="worker 0 was lost before it started"):
        run_apart(Launch(driver=return_immediately, advice=""), plan, works)


def test_a_worker_that_cannot_be_unpacked_is_a_failed_worker(plan):
    class Unloadable:
        def __reduce__(self):
            return (exec, ("import no_such_package",))

    with pytest.raises(WorkerError, match="worker 0 failed: ModuleNotFoundError: No module named 'no_such_package'"):
        run_apart(Launch(driver=call_the_worker, advice=""), plan, Unloadable())


@pytest.mark.parametrize(
    ("driver", "kind", "message"),
    [
        (fail_on_purpose, ShardError, "no shards here; preprocess first"),
        (fail_by_accident, BackendError, "the driver process failed: KeyError: 'executor'"),
        (exit_at_once, BackendError, "the driver process failed: SystemExit: 3"),
        (exit_with_output, BackendError, r"ended \(exit code 9\); .*launcher.log is: java.lang.OutOfMemoryError$"),
        (
            kill_itself,
            BackendError,
            r"ended \(killed by SIGKILL, by the system if memory ran out\); train again with --resume",
        ),
    ],
)
def test_the_error_gives_the_cause_of_the_drivers_end(driver, kind, message, plan):
    with pytest.raises(kind, match=message):
        run_apart(Launch(driver=driver, advice=""), plan, works)


def test_too_few_workers_before_the_time_out_is_an_error_with_advice(plan):
    limited = dataclasses.replace(plan, cluster=ClusterConfig(start_timeout_s=0.5))
    with pytest.raises(
        BackendError, match=r"0 of 1 workers started within 0.5 s; .*: 0; free some cores; the output is in"
    ):
        run_apart(Launch(driver=wait_for_ever, advice="free some cores"), limited, works)


@pytest.mark.slow
def test_an_error_of_the_driver_after_the_time_out_is_reported(plan):
    limited = dataclasses.replace(plan, cluster=ClusterConfig(start_timeout_s=4))
    with pytest.raises(BackendError, match="the cluster gave 0 of 1 executors"):
        run_apart(Launch(driver=fail_after_the_time_out, advice=""), limited, works)


def test_an_interrupt_stops_the_workers_and_reaches_the_caller(plan):
    def interrupts_its_caller(plan, context):
        os.kill(caller, signal.SIGINT)
        signal.pause()

    caller = os.getpid()
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt):
        run_apart(Launch(driver=call_the_worker, advice=""), plan, interrupts_its_caller)


def test_output_of_the_driver_is_shown_only_with_verbose(plan, capsys):
    run_apart(Launch(driver=call_the_worker, advice=""), plan, works)
    assert capsys.readouterr().err == ""
    run_apart(
        Launch(driver=call_the_worker, advice=""), dataclasses.replace(plan, cluster=ClusterConfig(verbose=True)), works
    )
    assert "driver is at work" in capsys.readouterr().err
    assert "driver is at work" in (RunDirectory(plan.run).workers_dir / "launcher.log").read_text()
