"""The verb `train` and the loop behind it: on one local worker, and on both cluster backends with two."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.port_attack import Attack
from support.process_traces import traces
from support.small_disk import mounted
from support.worker_faults import FaultyBackend, fill, interrupt, kill_me, power_cut

from hybridspeech.commands import train as verb
from hybridspeech.commands.evaluate import evaluate
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import TrainResult
from hybridspeech.config import AugmentConfig, ClusterConfig, FeatureConfig
from hybridspeech.errors import (
    ConfigError,
    HybridspeechError,
    OutputExistsError,
    RunError,
    ShardError,
    WorkerError,
)
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.label_counts import count_labels
from hybridspeech.training.checkpoints import Place, places
from hybridspeech.training.config import FitConfig
from hybridspeech.training.loop import has_stopped_improving
from hybridspeech.training.plan import TrainRequest, make_plan, shards_data
from hybridspeech.training.run_directory import RunDirectory

pytestmark = pytest.mark.cluster  # training processes, or trainings in this one: too long for make test-quick
train = functools.partial(verb.train, model=ModelConfig(name="cnn"))  # cnn: the smallest network here
SMALL = FeatureConfig(kind="logmel", n_mels=24, hop_length=500)
FIT = FitConfig(epochs=3, batch_size=8, deterministic=True)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All the trainings of this module, on every backend, leave no process, port, thread or temporary file."""
    tmp_path_factory.getbasetemp()  # it must not stand below the folder of this fixture
    with tempfile.TemporaryDirectory(prefix="t-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        before = traces(Path(folder))
        yield
        after = traces(Path(folder))
        for kind in ("processes", "ports", "threads of Python", "files"):
            assert after[kind] == before[kind]


@pytest.fixture(scope="module")
def shards(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "shards"
    preprocess(tones, out, features=SMALL, engine="local")
    return out


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(shards, tmp_path_factory.mktemp("run") / "run", fit=FIT, backend="local")


def curve(result: TrainResult) -> list[float]:
    return [row[name] for row in result.history for name in ("loss", "accuracy", "val_loss", "val_accuracy")]


def test_the_loss_decreases_and_accuracy_is_high(trained: TrainResult) -> None:
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < losses[0] / 2
    assert trained.history[-1]["accuracy"] > 0.9


def test_the_run_directory_has_all_documented_files(trained: TrainResult, shards: Path) -> None:
    run = RunDirectory(trained.run_dir)
    plan = run.require_finished()
    assert (plan.digest, plan.labels) == (
        json.loads((shards / "index.json").read_text())["digest"],
        ("high", "low", "middle"),
    )
    assert run.labels_path.read_text().split() == ["high", "low", "middle"]
    assert run.read_metrics() == list(trained.history)
    assert [path.name for path in sorted(run.checkpoints_dir.iterdir())] == ["epoch-0002", "epoch-0003"]
    assert list(run.tensorboard_dir.iterdir())
    assert run.status.read(0)["state"] == "finished"


def test_validation_counts_each_example_once(trained: TrainResult, shards: Path) -> None:
    measured = evaluate(trained.run_dir, shards, split="validation")
    assert trained.history[-1]["val_accuracy"] == pytest.approx(measured.accuracy, abs=1e-6)
    assert trained.history[-1]["val_loss"] == pytest.approx(measured.uncalibrated.loss, abs=1e-4)


def test_the_same_seed_gives_the_same_curve(trained: TrainResult, shards: Path, tmp_path: Path) -> None:
    again = train(shards, tmp_path / "run", fit=FIT, backend="local")
    assert curve(again) == pytest.approx(curve(trained), abs=1e-5)


def test_a_resumed_training_gives_the_undisturbed_curve(trained: TrainResult, shards: Path, tmp_path: Path) -> None:
    """Cut in the middle of the second epoch, two steps after a checkpoint; 11 steps an epoch."""
    run, fit = tmp_path / "run", replace(FIT, checkpoint_steps=4)
    struck = FaultyBackend("local", 11 + 8, tmp_path / "struck", power_cut)
    with pytest.raises(WorkerError, match="worker 0 failed: RuntimeError: power cut"):
        train(shards, run, fit=fit, backend=struck)
    found = [place.name for place in places(RunDirectory(run))]
    assert found == ["epoch-0001", "epoch-0001-step-000004", "epoch-0001-step-000008"]  # the best epoch, the last two
    result = train(shards, run, fit=fit, backend="local", resume=True)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert curve(result) == pytest.approx(curve(trained), abs=1e-5)
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
    trained: TrainResult,
    shards: Path,
    tmp_path: Path,
    phase: str,
    step: int,
    checkpoint_steps: int,
    saved: str | None,
) -> None:
    run, lines = tmp_path / "run", list[str]()
    struck = FaultyBackend("local", step, tmp_path / "struck", interrupt, phase=phase)
    with pytest.raises(KeyboardInterrupt):
        train(
            shards,
            run,
            fit=replace(FIT, checkpoint_steps=checkpoint_steps),
            backend=struck,
            on_progress=lambda progress: lines.append(progress.message),
        )
    assert [place.name for place in places(RunDirectory(run))][-1:] == ([saved] if saved else [])
    assert lines[-1].endswith(f"saved in {run}/checkpoints/{saved}" if saved else "stopped; nothing is saved yet")
    assert not list(run.glob("**/*.tmp"))
    result = train(shards, run, fit=FIT, backend="local", resume=True)
    assert curve(result) == pytest.approx(curve(trained), abs=1e-5)


def test_a_training_with_max_restarts_restarts_after_a_failure(
    trained: TrainResult, shards: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    result = train(
        shards,
        tmp_path / "run",
        fit=FIT,
        cluster=ClusterConfig(max_restarts=1),
        backend=FaultyBackend("local", 22, tmp_path / "struck", power_cut),
        on_progress=lambda progress: lines.append(progress.message),
    )
    assert curve(result) == pytest.approx(curve(trained), abs=1e-5)
    assert [line for line in lines if "power cut; starting again from the last checkpoint; 0 restarts left" in line]


def test_the_last_checkpoints_and_the_best_are_kept(trained: TrainResult, shards: Path, tmp_path: Path) -> None:
    fit = replace(FIT, epochs=5, learning_rate=0.2, keep_checkpoints=1)  # too fast: the best epoch is not the last
    result = train(shards, tmp_path / "run", fit=fit, backend="local")
    best = min(result.history, key=lambda row: row["val_loss"])["epoch"]
    assert best != 5
    assert [place.epochs for place in places(RunDirectory(result.run_dir))] == [best, 5]


@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_incomplete_shards_are_refused_before_training(shards: Path, tmp_path: Path, harm: str) -> None:
    copy = shutil.copytree(shards, tmp_path / "shards")
    victim = sorted(copy.glob("training-*"))[2]
    victim.unlink() if harm == "missing" else os.truncate(victim, 100)
    with pytest.raises(ShardError, match=rf"{victim.name}: .*1 incomplete shard in .*: preprocess again"):
        train(copy, tmp_path / "run", fit=FIT, backend="tfos")
    assert not (tmp_path / "run").exists()


def workers_of(backend: str) -> ClusterConfig:
    """One worker here, or two on a cluster."""
    return ClusterConfig() if backend == "local" else ClusterConfig(num_workers=2, threads_per_worker=1)


def long(backend: str) -> object:
    """Left to `make soak`: a backend passes on whatever the loop raises, and the other one shows it with this cause."""
    return pytest.param(backend, marks=pytest.mark.soak)


@pytest.mark.parametrize("backend", ["local", "tfos", long("ray")])
def test_a_damaged_record_of_a_shard_is_one_sentence(backend: str, shards: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(shards, tmp_path / "shards")
    victim = sorted(copy.glob("training-*"))[2]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(WorkerError, match=rf"ShardError: .*{victim.name}: record \d+ at byte \d+ is damaged"):
        train(copy, tmp_path / "run", fit=FIT, cluster=workers_of(backend), backend=backend)


@pytest.mark.parametrize("kib", [600, 1000])
def test_a_full_disk_while_saving_keeps_the_last_good_checkpoint(
    kib: int, trained: TrainResult, shards: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs") as disk:
        with pytest.raises(HybridspeechError, match=r"No space left on device|disk") as caught:
            train(shards, disk / "run", fit=FIT, backend="local")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1200
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True, timeout=30)
        assert curve(train(shards, disk / "run", fit=FIT, backend="local", resume=True)) == pytest.approx(
            curve(trained), abs=1e-5
        )


@pytest.mark.parametrize("backend", ["local", "tfos", "ray"])
def test_a_disk_filled_by_others_is_reported_and_the_last_checkpoint_stays(
    backend: str, shards: Path, tmp_path: Path, trained: TrainResult
) -> None:
    """In the middle of the second epoch, to the last byte: the word on why a rank ends finds no new room."""
    local = backend == "local"
    fit = FIT if local else replace(FIT, batch_size=4, checkpoint_steps=4)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as disk:
        run, ballast = RunDirectory(disk / "run"), disk / "ballast"
        struck = FaultyBackend(backend, 11 + 8, tmp_path / "struck", functools.partial(fill, ballast))
        with pytest.raises(
            WorkerError, match=r"failed: RunError: the disk is full .*free space, and --resume"
        ) as caught:
            train(shards, run.path, fit=fit, cluster=workers_of(backend), backend=struck)
        assert str(run.path) in str(caught.value)
        assert places(run)[0] == Place(1)
        if local:
            ballast.unlink()
            result = train(shards, run.path, fit=fit, backend=backend, resume=True)
            assert curve(result) == pytest.approx(curve(trained), abs=1e-5)


@pytest.mark.parametrize("backend", ["local", long("tfos"), "ray"])
def test_a_loss_that_is_not_finite_is_reported_without_a_restart(backend: str, shards: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(WorkerError, match=r"worker [01] failed: ArithmeticError: loss is nan at step \d+"):
        train(
            shards,
            tmp_path / "run",
            fit=FitConfig(epochs=2, batch_size=8, learning_rate=1e30),
            cluster=replace(workers_of(backend), max_restarts=3),
            backend=backend,
            on_progress=lambda progress: lines.append(progress.message),
        )
    assert not RunDirectory(tmp_path / "run").is_finished()
    assert not [line for line in lines if "starting again" in line]


def test_invalid_settings_are_refused_before_training(shards: Path, tmp_path: Path, trained: TrainResult) -> None:
    with pytest.raises(ConfigError, match=r"8 shards for 9 workers"):
        train(shards, tmp_path / "run", cluster=ClusterConfig(num_workers=9), backend="tfos")
    with pytest.raises(ShardError, match=r"index\.json"):
        train(tmp_path, tmp_path / "run", backend="tfos")
    assert not (tmp_path / "run").exists()
    with pytest.raises(OutputExistsError):
        train(shards, trained.run_dir, backend="local")
    with pytest.raises(RunError, match="other batch size"):
        train(shards, trained.run_dir, fit=FitConfig(batch_size=9), backend="local", resume=True)


@dataclass(frozen=True)
class Attacked:
    """A training, and what a neighbour did to it meanwhile."""

    result: TrainResult
    attack: Attack


@pytest.fixture(scope="module")
def attacked(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Attacked]:
    """The same training on two workers of each cluster backend, while all their ports are attacked."""
    made = {}
    for backend in ("tfos", "ray"):
        folder = tmp_path_factory.mktemp(backend)
        with Attack(folder / "proof") as attack:
            cluster = ClusterConfig(num_workers=2, threads_per_worker=1)
            fit = replace(FIT, batch_size=4, checkpoint_steps=4)
            made[backend] = Attacked(train(shards, folder / "run", fit=fit, cluster=cluster, backend=backend), attack)
    return made


@pytest.fixture(scope="module")
def of_two_workers(attacked: dict[str, Attacked]) -> dict[str, TrainResult]:
    """The trainings themselves."""
    return {backend: each.result for backend, each in attacked.items()}


@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_a_local_training_listens_on_loopback_only_and_survives_attacks_on_its_ports(
    backend: str, attacked: dict[str, Attacked]
) -> None:
    attack = attacked[backend].attack
    assert len(attack.listened) >= 4
    assert {ip for ip, _ in attack.listened} <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert not attack.proof.exists()


@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_a_killed_rank_is_named_and_a_restart_gives_the_same_curve(
    backend: str, shards: Path, tmp_path: Path, of_two_workers: dict[str, TrainResult]
) -> None:
    """Killed in the middle of the second epoch, two steps after a checkpoint."""
    lines: list[str] = []
    result = train(
        shards,
        tmp_path / "run",
        fit=replace(FIT, batch_size=4, checkpoint_steps=4),
        cluster=ClusterConfig(num_workers=2, threads_per_worker=1, max_restarts=1),
        backend=FaultyBackend(backend, 11 + 8, tmp_path / "struck", kill_me),
        on_progress=lambda progress: lines.append(progress.message),
    )
    (restart,) = [line for line in lines if "starting again" in line]
    assert re.search(r"worker 1 failed: its process \d+ on .* was killed", restart)
    assert curve(result) == pytest.approx(curve(of_two_workers[backend]), abs=1e-5)


def test_two_workers_give_one_curve_on_every_backend(of_two_workers: dict[str, TrainResult]) -> None:
    assert curve(of_two_workers["tfos"]) == pytest.approx(curve(of_two_workers["ray"]), abs=1e-4)


@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_two_workers_learn_and_validate_each_example_once(
    of_two_workers: dict[str, TrainResult], shards: Path, backend: str
) -> None:
    result = of_two_workers[backend]
    measured = evaluate(result.run_dir, shards, split="validation")
    assert result.history[-1]["accuracy"] > 0.75
    assert result.history[-1]["val_accuracy"] == pytest.approx(measured.accuracy, abs=1e-6)
    assert result.history[-1]["val_loss"] == pytest.approx(measured.uncalibrated.loss, abs=1e-4)
    assert (result.global_batch_size, result.steps_per_epoch) == (8, 11)


@pytest.fixture(scope="module")
def waveforms(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("waveforms") / "shards"
    preprocess(tones, out, features=FeatureConfig(kind="waveform"), engine="local")
    return out


VARIED = replace(FIT, augment=AugmentConfig(time_shift_ms=50, gain_db=3, speed_percent=2, time_masks=1))


@pytest.fixture(scope="module")
def varied(waveforms: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Clips varied anew in each epoch, on the reference backend."""
    return train(waveforms, tmp_path_factory.mktemp("run") / "run", features=SMALL, fit=VARIED, backend="local")


def test_training_on_waveforms_augments_them_and_learns(
    varied: TrainResult, waveforms: Path, shards: Path, trained: TrainResult
) -> None:
    assert varied.history[-1]["accuracy"] > 0.75
    assert varied.history[-1]["loss"] != pytest.approx(trained.history[-1]["loss"], abs=1e-4)
    by_waveforms, by_spectrograms = (evaluate(varied.run_dir, each, split="testing") for each in (waveforms, shards))
    assert by_waveforms.accuracy == by_spectrograms.accuracy
    assert by_waveforms.loss == pytest.approx(by_spectrograms.loss, abs=1e-6)


@pytest.mark.soak
@pytest.mark.parametrize("backend", ["tfos", "ray"])
def test_one_worker_gives_the_curve_of_the_reference(
    backend: str, waveforms: Path, tmp_path: Path, varied: TrainResult
) -> None:
    result = train(waveforms, tmp_path / "run", features=SMALL, fit=VARIED, backend=backend)
    assert curve(result) == pytest.approx(curve(varied), abs=1e-5)


def test_early_stopping_ends_the_training_and_keeps_the_best_epoch(waveforms: Path, tmp_path: Path) -> None:
    fit = replace(VARIED, epochs=9, early_stopping=1, learning_rate=0.02)
    result = train(waveforms, tmp_path / "run", features=SMALL, fit=fit, backend="local")
    losses = [row["val_loss"] for row in result.history]
    assert len(losses) < 9
    assert losses[-1] > min(losses) == losses[-2]
    assert evaluate(result.run_dir, waveforms, split="validation").loss == pytest.approx(min(losses), abs=1e-4)


def test_early_stopping_counts_the_epochs_since_the_lowest_validation_loss() -> None:
    rows = [{"epoch": float(i + 1), "loss": 0.0, "val_loss": loss} for i, loss in enumerate((3.0, 1.0, 2.0, 1.5))]
    assert has_stopped_improving(rows, 2)
    assert not has_stopped_improving(rows, 3)
    assert not has_stopped_improving(rows[:2], 1)
    assert not has_stopped_improving(rows, 0)


def test_class_weights_are_inverse_to_the_number_of_clips_and_one_on_average(waveforms: Path, tmp_path: Path) -> None:
    request = TrainRequest(run=tmp_path, backend="local", cluster=ClusterConfig(), fit=FitConfig(class_weights=True))
    plan = make_plan(shards_data(ShardIndex.load(waveforms), waveforms, 1), request)
    counts = [count["training"] for count in count_labels(waveforms, ShardIndex.load(waveforms)).values()]
    weights = plan.label_weights
    assert [weight * count for weight, count in zip(weights, counts, strict=True)] == pytest.approx(
        [sum(counts) / 3] * 3
    )


def test_augmentation_that_the_shards_do_not_allow_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which changes the sound, but the data are logmel"):
        train(shards, tmp_path / "run", fit=VARIED, backend="local")
