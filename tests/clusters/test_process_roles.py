"""Roles of processes by their command lines. A time-out ends no process of the caller. No cluster runs here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import psutil
import pytest

from hybridspeech.clusters.process_roles import cluster_processes, describe_ended, describe_stopped
from hybridspeech.clusters.spark_session import answers_within
from hybridspeech.errors import EngineError
from hybridspeech.processes.supervision import is_alive, is_stopped


@contextlib.contextmanager
def process_named(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process with the command name `name`."""
    process = subprocess.Popen(["bash", "-c", f'exec -a "{name}" sleep 600'])
    try:
        while not " ".join(psutil.Process(process.pid).cmdline()).startswith(name):  # empty while exec is under way
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


def roles_of(process: subprocess.Popen[bytes]) -> dict[psutil.Process, str]:
    """Roles of this child alone: an engine that other tests share may be open."""
    return {each: role for each, role in cluster_processes(os.getpid()).items() if each.pid == process.pid}


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("java org.apache.spark.deploy.SparkSubmit pyspark-shell", "Spark's driver JVM"),
        ("java org.apache.spark.executor.CoarseGrainedExecutorBackend", "a Spark executor"),
        ("python -m hybridspeech.patches.pyspark_daemon", "the daemon of Spark's Python workers"),
        ("/site-packages/ray/core/src/ray/raylet/raylet --x", "Ray's raylet"),
        ("/site-packages/ray/core/src/ray/gcs/gcs_server --x", "Ray's GCS"),
    ],
)
def test_a_stopped_or_ended_process_is_named_by_its_role(command: str, role: str) -> None:
    with process_named(command) as process:
        roles = roles_of(process)
        assert roles == {psutil.Process(process.pid): role}
        assert describe_stopped(roles, roles) == describe_ended(roles) == ""
        psutil.Process(process.pid).suspend()
        while not is_stopped(process.pid):
            time.sleep(0.01)
        assert describe_stopped(roles, roles) == f": {role} (process {process.pid}) stopped"
        process.kill()
        process.wait()
        assert describe_ended(roles) == f": {role} (process {process.pid}) was killed or ended"


def test_an_agent_that_names_the_raylet_is_not_the_raylet() -> None:
    with process_named("python dashboard/agent.py --raylet-name=/tmp/ray/sockets/raylet --x") as process:
        assert roles_of(process) == {}


def test_a_jvm_that_is_killed_is_left_for_pyspark_to_reap() -> None:
    codes = []
    with contextlib.ExitStack() as stack, pytest.raises(EngineError), answers_within(0.5, EngineError):
        jvm = stack.enter_context(process_named("java of the new spark"))
        while psutil.Process(jvm.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        time.sleep(0.2)
        codes.append(jvm.poll())
        raise OSError("its JVM has ended")
    assert codes == [-signal.SIGKILL]


def test_a_time_out_ends_only_the_jvm_that_was_started_here() -> None:
    started = []
    with process_named("java of the caller's spark") as callers, contextlib.ExitStack() as stack:
        with pytest.raises(EngineError, match=r"^Spark did not answer within 0.5 s$"), answers_within(0.5, EngineError):
            started.append(stack.enter_context(process_named("java of the new spark")))
            started[0].wait(60)
            raise OSError("its JVM has ended")
        assert not is_alive(started[0].pid)
        assert is_alive(callers.pid)
