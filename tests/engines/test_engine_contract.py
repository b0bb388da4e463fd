"""The contract of engines, tested on every engine. The fixture `engine` is open and shared by many tests."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hybridspeech.engines import Engine
from hybridspeech.errors import AudioError, EngineError, HybridspeechError, WorkerError


class OddError(HybridspeechError):
    """An exception that cannot be pickled: its arguments are not those of its constructor."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} is not {right}")


def process_of(partition: Sequence[int]) -> int:
    return os.getpid()


def runs_here(engine: Engine) -> bool:
    return engine.map_partitions(process_of, [[]]) == [os.getpid()]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not come"
        time.sleep(0.02)


def test_results_are_in_the_order_of_the_partitions(engine: Engine) -> None:
    results = engine.map_partitions(list, [["a", "b"], [], ["c"]])
    assert results == [["a", "b"], [], ["c"]]


def test_an_open_engine_says_how_many_partitions_run_at_the_same_time(engine: Engine) -> None:
    assert engine.parallelism >= 1


def test_no_partitions_give_no_results(engine: Engine) -> None:
    assert engine.map_partitions(list, [], on_done=pytest.fail) == []


def test_many_more_partitions_than_processes_work(engine: Engine) -> None:
    assert engine.map_partitions(sum, [[i, i] for i in range(40)]) == list(range(0, 80, 2))


def test_on_done_is_called_once_per_partition_from_one_thread_of_the_driver(engine: Engine) -> None:
    calls = []
    engine.map_partitions(sum, [[i] for i in range(5)], lambda result: calls.append((result, threading.get_ident())))
    assert sorted(result for result, _ in calls) == [0, 1, 2, 3, 4]
    assert len({thread for _, thread in calls}) == 1


def test_a_result_arrives_before_a_slower_partition_ends(engine: Engine, tmp_path: Path) -> None:
    if runs_here(engine):
        pytest.skip("one after the other")
    released = tmp_path / "released"

    def function(items: Sequence[int]) -> int:
        if items[0] == 0:
            wait_for(released)
        return items[0]

    order: list[int] = []

    def on_done(i: int) -> None:
        order.append(i)
        released.touch()

    assert engine.map_partitions(function, [[0], [1]], on_done) == [0, 1]
    assert order == [1, 0]


def test_captured_variables_reach_the_workers(engine: Engine) -> None:
    words = {"yes": 1, "no": 2}
    assert engine.map_partitions(lambda items: [words[item] for item in items], [["no", "yes"]]) == [[2, 1]]


def test_large_items_and_results_work(engine: Engine) -> None:
    megabytes = [[bytes([i]) * 3_000_000] for i in range(3)]
    assert engine.map_partitions(lambda items: items[0], megabytes) == [items[0] for items in megabytes]


@pytest.mark.parametrize("error", [AudioError("empty", "0 samples"), WorkerError(3, "nan"), EngineError("no room")])
def test_a_hybridspeech_error_arrives_as_it_was_raised(engine: Engine, error: HybridspeechError) -> None:
    def function(items: Sequence[int]) -> int:
        if items[0] == 1:
            raise error
        return items[0]

    with pytest.raises(type(error)) as caught:
        engine.map_partitions(function, [[0], [1], [2]])
    assert (str(caught.value), caught.value.__dict__) == (str(error), error.__dict__)


def test_an_error_that_cannot_be_pickled_keeps_its_message(engine: Engine) -> None:
    def function(items: Sequence[int]) -> None:
        raise OddError(1, 2)

    with pytest.raises(HybridspeechError, match="1 is not 2"):
        engine.map_partitions(function, [[]])


def test_any_other_exception_is_an_engine_error_that_names_partition_and_cause(engine: Engine) -> None:
    def function(items: Sequence[int]) -> float:
        return 1 / (2 - items[0])

    with pytest.raises(EngineError, match=r"^partition 2 failed: ZeroDivisionError: division by zero$"):
        engine.map_partitions(function, [[0], [1], [2]])


def test_a_killed_worker_is_an_engine_error(engine: Engine) -> None:
    if runs_here(engine):
        pytest.skip("its worker is this process")

    def function(items: Sequence[int]) -> None:
        os._exit(3)

    with pytest.raises(EngineError, match="worker"):
        engine.map_partitions(function, [[], []])


def test_an_error_in_on_done_ends_the_call(engine: Engine) -> None:
    def on_done(result: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        engine.map_partitions(sum, [[0], [1]], on_done)


def test_ctrl_c_ends_the_call_and_the_tasks(engine: Engine, tmp_path: Path) -> None:
    started, finished = tmp_path / "started", tmp_path / "finished"

    def function(items: Sequence[int]) -> None:
        started.touch()
        time.sleep(300)
        finished.touch()

    def interrupt() -> None:
        wait_for(started)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        engine.map_partitions(function, [[]])
    thread.join()
    assert not finished.exists()


def test_the_engine_works_after_errors(engine: Engine) -> None:
    assert engine.map_partitions(sum, [[0], [1], [2]]) == [0, 1, 2]


def test_workers_import_no_tensorflow_and_use_one_thread(engine: Engine) -> None:
    if runs_here(engine):
        pytest.skip("its worker is this process")

    def function(items: Sequence[int]) -> tuple[bool, str]:
        return "tensorflow" in sys.modules, os.environ["OMP_NUM_THREADS"]

    assert engine.map_partitions(function, [[], []]) == [(False, "1")] * 2


@pytest.mark.cluster
@pytest.mark.parametrize("engine", ["spark-local", "spark-standalone", "raydp"], indirect=True)
def test_spark_workers_import_and_compile_before_the_fork(engine: Engine) -> None:
    """See `patches.pyspark_daemon`: each of these steps saves milliseconds per task."""

    def function(items: Sequence[int]) -> dict[str, object]:
        import pyspark.daemon
        import pyspark.resultiterable  # a module that pyspark has not needed yet: found without the archives too

        return {
            "archives": [f for f in sys.path_importer_cache.values() if type(f).__name__ == "zipimporter"],
            "reader": pyspark.daemon.worker_main.__name__,
            "frozen": gc.get_freeze_count() > 10_000,
            "imported": "hybridspeech.features.kernels" in sys.modules,
            "found": pyspark.resultiterable is not None,
        }

    ready = {
        "archives": [],
        "reader": "quick_ack_main",
        "frozen": True,
        "imported": True,
        "found": True,
    }
    assert engine.map_partitions(function, [[], []]) == [ready, ready]
