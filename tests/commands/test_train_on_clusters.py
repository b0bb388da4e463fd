"""Trainings of two workers on both cluster backends: attacked by another user, with a killed rank, and undisturbed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.process_traces import nothing_is_left
from support.small_trainings import FIT_OF_TWO_WORKERS, TWO_WORKERS, Attacked, curve, train
from support.worker_faults import FaultyBackend, kill_process

from hybridspeech.commands.evaluate import evaluate
from hybridspeech.commands.train import TrainResult

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def everything_ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All the trainings of this module leave no process, port, thread or temporary file."""
    tmp_path_factory.getbasetemp()  # it must not be below the folder of this fixture
    with nothing_is_left():
        yield


@pytest.fixture(scope="module")
def of_two_workers(attacked_training: Callable[[str], Attacked]) -> dict[str, TrainResult]:
    """Return the results of the trainings."""
    return {backend: attacked_training(backend).result for backend in ("tfos", "ray")}


@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_a_local_training_listens_on_loopback_only_and_survives_attacks_on_its_ports(
    backend: str, attacked_training: Callable[[str], Attacked]
) -> None:
    attack = attacked_training(backend).attack
    assert len(attack.listened) >= 4
    assert {ip for ip, _ in attack.listened} <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert not attack.proof.exists()


@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_a_killed_rank_is_named_and_a_restart_gives_the_same_curve(
    backend: str, small_shards: Path, tmp_path: Path, of_two_workers: dict[str, TrainResult]
) -> None:
    """The rank is killed in the second epoch, two steps after a checkpoint."""
    lines: list[str] = []
    result = train(
        small_shards,
        tmp_path / "run",
        fit=FIT_OF_TWO_WORKERS,
        cluster=replace(TWO_WORKERS, max_restarts=1),
        backend=FaultyBackend(backend, 11 + 8, tmp_path / "fault-injected", kill_process),
        on_progress=lambda progress: lines.append(progress.message),
    )
    (restart,) = [line for line in lines if "starting again" in line]
    assert re.search(r"worker 1 failed: its process \d+ on .* was killed", restart)
    assert curve(result) == pytest.approx(curve(of_two_workers[backend]), abs=1e-5)


def test_two_workers_give_one_curve_on_every_backend(of_two_workers: dict[str, TrainResult]) -> None:
    assert curve(of_two_workers["tfos"]) == pytest.approx(curve(of_two_workers["ray"]), abs=1e-4)


@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_two_workers_learn_and_validate_each_example_once(
    of_two_workers: dict[str, TrainResult], small_shards: Path, backend: str
) -> None:
    result = of_two_workers[backend]
    measured = evaluate(result.run_dir, small_shards, split="validation")
    assert result.history[-1]["accuracy"] > 0.75
    assert result.history[-1]["val_accuracy"] == pytest.approx(measured.accuracy, abs=1e-6)
    assert result.history[-1]["val_loss"] == pytest.approx(measured.uncalibrated.loss, abs=1e-4)
    assert (result.global_batch_size, result.steps_per_epoch) == (8, 11)
