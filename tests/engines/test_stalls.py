"""If a process of an engine is stopped, or killed at its start, the error names the process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest

from hybridspeech.clusters.process_roles import cluster_processes
from hybridspeech.config import EngineConfig
from hybridspeech.engines.local import LocalEngine
from hybridspeech.engines.spark import SparkEngine
from hybridspeech.errors import EngineError
from hybridspeech.processes.supervision import process_tree

# Spark allows one context in a process: asking for the local engine closes the session that other tests share.
own_session = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("engine"),
    pytest.mark.parametrize("engine", ["local"], indirect=True, ids=["alone"]),
]


def squares(engine: SparkEngine | LocalEngine) -> list[int]:
    return engine.map_partitions(lambda items: items[0] ** 2, [[0], [1], [2]])


def processes_with(role: str) -> list[psutil.Process]:
    return [process for process, name in cluster_processes(os.getpid()).items() if role in name]


@contextlib.contextmanager
def when_it_appears(role: str, signal_: int) -> Iterator[None]:
    """Send a signal to the first process of a role that starts while the context lasts."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for process in processes_with(role):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal_)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def stop_on_done(role: str) -> Callable[[object], None]:
    def on_done(_: object) -> None:
        for process in processes_with(role):
            for each in process_tree(process.pid):  # idle Python workers do not need their daemon
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.suspend()

    return on_done


def nothing_runs(timeout_s: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while cluster_processes(os.getpid()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not cluster_processes(os.getpid())


def test_a_stopped_worker_of_the_local_engine_is_named() -> None:
    def function(items: Sequence[int]) -> int:
        if items[0] == 3:
            os.kill(os.getpid(), signal.SIGSTOP)
        return items[0]

    with LocalEngine(EngineConfig(num_executors=2, stall_timeout_s=2)) as engine:
        with pytest.raises(
            EngineError,
            match=r"no partition was finished for 2 s: partition 3 in worker process \d+ \(stopped\); raise",
        ):
            engine.map_partitions(function, [[i] for i in range(5)])
        assert squares(engine) == [0, 1, 4]


class TestSpark:
    pytestmark = own_session

    @pytest.mark.parametrize("role", ["driver JVM", "daemon"])
    def test_a_stopped_process_is_named_and_the_next_session_opens(self, role: str) -> None:
        config = EngineConfig(master="local[1]", stall_timeout_s=15)
        with SparkEngine(config) as engine:
            assert squares(engine) == [0, 1, 4]
            with pytest.raises(EngineError, match=rf"no partition was finished for 15 s: .*{role}.* stopped; raise"):
                engine.map_partitions(lambda items: time.sleep(0.2), [[]] * 50, stop_on_done(role))
        assert nothing_runs()
        with SparkEngine(EngineConfig(master="local[1]")) as engine:
            assert squares(engine) == [0, 1, 4]

    def test_a_jvm_that_is_stopped_at_its_start_is_named(self) -> None:
        with (
            when_it_appears("driver JVM", signal.SIGSTOP),
            pytest.raises(EngineError, match=r"Spark did not answer within 20 s: Spark's driver JVM .* stopped"),
        ):
            SparkEngine(EngineConfig(master="local[1]", stall_timeout_s=20)).__enter__()
        assert nothing_runs()
