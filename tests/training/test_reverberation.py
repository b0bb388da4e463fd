"""Trainings with room impulse responses: `train --rir`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.small_trainings import FIT, FIT_OF_TWO_WORKERS, SMALL, TWO_WORKERS, curve, train

from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.train import TrainResult
from hybridspeech.config import AugmentConfig, FeatureConfig
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.records import from_json, to_json
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard
from hybridspeech.storage.objects import list_files
from hybridspeech.training.config import FitConfig
from hybridspeech.training.plan import RoomResponses, TrainPlan
from hybridspeech.training.rank import make_transform
from hybridspeech.training.reverberation import copy_responses, load_responses, plan_responses
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.status_exchange import begin_attempt
from hybridspeech.training.stored_run import driver_copy, rank_copy

ONE_EPOCH = replace(FIT, epochs=1)


@pytest.fixture(scope="module")
def sound(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones as waveform shards: two words, and others."""
    out = tmp_path_factory.mktemp("sound") / "shards"
    manifest = ManifestConfig(task="words:high,low,_unknown_", unknown_percentage=50)
    preprocess(tones, out, features=FeatureConfig(kind="waveform"), manifest=manifest, engine="local")
    return out


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rooms."""
    folder = tmp_path_factory.mktemp("rooms")
    generator = np.random.default_rng(0)
    for number in range(3):
        response = 0.2 * generator.standard_normal(8_000) * np.exp(-np.arange(8_000) / (1_000 + 1_000 * number))
        response[50] = 1
        soundfile.write(folder / f"{number}.wav", response.astype(np.float32), 16_000, subtype="FLOAT")
    return folder


def planned(
    rooms: Path | None, run: Path, resume: bool = False, frequency: float | None = None
) -> RoomResponses | None:
    augment = AugmentConfig(rir_frequency=frequency)
    return plan_responses(rooms, run, resume=resume, augment=augment, sample_rate_hz=16_000)


def run_with(rooms: Path, folder: Path) -> tuple[TrainPlan, RunDirectory]:
    """The plan and the folder of a run that has copied its responses."""
    plan = TrainPlan(shards="", run=str(folder), rir=planned(rooms, folder))
    directory = RunDirectory(folder)
    directory.create(plan)
    assert plan.rir is not None
    copy_responses(plan.rir, 16_000, directory)
    return plan, directory


def test_a_run_has_a_copy_of_the_responses(rooms: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(rooms, tmp_path / "rooms")
    plan, run = run_with(mine, tmp_path / "run")
    shutil.rmtree(mine)
    assert load_responses(plan, run).shape == (3, 16_000)
    assert planned(mine, run.path, resume=True) == planned(None, run.path, resume=True) == plan.rir
    with pytest.raises(RunError, match=r"was started with the room impulse responses of .*; resume it without --rir"):
        planned(rooms, run.path, resume=True)
    run.responses_path.write_bytes(b"something else")
    with pytest.raises(RunError, match=r"responses.npy: the copy of the room impulse responses is missing or damaged"):
        load_responses(plan, run)


def test_responses_that_have_changed_since_the_plan_are_refused(rooms: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(rooms, tmp_path / "rooms")
    plan, run = run_with(mine, tmp_path / "run")
    (mine / "0.wav").unlink()
    assert plan.rir is not None
    with pytest.raises(RunError, match="its files have changed since this training was planned"):
        copy_responses(plan.rir, 16_000, run)


def test_a_frequency_of_zero_is_no_reverberation(rooms: Path, tmp_path: Path) -> None:
    assert planned(rooms, tmp_path / "run", frequency=0) is None
    assert load_responses(TrainPlan(shards="", run=""), RunDirectory(tmp_path)).shape == (0, 0)


def test_a_plan_without_responses_has_the_form_of_earlier_versions(rooms: Path, tmp_path: Path) -> None:
    plan = TrainPlan(shards="", run="")
    assert "rir" not in to_json(plan)
    there = replace(plan, rir=planned(rooms, tmp_path / "run"))
    assert from_json(TrainPlan, json.loads(json.dumps(to_json(there)))) == there


def test_reverberation_needs_waveform_shards_and_responses(
    small_shards: Path, sound: Path, rooms: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"rir_frequency is 0.3, which changes the sound, but the data are logmel"):
        train(small_shards, tmp_path / "run", rir=rooms, backend="local")
    half = FitConfig(augment=AugmentConfig(rir_frequency=0.5))
    with pytest.raises(
        ConfigError, match=r"rir_frequency is 0.5, but there are no room .* give a folder of them with --rir"
    ):
        train(sound, tmp_path / "run", fit=half, backend="local")
    assert not (tmp_path / "run").exists()


def small_run(
    sound: Path, run: Path | str, rir: Path | None, fit: FitConfig = ONE_EPOCH, **more: object
) -> TrainResult:
    more = {"backend": "local", **more}
    return train(sound, run, features=SMALL, fit=fit, rir=rir, **more)  # type: ignore[arg-type]


def heard(sound: Path, run: RunDirectory, frequency: float) -> np.ndarray:
    """The input of a network for two clips in the first epoch of a run, if this share of the clips were reverberated."""
    plan, index = run.read_plan(), ShardIndex.load(sound)
    plan = replace(plan, fit=replace(plan.fit, augment=replace(plan.fit.augment, rir_frequency=frequency)))
    clips = np.stack([example.values for example in read_shard(sound / index.of_split("training")[0].name)][:2])
    return make_transform(plan, index, run)(clips.reshape(2, -1), ["a", "b"], 1)


@pytest.mark.slow
def test_a_training_hears_the_rooms_and_a_resume_does_not_need_them(sound: Path, rooms: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(rooms, tmp_path / "rooms")
    first = small_run(sound, tmp_path / "run", mine)
    shutil.rmtree(mine)
    run = RunDirectory(first.run_dir)
    assert run.read_plan().fit.augment.rir_frequency == 0.3
    assert (heard(sound, run, 1.0) != heard(sound, run, 0.0)).any(axis=(1, 2)).all()
    longer = small_run(sound, first.run_dir, None, replace(FIT, epochs=2), resume=True)
    assert curve(longer) == curve(small_run(sound, tmp_path / "whole", rooms, replace(FIT, epochs=2)))
    assert curve(longer)[:4] == curve(first)


def test_a_rank_on_another_host_fetches_the_responses_from_the_store(rooms: Path, tmp_path: Path) -> None:
    plan, run = run_with(rooms, tmp_path / "driver")
    plan = replace(plan, store=f"memory://test/{tmp_path.name}", attempt="a", run=str(tmp_path / "rank"))
    RunDirectory(plan.run).make_folders()
    begin_attempt(plan)
    with driver_copy(plan.store, run.path), rank_copy(plan, 1):
        np.testing.assert_array_equal(load_responses(plan, RunDirectory(plan.run)), load_responses(plan, run))


@pytest.mark.soak
@pytest.mark.cluster
def test_cluster_backends_hear_the_same_rooms_and_negatives_without_a_shared_folder(
    sound: Path, rooms: Path, tones: Path, s3_url: str
) -> None:
    fit = replace(FIT_OF_TWO_WORKERS, epochs=1)
    tfos, ray = (
        small_run(
            sound,
            f"{s3_url}/{backend}",
            rooms,
            fit,
            negatives=tones / "middle",
            backend=backend,
            cluster=TWO_WORKERS,
        )
        for backend in ("tfos", "ray")
    )
    assert curve(tfos) == pytest.approx(curve(ray), abs=1e-5)
    names = [stat.name for stat in list_files(f"{s3_url}/ray")]
    assert {"rir/responses.npy", "negatives/windows.npy", "negatives/windows.csv"} <= set(names)
