"""Faults within a training: what is saved, which sentence names the cause, and the same end after it continues."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.process_traces import nothing_is_left
from support.small_disk import mounted
from support.small_trainings import FIT, FIT_OF_TWO_WORKERS, curve, train, workers_of
from support.worker_faults import FaultyBackend, fill, interrupt, power_cut

from hybridspeech.commands.train import TrainResult
from hybridspeech.config import ClusterConfig
from hybridspeech.errors import (
    HybridspeechError,
    WorkerError,
)
from hybridspeech.training.checkpoints import Place, places
from hybridspeech.training.config import FitConfig
from hybridspeech.training.run_directory import RunDirectory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def everything_ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All the trainings of this module leave no process, port, thread or temporary file."""
    tmp_path_factory.getbasetemp()  # it must not be below the folder of this fixture
    with nothing_is_left():
        yield


def test_a_resumed_training_gives_the_undisturbed_curve(
    small_training: TrainResult, small_shards: Path, tmp_path: Path
) -> None:
    """The failure is in the second epoch, two steps after a checkpoint; an epoch has 11 steps."""
    run, fit = tmp_path / "run", replace(FIT, checkpoint_steps=4)
    faulty = FaultyBackend("local", 11 + 8, tmp_path / "fault-injected", power_cut)
    with pytest.raises(WorkerError, match="worker 0 failed: RuntimeError: power cut"):
        train(small_shards, run, fit=fit, backend=faulty)
    found = [place.name for place in places(RunDirectory(run))]
    assert found == ["epoch-0001", "epoch-0001-step-000004", "epoch-0001-step-000008"]  # the best epoch, the last two
    result = train(small_shards, run, fit=fit, backend="local", resume=True)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert curve(result) == pytest.approx(curve(small_training), abs=1e-5)
    assert [place.name for place in places(RunDirectory(run))][-1] == "epoch-0003"


@pytest.mark.parametrize(
    ("phase", "step", "checkpoint_steps", "saved"),
    [
        ("build", 0, 0, None),
        ("step", 1, 0, "epoch-0000-step-000001"),
        ("save", 11 + 5, 5, "epoch-0001-step-000005"),
        ("step", 2 * 11, 0, "epoch-0002"),
        ("validate", 11, 0, "epoch-0001"),
        ("save", 0, 0, "epoch-0001"),
    ],
)
def test_an_interrupt_saves_a_checkpoint_and_a_resume_gives_the_undisturbed_curve(
    small_training: TrainResult,
    small_shards: Path,
    tmp_path: Path,
    phase: str,
    step: int,
    checkpoint_steps: int,
    saved: str | None,
) -> None:
    run, lines = tmp_path / "run", list[str]()
    faulty = FaultyBackend("local", step, tmp_path / "fault-injected", interrupt, phase=phase)
    with pytest.raises(KeyboardInterrupt):
        train(
            small_shards,
            run,
            fit=replace(FIT, checkpoint_steps=checkpoint_steps),
            backend=faulty,
            on_progress=lambda progress: lines.append(progress.message),
        )
    assert [place.name for place in places(RunDirectory(run))][-1:] == ([saved] if saved else [])
    assert lines[-1].endswith(f"saved in {run}/checkpoints/{saved}" if saved else "stopped; nothing is saved yet")
    assert not list(run.glob("**/*.tmp"))
    result = train(small_shards, run, fit=FIT, backend="local", resume=True)
    assert curve(result) == pytest.approx(curve(small_training), abs=1e-5)


def test_a_training_with_max_restarts_restarts_after_a_failure(
    small_training: TrainResult, small_shards: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    result = train(
        small_shards,
        tmp_path / "run",
        fit=FIT,
        cluster=ClusterConfig(max_restarts=1),
        backend=FaultyBackend("local", 22, tmp_path / "fault-injected", power_cut),
        on_progress=lambda progress: lines.append(progress.message),
    )
    assert curve(result) == pytest.approx(curve(small_training), abs=1e-5)
    assert [line for line in lines if "power cut; starting again from the last checkpoint; 0 restarts left" in line]


def long(backend: str) -> object:
    """Mark a backend for `make soak`: `make test` covers this cause on the other cluster backend."""
    return pytest.param(backend, marks=[pytest.mark.cluster, pytest.mark.soak])


TFOS, RAY = (pytest.param(backend, marks=pytest.mark.cluster) for backend in ("tfos", "ray"))


@pytest.mark.parametrize("backend", ["local", TFOS, long("ray")])
def test_a_damaged_record_of_a_shard_is_one_sentence(backend: str, small_shards: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small_shards, tmp_path / "shards")
    victim = sorted(copy.glob("training-*"))[2]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(WorkerError, match=rf"ShardError: .*{victim.name}: record \d+ at byte \d+ is damaged"):
        train(copy, tmp_path / "run", fit=FIT, cluster=workers_of(backend), backend=backend)


@pytest.mark.parametrize("kib", [600, 1000])
def test_a_full_disk_while_saving_keeps_the_last_good_checkpoint(
    kib: int, small_training: TrainResult, small_shards: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs") as disk:
        with pytest.raises(HybridspeechError, match=r"No space left on device|disk") as caught:
            train(small_shards, disk / "run", fit=FIT, backend="local")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1200
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True, timeout=30)
        assert curve(train(small_shards, disk / "run", fit=FIT, backend="local", resume=True)) == pytest.approx(
            curve(small_training), abs=1e-5
        )


@pytest.mark.parametrize("backend", ["local", long("tfos"), RAY])
def test_a_disk_filled_by_others_is_reported_and_the_last_checkpoint_stays(
    backend: str, small_shards: Path, tmp_path: Path, small_training: TrainResult
) -> None:
    """The disk is filled to the last byte in the second epoch; the failure record fits only into its reserved space."""
    local = backend == "local"
    fit = FIT if local else FIT_OF_TWO_WORKERS
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as disk:
        run, ballast = RunDirectory(disk / "run"), disk / "ballast"
        faulty = FaultyBackend(backend, 11 + 8, tmp_path / "fault-injected", functools.partial(fill, ballast))
        with pytest.raises(
            WorkerError, match=r"failed: RunError: the disk is full .*free space, and --resume"
        ) as caught:
            train(small_shards, run.path, fit=fit, cluster=workers_of(backend), backend=faulty)
        assert str(run.path) in str(caught.value)
        assert places(run)[0] == Place(1)
        if local:
            ballast.unlink()
            result = train(small_shards, run.path, fit=fit, backend=backend, resume=True)
            assert curve(result) == pytest.approx(curve(small_training), abs=1e-5)


@pytest.mark.parametrize("backend", ["local", long("tfos"), RAY])
def test_a_loss_that_is_not_finite_is_reported_without_a_restart(
    backend: str, small_shards: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    with pytest.raises(WorkerError, match=r"worker [01] failed: ArithmeticError: loss is nan at step \d+"):
        train(
            small_shards,
            tmp_path / "run",
            fit=FitConfig(epochs=2, batch_size=8, learning_rate=1e30),
            cluster=replace(workers_of(backend), max_restarts=3),
            backend=backend,
            on_progress=lambda progress: lines.append(progress.message),
        )
    assert not RunDirectory(tmp_path / "run").is_finished()
    assert not [line for line in lines if "starting again" in line]
