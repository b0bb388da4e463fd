"""Repeated trainings in one process leave no traces; ranks that are killed repeatedly do not change the curve."""

from __future__ import annotations

import contextlib
import functools
import random
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support.process_traces import traces

from hybridspeech.commands import train as verb
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import TrainResult
from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.config import FitConfig
from hybridspeech.training.run_directory import RunDirectory

train = functools.partial(verb.train, model=ModelConfig(name="cnn"), recipe="report")  # cnn: the smallest network here
FIT = FitConfig(epochs=2, batch_size=8, deterministic=True)
TWO = ClusterConfig(num_workers=2, threads_per_worker=1, executor_memory="512m")
LONG = [pytest.mark.soak, pytest.mark.cluster]


@pytest.fixture(scope="module")
def shards(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "shards"
    preprocess(clips, out, features=FeatureConfig(kind="logmel", n_mels=24, hop_length=500), engine="local")
    return out


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files; its path is short, because sockets are created below it."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.mark.timeout(1800, method="thread")  # the other method of pytest-timeout is an alarm
@pytest.mark.parametrize(
    ("backend", "count"),
    [
        pytest.param("local", 3, marks=pytest.mark.slow),
        pytest.param("local", 10, marks=LONG),
        pytest.param("tfos", 10, marks=LONG),
        pytest.param("ray", 10, marks=LONG),
    ],
)
def test_repeated_trainings_leave_nothing(
    backend: str, count: int, shards: Path, tmp_path: Path, scratch: Path
) -> None:
    cluster = ClusterConfig() if backend == "local" else TWO
    # Before the first count, because TensorFlow keeps threads and variables once it is imported.
    train(shards, tmp_path / "first", fit=FIT, cluster=cluster, backend=backend)
    before = traces(scratch)
    for number in range(count):
        train(shards, tmp_path / str(number), fit=FIT, cluster=cluster, backend=backend)
        after = traces(scratch)
        assert after["open files"] <= before["open files"], f"after run {number}"  # fewer: garbage was collected
        assert after | {"open files": 0} == before | {"open files": 0}, f"after run {number}"
    assert not list(tmp_path.glob("**/.*.tmp"))


class RankKiller(threading.Thread):
    """Kills a rank of a run repeatedly, each time after a random number of steps since its (re)start."""

    def __init__(self, run: RunDirectory, seed: int, count: int) -> None:
        super().__init__(name="rank killer", daemon=True)
        self.run_directory, self.random, self.count = run, random.Random(seed), count
        self.killed: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Kill until the number is reached, or the run has ended."""
        while len(self.killed) < self.count:
            rank, wait_s = self.random.randrange(2), self.random.uniform(0, 1.5)
            while not self.over.is_set():
                status = self.run_directory.status.read(rank)
                if status.get("state") == "running" and status["step"] and status["pid"] not in self.killed:
                    break
                self.over.wait(0.01)
            if self.over.wait(wait_s):
                return
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(status["pid"]).kill()
                self.killed.append(status["pid"])


def curve(result: TrainResult) -> list[float]:
    return [row[name] for row in result.history for name in ("loss", "accuracy", "val_loss", "val_accuracy")]


@pytest.mark.soak
@pytest.mark.cluster
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_often_killed_ranks_give_the_undisturbed_curve(backend: str, shards: Path, tmp_path: Path) -> None:
    fit = replace(FIT, epochs=20, checkpoint_steps=7)
    undisturbed = train(shards, tmp_path / "undisturbed", fit=fit, cluster=TWO, backend=backend)
    for seed in range(2):
        run, lines = tmp_path / str(seed), list[str]()
        killer = RankKiller(RunDirectory(run), seed, count=4)
        killer.start()
        try:
            cluster = replace(TWO, max_restarts=4)
            made = train(
                shards,
                run,
                fit=fit,
                cluster=cluster,
                backend=backend,
                on_progress=lambda p, to=lines: to.append(p.message),
            )
        finally:
            killer.over.set()
            killer.join(30)
        restarts = [line for line in lines if "starting again" in line]
        assert 2 <= len(restarts) <= len(killer.killed)  # both ranks of one attempt may be killed
        assert all("was killed" in line for line in restarts), restarts
        assert curve(made) == pytest.approx(curve(undisturbed), abs=1e-5)
        assert psutil.Process().children(recursive=True) == []
