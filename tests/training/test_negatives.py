"""Trainings with sound that has none of their words: `train --negatives`."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.small_trainings import FIT, SMALL, curve, train

import hybridspeech as hs
from hybridspeech.commands.train import TrainResult
from hybridspeech.commands.training_negatives import negative_source
from hybridspeech.errors import AudioError, ConfigError, RunError
from hybridspeech.evaluation.file_predictions import load_run
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.records import from_json, to_json
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import read_shard
from hybridspeech.training.config import FitConfig
from hybridspeech.training.dataset import EpochInput, worker_dataset
from hybridspeech.training.negatives import (
    FoundNegatives,
    NegativeBatches,
    Origin,
    load_negatives,
    planned_negatives,
    write_negatives,
)
from hybridspeech.training.plan import NegativeWindows, TrainPlan
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.status_exchange import begin_attempt
from hybridspeech.training.stored_run import driver_copy, rank_copy

LABELS = ("_unknown_", "high", "low")
PITCH_HZ = 1_500.0
"""Of a sound that is no word, and near the word "high"."""


@pytest.fixture(scope="module")
def shards(noisy_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Waveforms of two words and of others."""
    out = tmp_path_factory.mktemp("negatives") / "shards"
    manifest = hs.ManifestConfig(task="words:high,low,_unknown_", unknown_percentage=100)
    hs.preprocess(noisy_tones, out, features=hs.FeatureConfig(kind="waveform"), manifest=manifest, engine="local")
    return out


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s of the other word "middle" with another tone from 6 to 7 s, a short recording, and a file that is no sound."""
    folder = tmp_path_factory.mktemp("recordings")
    pitches_hz = np.full(12 * 16_000, 660.0)
    pitches_hz[6 * 16_000 : 7 * 16_000] = PITCH_HZ
    sound = 0.4 * np.sin(2 * np.pi * pitches_hz * np.arange(pitches_hz.size) / 16_000)
    sound += 0.02 * np.random.default_rng(0).standard_normal(sound.size)
    soundfile.write(folder / "long.flac", sound, 16_000)
    soundfile.write(folder / "short.wav", sound[:8_000], 16_000)
    (folder / "text.wav").write_bytes(b"no sound")
    return folder


def small_train(shards: Path, run: Path, epochs: int = 1, **more: object) -> TrainResult:
    fit = replace(FIT, epochs=epochs)
    return train(shards, run, **{"features": SMALL, "fit": fit, "backend": "local", **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def first_run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(small_train(shards, tmp_path_factory.mktemp("first") / "run", epochs=6).run_dir)


def some_negatives(count: int = 5) -> FoundNegatives:
    windows = np.arange(count, dtype=np.int16)[:, np.newaxis] * np.ones(16_000, np.int16)
    origins = [Origin(file=f"{n}.wav", start_s=n, label=LABELS[n == 1], score=0.5) for n in range(count)]
    return FoundNegatives(windows=windows, origins=origins).by_label()


def run_with_negatives(folder: Path) -> tuple[TrainPlan, RunDirectory]:
    found = some_negatives()
    plan = TrainPlan(shards="", run=str(folder), labels=LABELS, negatives=found.record("street"))
    plan = replace(plan, fit=FitConfig(batch_size=8, seed=0, negatives_percentage=25))
    directory = RunDirectory(folder)
    directory.create(plan)
    write_negatives(found, directory)
    return plan, directory


def test_a_run_has_a_copy_of_the_negatives(tmp_path: Path) -> None:
    plan, run = run_with_negatives(tmp_path / "run")
    loaded = load_negatives(plan, run)
    assert loaded is not None
    assert (loaded.windows[:, 0].tolist(), loaded.labels.tolist(), loaded.per_batch) == (
        [0, 2, 3, 4, 1],
        [0] * 4 + [1],
        2,
    )
    assert planned_negatives(None, run.path, resume=True) == plan.negatives
    with pytest.raises(RunError, match=r"was started with the negatives of street; resume it without --negatives"):
        planned_negatives(tmp_path, run.path, resume=True)
    run.negatives_path.write_bytes(run.negatives_path.read_bytes()[:-2])
    with pytest.raises(RunError, match=r"windows.npy: the copy of the negatives is missing or damaged"):
        load_negatives(plan, run)


def test_a_plan_without_negatives_has_the_form_of_earlier_versions(tmp_path: Path) -> None:
    assert "negatives" not in to_json(TrainPlan(shards="", run=""))
    plan, _ = run_with_negatives(tmp_path / "run")
    assert from_json(TrainPlan, json.loads(json.dumps(to_json(plan)))) == plan


def test_a_rank_on_another_host_fetches_the_negatives_from_the_store(tmp_path: Path) -> None:
    plan, run = run_with_negatives(tmp_path / "driver")
    plan = replace(plan, store=f"memory://negatives/{tmp_path.name}", attempt="a", run=str(tmp_path / "rank"))
    RunDirectory(plan.run).make_folders()
    begin_attempt(plan)
    with driver_copy(plan.store, run.path), rank_copy(plan, 1):
        fetched = load_negatives(plan, RunDirectory(plan.run))
    assert fetched is not None and len(fetched.windows) == 5


def test_each_window_is_used_once_before_any_is_used_again() -> None:
    windows = np.arange(7, dtype=np.int16)[:, np.newaxis]
    batches = NegativeBatches(windows=windows, labels=np.arange(7), per_batch=3, seed=0)
    made = [batches.batch(number) for number in range(7)]
    used = np.concatenate([batch[0][:, 0] for batch in made]).tolist()
    assert [sorted(used[first : first + 7]) for first in (0, 7, 14)] == [list(range(7))] * 3
    assert used[:7] != used[7:14]
    assert len(set(np.concatenate([batch[2] for batch in made]).tolist())) == 21  # each time another augmentation
    np.testing.assert_array_equal(batches.batch(4)[0], made[4][0])


def test_negatives_fill_up_each_batch_also_behind_a_checkpoint(shards: Path) -> None:
    index = ShardIndex.load(shards)
    negatives = NegativeBatches(
        windows=some_negatives().windows * np.int16(1_000),
        labels=np.array([0, 0, 0, 0, 1], np.int32),
        per_batch=2,
        seed=3,
    )
    transform = ClipTransform(index.features, SMALL)
    usual = EpochInput(rank=0, num_workers=2, batch_size=4, shuffle=(3, 1, 16), transform=transform)

    def batches(epoch: EpochInput) -> list[tuple[np.ndarray, ...]]:
        return list(worker_dataset(shards, index, "training", epoch).as_numpy_iterator())

    without, whole = batches(usual), batches(replace(usual, negatives=negatives))
    assert len(whole) == len(without) > 2
    for plain, filled in zip(without, whole, strict=True):
        assert filled[0].shape[0] == 6
        for clips, more in zip(plain, filled, strict=True):
            np.testing.assert_array_equal(more[:4], clips)
        assert filled[2][4:].tolist() == [1, 1]
        assert set(filled[1][4:].argmax(axis=1).tolist()) <= {0, 1}
    rest = batches(replace(usual, negatives=negatives, skip=2))
    for late, early in zip(rest, whole[2:], strict=True):
        np.testing.assert_array_equal(late[0], early[0])
    other = batches(replace(usual, negatives=negatives, rank=1))
    assert any((mine[0][4:] != theirs[0][4:]).any() for mine, theirs in zip(whole, other, strict=True))


def test_what_can_not_have_negatives_is_refused_in_a_sentence(
    shards: Path, small_shards: Path, recordings: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(
        ConfigError, match=r"negatives are sound, but the data are logmel spectrograms; preprocess with"
    ):
        train(small_shards, run, negatives=recordings, backend="local")
    fit = FitConfig(negatives_percentage=25)
    with pytest.raises(ConfigError, match=r"negatives_percentage is 25, but there are no negatives; give recordings"):
        train(shards, run, fit=fit, backend="local")
    with pytest.raises(ConfigError, match=r"no audio file in this folder"):
        small_train(shards, run, negatives=tmp_path)
    with pytest.raises(ConfigError, match=r"holds logmel of 16000 Hz and 1000 ms; negatives need waveform"):
        small_train(shards, run, negatives=small_shards)
    assert not run.exists()
    (tmp_path / "text.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"no recording can be read: .*text.wav"):
        small_train(shards, run, negatives=tmp_path)


def test_a_run_without_the_label_unknown_can_not_have_negatives(tones: Path, recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    hs.preprocess(tones, out, features=hs.FeatureConfig(kind="waveform"), engine="local")
    with pytest.raises(ConfigError, match=r"negatives have the label _unknown_, and the shards have no such clips"):
        small_train(out, tmp_path / "run", negatives=recordings)


def test_clips_of_shards_that_are_no_words_of_the_run_are_negatives(shards: Path) -> None:
    index, lines = ShardIndex.load(shards), list[str]()
    plan = TrainPlan(shards="", run="", labels=("_unknown_", "low", "other"), features=SMALL, stored=index.features)
    plan = replace(plan, negatives=NegativeWindows(source=str(shards)), fit=FitConfig(batch_size=8, seed=0))
    found = negative_source(plan, 1_000, None).find(lambda progress: lines.append(progress.message))
    clips = {
        example.clip_id: example.values
        for shard in index.of_split("training")
        for example in read_shard(shards / shard.name)
        if example.label_name != "low"
    }
    assert {origin.file for origin in found.origins} == clips.keys()
    assert {origin.label for origin in found.origins} == {"_unknown_"}
    for window, origin in zip(found.windows, found.origins, strict=True):
        np.testing.assert_array_equal(window, clips[origin.file])
    assert "left out, as words of this run" in lines[0] and "of low" in lines[0]
    assert len(negative_source(plan, 3, None).find(lambda _: None).windows) == 3


def table(run: Path) -> list[dict[str, str]]:
    with (run / "negatives" / "windows.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def probability_of_a_word(run: Path, recordings: Path) -> float:
    """Return the highest probability of a word in the tone of the recordings."""
    sound = soundfile.read(recordings / "long.flac", dtype="float32")[0][6 * 16_000 : 7 * 16_000]
    return 1 - float(load_run(run).probabilities(FeatureExtractor(SMALL)(sound)[np.newaxis])[0][0])


@pytest.mark.slow
def test_windows_that_sound_like_a_word_are_mined_and_lose_it(
    shards: Path, first_run: Path, recordings: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    hard = Path(
        small_train(
            shards,
            tmp_path / "hard",
            fit=replace(FIT, epochs=4, negatives_percentage=200),
            init_from=first_run,
            negatives=recordings,
            on_progress=lambda progress: lines.append(progress.message),
        ).run_dir
    )
    plan = RunDirectory(hard).read_plan()
    assert plan.negatives is not None
    assert sum(plan.negatives.counts.values()) == len(table(hard))
    hardest = max(table(hard), key=lambda row: float(row["score"]))
    assert (hardest["file"], hardest["label"]) == ("long.flac", "_unknown_")
    assert 5 < float(hardest["start_s"]) < 7
    (mined,) = [line for line in lines if line.startswith("negatives: mined")]
    assert "; each batch has 16 windows more" in mined
    assert "1 recording can't be read to the end" in mined
    usual = Path(small_train(shards, tmp_path / "usual", epochs=4, init_from=first_run).run_dir)
    assert probability_of_a_word(hard, recordings) < 0.5 * probability_of_a_word(usual, recordings)


@pytest.mark.slow
def test_a_resumed_training_has_the_same_curve_without_the_recordings(
    shards: Path, recordings: Path, tmp_path: Path
) -> None:
    mine = shutil.copytree(recordings, tmp_path / "recordings")
    part = small_train(shards, tmp_path / "run", negatives=mine)
    shutil.rmtree(mine)
    assert {row["score"] for row in table(Path(part.run_dir))} == {""}
    longer = small_train(shards, Path(part.run_dir), epochs=2, resume=True)
    whole = small_train(shards, tmp_path / "whole", epochs=2, negatives=recordings)
    assert curve(longer) == curve(whole)
    assert curve(longer)[:4] == curve(part)
