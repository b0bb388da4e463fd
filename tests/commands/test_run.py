"""The verb `run` on Spark, TensorFlowOnSpark and Ray: its loss curve is that of training from shards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from support.port_attack import Attack

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.run import RunResult, run
from hybridspeech.commands.train import train
from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.errors import BackendError, ConfigError, HybridspeechError
from hybridspeech.models.config import ModelConfig
from hybridspeech.processes.supervision import is_alive
from hybridspeech.training.config import FitConfig
from hybridspeech.training.recipes import COMPACT
from hybridspeech.training.run_directory import RunDirectory

SMALL = FeatureConfig(kind="logmel", n_mels=24, hop_length=500)
FIT = FitConfig(epochs=2, batch_size=8, deterministic=True)
CNN = ModelConfig(name="cnn")
TWO = ClusterConfig(num_workers=2, threads_per_worker=1)


@pytest.fixture(scope="module")
def shards(flawed_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "shards"
    preprocess(flawed_tones, out, features=SMALL, engine="local")
    return out


def curve(history: tuple[dict[str, float], ...]) -> list[float]:
    return [row[name] for row in history for name in ("loss", "accuracy", "val_loss", "val_accuracy")]


@pytest.fixture(scope="module")
def from_shards(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Return the curve of training from shards on two workers."""
    run = tmp_path_factory.mktemp("from-shards") / "run"
    return curve(train(shards, run, model=CNN, fit=FIT, recipe="report", cluster=TWO, backend="tfos").history)


@dataclass(frozen=True)
class Attacked:
    """A run, and the attack on its ports."""

    result: RunResult
    attack: Attack


@pytest.fixture(scope="module", params=["tfos", "ray"])
def of_two(request: pytest.FixtureRequest, flawed_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    """Run two workers whose records mostly do not fit in memory, while all ports are attacked."""
    folder = tmp_path_factory.mktemp(request.param)
    with Attack(folder / "proof") as attack:
        result = run(
            flawed_tones,
            folder / "run",
            features=SMALL,
            model=CNN,
            fit=FIT,
            recipe="report",
            cluster=TWO,
            backend=request.param,
            memory_per_worker="100k",
        )
    return Attacked(result, attack)


@pytest.mark.cluster
def test_two_workers_give_the_curve_of_training_from_shards(of_two: Attacked, from_shards: list[float]) -> None:
    assert curve(of_two.result.history) == pytest.approx(from_shards, abs=1e-4)


@pytest.mark.cluster
def test_every_usable_clip_is_fed_and_the_others_are_rejected(of_two: Attacked, shards: Path) -> None:
    result, folder = of_two.result, Path(of_two.result.run_dir)
    index = json.loads((shards / "index.json").read_text())
    assert result.num_clips == index["splits"]["training"] + index["splits"]["validation"]
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]
    assert len(rejects) == result.num_rejects > 0
    assert {reject["reason"] for reject in rejects} == {"not-audio"}
    assert not list(folder.rglob("*.tfrecord"))
    assert result.memory_bytes + result.spilled_bytes == sum(
        shard["num_bytes"] for shard in index["shards"] if shard["split"] != "testing"
    )
    assert result.memory_bytes <= 2 * 100 * 1024
    assert result.spilled_bytes > 0
    assert RunDirectory(folder).require_finished().labels == ("high", "low", "middle")


@pytest.mark.cluster
def test_a_run_listens_on_loopback_only_and_survives_attacks_on_its_ports(of_two: Attacked) -> None:
    assert len(of_two.attack.listened) >= 4
    assert {ip for ip, _ in of_two.attack.listened} <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert not of_two.attack.proof.exists()


@contextlib.contextmanager
def killed_once_fed(run: Path, rank: int, pid_of: Callable[[int], int]) -> Iterator[list[int]]:
    """Kill the process `pid_of(rank's process)` once, when the rank is being fed; yields the ids of killed processes."""
    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not over.wait(0.01) and not killed:
            status = RunDirectory(run).status.read(rank)
            if status.get("phase") == "feed" and is_alive(status["pid"]):
                killed.append(pid_of(status["pid"]))
                os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join(timeout=10)


@pytest.mark.soak
@pytest.mark.cluster
def test_a_rank_killed_during_the_feed_is_named_and_a_restart_gives_the_same_curve(
    flawed_tones: Path, shards: Path, tmp_path: Path
) -> None:
    expected = train(shards, tmp_path / "expected", model=CNN, fit=FIT, recipe="report", backend="local")
    lines: list[str] = []
    with killed_once_fed(tmp_path / "run", 0, lambda pid: pid) as killed:
        result = run(
            flawed_tones,
            tmp_path / "run",
            features=SMALL,
            model=CNN,
            fit=FIT,
            recipe="report",
            cluster=ClusterConfig(max_restarts=1),
            backend="tfos",
            on_progress=lambda progress: lines.append(progress.message),
        )
    (restart,) = [line for line in lines if "starting again" in line]
    assert re.search(rf"worker 0 failed: its process {killed[0]} on .* was killed", restart)
    assert curve(result.history) == pytest.approx(curve(expected.history), abs=1e-5)
    assert (result.num_workers, result.steps_per_epoch) == (1, 10)


@pytest.mark.cluster
def test_a_killed_feed_process_ends_the_run_immediately(flawed_tones: Path, tmp_path: Path) -> None:
    """The rank and its queue are children of this process, and inherit its connection to Spark."""
    began = time.monotonic()
    with (
        killed_once_fed(tmp_path / "run", 0, lambda pid: psutil.Process(pid).ppid()),
        pytest.raises(BackendError, match=r"worker 0 failed|TensorFlowOnSpark failed"),
    ):
        run(flawed_tones, tmp_path / "run", features=SMALL, model=CNN, fit=FIT, backend="tfos")
    assert time.monotonic() - began < 100  # the stall time-out is 300 s


def test_invalid_settings_are_refused_before_training(flawed_tones: Path, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    cases: list[tuple[dict[str, object], type[HybridspeechError], str]] = [
        ({"backend": "local"}, ConfigError, "backend without shards 'local' is unknown; choose one of tfos, ray"),
        ({"memory_per_worker": "much"}, ConfigError, "memory per worker is 'much'; expected .* such as 512m or 4g"),
        ({"cluster": ClusterConfig(num_workers=90)}, ConfigError, "90 workers share"),
        ({"features": FeatureConfig(kind="waveform")}, ConfigError, "features are 'waveform'"),
        ({"fit": COMPACT}, ConfigError, "which changes the sound, but the data are logmel"),
        ({"max_rejects": -1}, ConfigError, "max_rejects is -1"),
    ]
    for settings, kind, message in cases:
        with pytest.raises(kind, match=message):
            run(flawed_tones, out, **{"features": SMALL, **settings})  # type: ignore[arg-type]
    assert not out.exists()
