"""The driver is killed, at random moments: nothing of it lives on, and --resume does what is not done, and only that."""

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
    """As a shell does that ends a whole job."""
    os.killpg(victim.child.pid, signal.SIGKILL)


def kill_driver(victim: Job) -> None:
    """As the kernel does that is out of memory: JVM and workers must notice."""
    os.kill(victim.child.pid, signal.SIGKILL)


def interrupt(victim: Job) -> None:
    """As Ctrl-C does: the whole terminal hears it."""
    os.killpg(victim.child.pid, signal.SIGINT)


def terminate(victim: Job) -> None:
    """As a batch system does first."""
    os.kill(victim.child.pid, signal.SIGTERM)


BLOWS = (kill_group, kill_driver, interrupt, terminate)


def num_shards(out: Path) -> int:
    return sum(1 for _ in out.glob("*.tfrecord"))


PATIENCE_S = 30.0
RAY_PATIENCE_S = 120.0
"""Two agents of Ray notice after a minute that their raylet is gone; all else of it ends at once."""


def disturb(arguments: list[str], out: Path, more: int, blow: Callable[[Job], None]) -> None:
    """Run until `more` shards are made (0: at the start), strike, and see that nothing lives on."""
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
    """One job, struck again and again, and then left alone."""
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
        pytest.param("local", [kill_group, terminate], marks=pytest.mark.cluster),  # it starts processes, too
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


def test_a_killed_overwrite_can_be_repeated(clips: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    """Half-emptied, the folder is still known as ours."""
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
