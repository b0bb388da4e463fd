"""If a process of an engine is stopped, or killed at its start, the error names the process."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from hybridspeech.clusters.java_libraries import ROOT, library_folders, remove_abandoned_folders
from hybridspeech.clusters.process_roles import cluster_processes
from hybridspeech.clusters.ray_session import RaySettings, ray_session
from hybridspeech.config import EngineConfig
from hybridspeech.engines.local import LocalEngine
from hybridspeech.engines.raydp import RayDPEngine
from hybridspeech.engines.spark import SparkEngine
from hybridspeech.errors import EngineError
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.processes.supervision import process_tree


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


@pytest.mark.slow
def test_a_stopped_worker_of_the_local_engine_is_named() -> None:
    def function(items: Sequence[int]) -> int:
        if items[0] == 3:
            os.kill(os.getpid(), signal.SIGSTOP)
        return items[0]

    with LocalEngine(EngineConfig(num_executors=2, stall_timeout_s=6)) as engine:
        with pytest.raises(
            EngineError,
            match=r"no partition was finished for 6 s: partition 3 in worker process \d+ \(stopped\); raise",
        ):
            engine.map_partitions(function, [[i] for i in range(5)])
        assert squares(engine) == [0, 1, 4]


class TestSpark:
    pytestmark = pytest.mark.cluster

    @pytest.mark.parametrize("role", ["driver JVM", "daemon"])
    def test_a_stopped_process_is_named_and_the_next_session_opens(self, role: str) -> None:
        with SparkEngine(EngineConfig(master="local[1]")) as engine:
            assert squares(engine) == [0, 1, 4]
            engine._config = EngineConfig(stall_timeout_s=15)  # the start may take longer
            with pytest.raises(EngineError, match=rf"no partition was finished for 15 s: .*{role}.* stopped; raise"):
                engine.map_partitions(lambda items: time.sleep(0.2), [[]] * 50, stop_on_done(role))
        assert nothing_runs()
        with SparkEngine(EngineConfig(master="local[1]")) as engine:
            assert squares(engine) == [0, 1, 4]

    def test_a_jvm_that_is_stopped_at_its_start_is_named(self) -> None:
        with (
            when_it_appears("driver JVM", signal.SIGSTOP),
            pytest.raises(EngineError, match=r"Spark did not answer within 15 s: Spark's driver JVM .* stopped"),
        ):
            SparkEngine(EngineConfig(master="local[1]", stall_timeout_s=15)).__enter__()
        assert nothing_runs()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files with a path that is short enough for Ray's sockets; it must be empty afterwards."""
    unpacked = set(ROOT.glob("*"))
    with tempfile.TemporaryDirectory(prefix="hst", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        assert list(Path(folder).iterdir()) == []
        remove_abandoned_folders(min_age_s=5.0)  # as the next start does; other jobs of this machine have folders too
        assert set(ROOT.glob("*")) - library_folders(psutil.process_iter()) <= unpacked


class TestRay:
    pytestmark = pytest.mark.cluster

    def start(self, timeout_s: float) -> None:
        settings = RaySettings(
            address=None,
            num_cpus=1,
            object_store_bytes=80 * 1024**2,
            answer_timeout_s=timeout_s,
            verbose=False,
            error=EngineError,
        )
        with scratch_folder(is_short=True) as folder, ray_session(settings, Path(folder)):
            import ray

            assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)

    @pytest.mark.soak  # as below: Ray exits this process if it has begun to register the driver
    def test_a_process_that_is_stopped_at_its_start_is_named(self, temporary: Path) -> None:
        with (
            when_it_appears("Ray's GCS", signal.SIGSTOP),
            pytest.raises(EngineError, match=r"^Ray did not answer within 20 s: Ray's GCS \(process \d+\) stopped$"),
        ):
            self.start(20)
        assert nothing_runs()

    @pytest.mark.soak  # a raylet killed while Ray registers the driver there makes Ray exit this process (QuickExit)
    @pytest.mark.parametrize(
        ("role", "signal_"),
        [("Ray's raylet", signal.SIGKILL), ("Ray's GCS", signal.SIGKILL), ("Ray's raylet", signal.SIGSTOP)],
    )
    def test_a_process_that_fails_at_its_start_is_started_again(self, role: str, signal_: int, temporary: Path) -> None:
        with when_it_appears(role, signal_):
            self.start(300)
        assert nothing_runs()


@pytest.mark.soak
class TestRayDP:
    pytestmark = pytest.mark.cluster

    @pytest.mark.parametrize("role", ["a Spark executor", "Ray's raylet"])
    def test_a_process_that_is_stopped_is_named_and_the_next_session_opens(self, role: str, temporary: Path) -> None:
        def work(items: Sequence[int]) -> None:
            time.sleep(0.2)

        with RayDPEngine(EngineConfig(num_executors=1)) as engine:
            engine._config = EngineConfig(stall_timeout_s=15)  # the start may take longer
            with pytest.raises(EngineError, match=rf"no partition was finished for 15 s: .*{role}.* stopped; raise"):
                engine.map_partitions(work, [[0]] * 200, stop_on_done(role))
        assert nothing_runs()
        with SparkEngine(EngineConfig(master="local[1]")) as engine:
            assert squares(engine) == [0, 1, 4]

    @pytest.mark.parametrize("role", ["RayDP's master", "driver JVM"])
    def test_a_start_that_fails_halfway_leaves_nothing(self, role: str, temporary: Path) -> None:
        with when_it_appears(role, signal.SIGKILL), pytest.raises(EngineError, match=r"^Spark('s JVM| did not start)"):
            RayDPEngine(EngineConfig(num_executors=1)).__enter__()
        assert nothing_runs()
