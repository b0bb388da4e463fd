"""Kills the processes of a job at random times given by a seed, and lists what is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hybridspeech.config import FeatureConfig, Progress
from hybridspeech.processes.periodic import PeriodicCall
from hybridspeech.processes.supervision import end_all, is_alive
from hybridspeech.records import from_json
from hybridspeech.shards.config import ShardConfig
from hybridspeech.shards.encoding import ShardRecord
from hybridspeech.shards.job import SETTINGS_NAME
from hybridspeech.shards.worker import PROGRESS_NAME
from hybridspeech.training.run_directory import RunDirectory
from support.audio_files import noise, sound

SMALL = FeatureConfig(kind="logmel", n_mels=16, hop_length=400)
SHARDS = ShardConfig(num_shards=15)
OPTIONS = ("--features", "logmel", "--n-mels", "16", "--hop-length", "400", "--shards", "15", "--json")
"""SMALL and SHARDS as options of the command line: little work in many shards."""

WORKER_MODULES = re.compile(r"hybridspeech\.(engines|patches\.pyspark_daemon)")


@dataclass(frozen=True)
class Undisturbed:
    """The output of an undisturbed run; `files` are all bytes of its folder."""

    digest: str
    num_clips: int
    num_shards: int
    files: dict[str, bytes]


def write_clips(root: Path, num_speakers: int) -> Path:
    """Make three words with one clip of noise per speaker, named as in Speech Commands."""
    for number, word in enumerate(("no", "off", "yes")):
        (root / word).mkdir(parents=True)
        for speaker in range(num_speakers):
            content = sound("WAV", "PCM_16", noise(seed=1000 * number + speaker))
            (root / word / f"{speaker:08x}_nohash_0.wav").write_bytes(content)
    return root


def files_of(out: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder by relative path, without the records of a resume; b"" for a folder."""
    paths = [path.relative_to(out) for path in sorted(out.rglob("*"))]
    return {
        str(path): (out / path).read_bytes() if (out / path).is_file() else b""
        for path in paths
        if path.parts[0] != PROGRESS_NAME or path.suffix != ".json"
    }


def num_finished(out: Path) -> int:
    """Count the clips of the shards that a resume does not make again: their record and their file exist."""
    paths = [path for path in (out / PROGRESS_NAME).glob("*.json") if path.name != SETTINGS_NAME]
    records = [from_json(ShardRecord, json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    return sum(record.info.num_examples for record in records if (out / record.info.name).is_file())


def command(source: Path, out: Path, *options: str) -> list[str]:
    """The command line of preprocessing."""
    return [sys.executable, "-m", "hybridspeech", "preprocess", str(source), str(out), *options]


def descendants(pid: int) -> list[psutil.Process]:
    """The processes that a process has started, and those that these have; empty if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the Python processes of an engine: Spark's workers and their parent, or workers of the local engine."""
    lines = ((process, _line(process)) for process in descendants(pid))
    return [each for each, line in lines if _is_python(line) and WORKER_MODULES.search(" ".join(line))]


def _is_python(line: Sequence[str]) -> bool:
    """The name of the program decides, because the path of the JRE in a Python package contains that word too."""
    return bool(line) and Path(line[0]).name.startswith("python")


def executors_of(pid: int) -> list[psutil.Process]:
    """The JVMs of Spark executors below a process."""
    return [process for process in descendants(pid) if "CoarseGrainedExecutorBackend" in " ".join(_line(process))]


def _line(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


@dataclass
class Killer:
    """An OnProgress that sends SIGKILL to one of `victims()` after each so many clips; `killed` has the process ids."""

    victims: Callable[[], Sequence[psutil.Process]]
    at_clips: list[int]
    random_: random.Random
    killed: list[int] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        if progress.stage != "shards" or not self.at_clips or progress.done < self.at_clips[0]:
            return
        found = sorted(self.victims(), key=lambda process: process.pid)
        if found:  # else its successor has not started yet; try again at the next progress
            victim = self.random_.choice(found)
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
                self.killed.append(victim.pid)
                del self.at_clips[0]


@dataclass
class Job:
    """A preprocessing command in its own process group, and every process that it has started so far."""

    child: subprocess.Popen[bytes]
    seen: set[psutil.Process] = field(default_factory=set)

    def look(self) -> None:
        """Record the processes that run now."""
        self.seen.update(descendants(self.child.pid))

    def run_until(self, condition: Callable[[], bool], timeout_s: float = 240.0) -> None:
        """Wait until `condition()` or the end of the command."""
        deadline = time.monotonic() + timeout_s
        while self.child.poll() is None and not condition():
            self.look()
            assert time.monotonic() < deadline, f"{timeout_s:.0f} s have passed"
            time.sleep(0.01)
        self.look()

    def left(self, timeout_s: float = 30.0) -> list[psutil.Process]:
        """The processes of the job that do not end by themselves within the time."""
        deadline = time.monotonic() + timeout_s
        while (alive := self._alive()) and time.monotonic() < deadline:
            for process in alive:
                self.seen.update(descendants(process.pid))
            time.sleep(0.02)
        return alive

    def _alive(self) -> list[psutil.Process]:
        return [process for process in self.seen if process.is_running() and is_alive(process.pid)]


@contextlib.contextmanager
def job(
    arguments: Sequence[str],
    stderr: Path = Path(os.devnull),
    stdout: Path = Path(os.devnull),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Job]:
    """Start a command with further environment variables; nothing of it runs afterwards."""
    with stderr.open("wb") as said, stdout.open("wb") as result:
        output = {"stdout": result, "stderr": said, "stdin": subprocess.DEVNULL}
        environment = {**os.environ, **(variables or {})}
        child = subprocess.Popen(arguments, start_new_session=True, env=environment, **output)
    started = Job(child, {psutil.Process(child.pid)})
    try:
        yield started
    finally:
        started.look()
        end_all([process for process in started.seen if process.is_running()])
        child.wait(timeout=30)


def command_of_training(shards: Path, run: Path, *options: str) -> list[str]:
    """The command line of training."""
    return [sys.executable, "-m", "hybridspeech", "train", str(shards), str(run), *options]


@contextlib.contextmanager
def frozen_at_first_step(running: Job, run: RunDirectory) -> Iterator[None]:
    """Run a training whose chief is stopped soon after its first step; all ranks wait for it. It continues afterwards."""
    running.run_until(lambda: bool(run.status.read(0).get("step")))
    assert running.child.poll() is None, "the training has ended before its first step"
    chief = psutil.Process(run.status.read(0)["pid"])
    chief.suspend()
    try:
        yield
    finally:
        chief.resume()


class PeakMemory(PeriodicCall):
    """Largest memory of any descendant process of a kind; a context manager that samples it.

    `peak_bytes` is the resident set size, which includes the pages that forks share.
    """

    def __init__(self, processes: Callable[[int], Sequence[psutil.Process]]) -> None:
        super().__init__(self._measure, 0.02, "peak memory")
        self.peak_bytes = 0
        self._processes = processes

    def _measure(self) -> None:
        for process in self._processes(os.getpid()):
            with contextlib.suppress(psutil.Error):
                self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
