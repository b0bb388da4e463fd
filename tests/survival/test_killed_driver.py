"""The driver is killed at random times: no process is left, and --resume makes only the missing shards."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.process_faults import OPTIONS, Job, Undisturbed, command, files_of, job, num_finished

from hybridspeech.shards.worker import PROGRESS_NAME

ENGINES = {
    "local": ("--engine", "local", "--num-executors", "2"),
    "spark": ("--master", "local[2]"),
    "local-cluster": ("--master", "local-cluster[2,1,1024]"),
    "raydp": ("--engine", "raydp", "--num-executors", "2"),
}


def kill_group(victim: Job) -> None:
    """SIGKILL to the process group, as a shell ends a job."""
    os.killpg(victim.child.pid, signal.SIGKILL)


def kill_driver(victim: Job) -> None:
    """SIGKILL to the driver alone, as the kernel does when memory is exhausted: JVM and workers must end."""
    os.kill(victim.child.pid, signal.SIGKILL)


def interrupt(victim: Job) -> None:
    """SIGINT to the process group, as Ctrl-C."""
    os.killpg(victim.child.pid, signal.SIGINT)


def terminate(victim: Job) -> None:
    """SIGTERM to the driver, as a batch system sends first."""
    os.kill(victim.child.pid, signal.SIGTERM)


BLOWS = (kill_group, kill_driver, interrupt, terminate)


def num_shards(out: Path) -> int:
    return sum(1 for _ in out.glob("*.tfrecord"))


PATIENCE_S = 30.0
RAY_PATIENCE_S = 120.0
"""Two agents of Ray end a minute after their raylet; all other processes end immediately."""


def disturb(arguments: list[str], out: Path, more: int, blow: Callable[[Job], None]) -> None:
    """Run until `more` shards are made (0: at the start), kill the driver, and check that no process is left."""
    before, goal = num_finished(out), num_shards(out) + more
    with job(arguments) as running:
        running.run_until(lambda: (out / PROGRESS_NAME).is_dir() and num_shards(out) >= goal)
        assert running.child.poll() is None, "the job has ended before the blow"
        blow(running)
        patience_s = RAY_PATIENCE_S if "raydp" in arguments else PATIENCE_S
        assert running.left(patience_s) == [], f"{blow.__name__}: these live on"
    assert num_finished(out) >= before


def survive(
    engine: str, blows: Sequence[Callable[[Job], None]], seed: int, source: Path, out: Path, expected: Undisturbed
) -> None:
    """Kill one job repeatedly, and then let it finish."""
    arguments = command(source, out, *ENGINES[engine], *OPTIONS, "--resume")
    random_ = random.Random(seed)
    for blow in blows:
        disturb(arguments, out, random_.randrange(expected.num_shards // (2 * len(blows))), blow)
    unfinished = expected.num_clips - num_finished(out)
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=300)
    result = json.loads(done.stdout)
    assert result["digest"] == expected.digest, f"seed {seed}"
    assert files_of(out) == expected.files
    assert round(result["clips_per_s"] * result["work_s"]) == unfinished


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("engine", "blows"),
    [
        pytest.param("local", [kill_group, terminate], marks=pytest.mark.slow),
        pytest.param("spark", [kill_driver, interrupt], marks=pytest.mark.cluster),
        pytest.param("local-cluster", [kill_driver], marks=[pytest.mark.cluster, pytest.mark.soak]),
    ],
)
def test_a_killed_driver_leaves_no_process_and_a_resume_makes_only_the_rest(
    engine: str, blows: list[Callable[[Job], None]], clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    survive(engine, blows, 0, clips, tmp_path / "out", undisturbed)


@pytest.mark.soak
@pytest.mark.cluster
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("engine", ["local", "spark", "local-cluster"])
@pytest.mark.parametrize("seed", range(3))
def test_many_killed_drivers_leave_no_process(
    engine: str, seed: int, clips: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    blows = list(BLOWS)
    random.Random(seed).shuffle(blows)
    survive(engine, blows, seed, clips, tmp_path / "out", undisturbed)


@pytest.mark.soak
@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_killed_driver_of_raydp_leaves_no_process(clips: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    survive("raydp", [kill_driver], 0, clips, tmp_path / "out", undisturbed)


@pytest.mark.slow
def test_a_killed_overwrite_can_be_repeated(clips: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    """A half-empty folder is still recognised as an output."""
    out = tmp_path / "out"
    for name, data in undisturbed.files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
    arguments = command(clips, out, *ENGINES["local"], *OPTIONS, "--overwrite")
    with job(arguments) as running:
        running.run_until(lambda: not (out / "index.json").exists())
        kill_group(running)
        assert running.left() == []
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
    assert files_of(out) == undisturbed.files
