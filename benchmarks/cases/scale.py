"""stft-scale: the whole stage on few and on many clips. The time per clip must not depend on their number."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import psutil

from benchmarks.peers.ours import samples_of, warm_up
from benchmarks.peers.pipeline import list_clips
from benchmarks.records import Outcome
from benchmarks.reference import error_db, too_far
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.config import EngineConfig, Progress
from hybridspeech.engines import ENGINES
from hybridspeech.processes.periodic import PeriodicCall

MEMORY_POLL_S = 0.1


def measure(source: Path, scratch: Path, *, every: int) -> Outcome:
    """Return the clips per second of preprocessing on Spark, on all cores, from listing the folder to the last byte.

    Parameters
    ----------
    every : 1: all clips of the source; N: every N-th
    """
    clips = linked(source, scratch / "clips", every)
    begun, planned_at = time.perf_counter(), 0.0

    def note_planned(progress: Progress) -> None:
        nonlocal planned_at
        if progress.stage == "engine":  # the source is listed and the manifest is written
            planned_at = time.perf_counter()

    warm_up()
    with ENGINES.load("spark")(EngineConfig(master="local[*]")) as engine, Memory() as memory:
        started = time.perf_counter()
        made = preprocess(clips, scratch / "out", engine=engine, on_progress=note_planned)
        work_s = time.perf_counter() - started
    error = max(error_db(found, path) for path, found in samples_of(clips, scratch / "out").items())
    return Outcome(
        value=made.num_clips / work_s,
        startup_s=started - begun,
        facts={
            "clips": made.num_clips,
            "wrote": made.num_bytes / 1e6 / work_s,
            "listing": (planned_at - started) / work_s,
            "driver_mb": memory.driver_mb,
            "worker_mb": memory.worker_mb,
            "error_db": error,
        },
        problem=f"{made.num_rejects} clips were rejected" if made.num_rejects else too_far(error),
    )


def linked(source: Path, target: Path, every: int) -> Path:
    """Make a folder with hard links to every `every`-th clip of a source."""
    for path in map(Path, list_clips(source)[::every]):
        folder = target / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        os.link(path, folder / path.name)
    return target


class Memory(PeriodicCall):
    """Samples the peak resident memory in MB of the driver (this process and its JVM) and of the largest Python worker."""

    def __init__(self) -> None:
        super().__init__(self._measure, MEMORY_POLL_S, "memory")
        self.driver_mb = self.worker_mb = 0.0

    def _measure(self) -> None:
        here = psutil.Process()
        driver = here.memory_info().rss / 1e6
        for process in here.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                size = process.memory_info().rss / 1e6
                if process.name() == "java":
                    driver += size
                else:
                    self.worker_mb = max(self.worker_mb, size)
        self.driver_mb = max(self.driver_mb, driver)
