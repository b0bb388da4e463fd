"""SIGKILL of Python workers, their daemon, and executors: the job succeeds, or a resume does."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.process_faults import SHARDS, SMALL, Killer, Undisturbed, executors_of, files_of, workers_of

from hybridspeech.commands.preprocess import PreprocessResult, preprocess
from hybridspeech.config import EngineConfig, Progress
from hybridspeech.engines import ENGINES, Engine
from hybridspeech.errors import EngineError
from hybridspeech.processes.supervision import is_alive

Victims = Callable[[int], list[psutil.Process]]

CASES = {
    "local": ("local", EngineConfig(num_executors=2), workers_of),
    "spark": ("spark", EngineConfig(master="local[2]"), workers_of),
    "spark-with-retries": ("spark", EngineConfig(master="local[2,8]"), workers_of),
    "workers-of-executors": ("spark", EngineConfig(master="local-cluster[2,1,1024]"), workers_of),
    "raydp": ("raydp", EngineConfig(num_executors=2, executor_cores=1), workers_of),
    "executors": ("spark", EngineConfig(master="local-cluster[2,1,1024]"), executors_of),
}


def finish(
    engine: Engine, source: Path, out: Path, attempts: int, strike: Killer
) -> tuple[PreprocessResult, list[str]]:
    """Resume until the job succeeds; check that finished shards stay. Returns the result, and the errors before it."""
    errors, most = list[str](), 0

    def look(progress: Progress) -> None:
        nonlocal most
        if progress.stage == "shards":
            assert progress.done >= most
            most = progress.done
        strike(progress)

    while True:
        try:
            return preprocess(
                source, out, features=SMALL, shards=SHARDS, engine=engine, resume=True, on_progress=look
            ), errors
        except EngineError as error:
            errors.append(str(error))
            if len(errors) > attempts:
                raise


def survive(case: str, seeds: range, source: Path, folder: Path, expected: Undisturbed, count: int) -> None:
    """Run jobs in one session with `count` kills in each; the session works after every kill."""
    name, config, victims = CASES[case]
    seen: set[psutil.Process] = set()

    def alive() -> list[psutil.Process]:
        """Return workers, also those whose parent was killed: they continue as orphans."""
        seen.update(victims(os.getpid()))
        return [process for process in seen if process.is_running() and is_alive(process.pid)]

    with ENGINES.load(name)(config) as engine:
        for seed in seeds:
            out, random_ = folder / str(seed), random.Random(seed)
            at_clips = sorted(random_.sample(range(1, 200), count))
            strike = Killer(alive, at_clips, random_)
            made, errors = finish(engine, source, out, attempts=2 * count, strike=strike)
            assert strike.killed, f"seed {seed}: the job ended before anything was killed"
            assert made.digest == expected.digest, f"seed {seed}, after {errors}"
            assert files_of(out) == expected.files
            if case not in ("local", "spark"):
                assert errors == [], "Spark retries by itself"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param("local", marks=pytest.mark.slow),
        *(pytest.param(case, marks=pytest.mark.cluster) for case in ("spark", "workers-of-executors", "executors")),
        *(
            pytest.param(case, marks=[pytest.mark.cluster, pytest.mark.soak])
            for case in ("spark-with-retries", "raydp")
        ),
    ],
)
def test_a_killed_worker_does_not_change_the_result(
    case: str, clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    survive(case, range(1), clips, tmp_path, undisturbed, count=2)


@pytest.mark.soak
@pytest.mark.cluster
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES)
def test_many_killed_workers_do_not_change_the_result(
    case: str, clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    survive(case, range(100, 110), clips, tmp_path, undisturbed, count=3)


def test_a_killed_worker_of_the_local_engine_is_named(clips: Path, tmp_path: Path) -> None:
    """The local engine does not retry; its error gives cause and remedy."""
    deadline = time.monotonic() + 60

    def kill_one(progress: Progress) -> None:
        if progress.stage == "shards" and progress.done > 0 and not progress.message:
            assert time.monotonic() < deadline
            workers_of(os.getpid())[0].kill()

    config = EngineConfig(num_executors=2)
    with pytest.raises(EngineError, match=r"its worker process ended \(killed by SIGKILL"):
        preprocess(clips, tmp_path / "out", features=SMALL, engine="local", engine_config=config, on_progress=kill_one)
