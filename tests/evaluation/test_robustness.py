"""Clips with noise or time shifts, and the accuracy on them."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.trained_runs import sound_run, sound_shards, tone_run, tone_shards
from typer.testing import CliRunner

from hybridspeech.cli import app
from hybridspeech.commands.evaluate import EvaluateResult, evaluate
from hybridspeech.errors import ConfigError
from hybridspeech.evaluation.robustness import SHIFT_MS, SNR_DB, noisy
from hybridspeech.shards.index import ShardIndex

GENERATOR = np.random.default_rng(0)
WAVE = 0.1 * GENERATOR.standard_normal(16_000).astype(np.float32)
NOISES = [0.3 * GENERATOR.standard_normal(30_000).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize("snr_db", SNR_DB)
def test_noise_has_the_given_signal_to_noise_ratio(snr_db: int) -> None:
    noise = noisy(WAVE, "a", NOISES, snr_db) - WAVE
    assert 10 * np.log10(np.mean(WAVE**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=1e-3)


def test_a_clip_has_the_same_noise_at_every_ratio_and_another_clip_another() -> None:
    soft, loud, other = (noisy(WAVE, name, NOISES, level) - WAVE for name, level in (("a", 20), ("a", 0), ("b", 0)))
    np.testing.assert_allclose(10 * soft, loud, atol=1e-5)
    assert np.abs(other - loud).max() > 0.1


def test_a_silent_clip_stays_silent() -> None:
    assert not noisy(0 * WAVE, "a", NOISES, 0).any()


def test_silent_parts_of_the_noise_are_skipped() -> None:
    noise = np.concatenate([np.zeros(30_000, np.float32), NOISES[0]])
    for name in "abcdefgh":
        assert np.abs(noisy(WAVE, name, [noise], 0) - WAVE).max() > 0.1
    with pytest.raises(ConfigError, match="noise of this split is silent"):
        noisy(WAVE, "a", [np.zeros(30_000, np.float32)], 0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return sound_shards(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return sound_run(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def metrics(run: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateResult:
    return evaluate(run, shards, robustness=True, out=tmp_path_factory.mktemp("robustness"))


@pytest.mark.slow
def test_every_disturbance_is_measured_and_written(metrics: EvaluateResult) -> None:
    said = [(each.disturbance, each.level) for each in metrics.robustness]
    assert said == [*(("noise", level) for level in SNR_DB), *(("shift", level) for level in SHIFT_MS)]
    with metrics.files.robustness.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == pytest.approx([e.accuracy for e in metrics.robustness], abs=1e-6)


@pytest.mark.slow
def test_little_noise_and_a_shift_do_not_change_the_labels_of_tones(metrics: EvaluateResult) -> None:
    accuracy = {(each.disturbance, each.level): each.accuracy for each in metrics.robustness}
    assert accuracy["shift", 50] >= metrics.accuracy - 0.25  # two of the nine clips
    assert accuracy["noise", 0] <= accuracy["noise", 20]


@pytest.mark.slow
def test_noise_of_training_is_not_used_and_results_repeat(
    metrics: EvaluateResult, run: Path, shards: Path, tmp_path: Path
) -> None:
    shutil.copytree(shards, tmp_path / "shards")
    for path in ShardIndex.load(shards).noise_paths(tmp_path / "shards", "training"):
        Path(path).unlink()
    again = evaluate(run, tmp_path / "shards", robustness=True, batch_size=5, out=tmp_path)
    assert again.robustness == metrics.robustness


@pytest.mark.slow
def test_an_evaluation_without_robustness_removes_older_robustness_files(
    run: Path, shards: Path, tmp_path: Path
) -> None:
    (tmp_path / "robustness.csv").write_text("older")
    assert evaluate(run, shards, out=tmp_path).robustness == ()
    assert not (tmp_path / "robustness.csv").exists()


@pytest.mark.slow
def test_evaluate_prints_a_line_per_disturbance(run: Path, shards: Path, metrics: EvaluateResult) -> None:
    printed = CliRunner().invoke(app, ["evaluate", str(run), str(shards), "--robustness"]).stdout.splitlines()
    rows = [line.split() for line in printed if line.startswith(("noise ", "shift "))]
    assert [float(row[3]) for row in rows] == pytest.approx([e.accuracy for e in metrics.robustness], abs=1e-4)
    assert any(line.startswith("task") and "high, low, middle" in line for line in printed)


@pytest.mark.slow
def test_robustness_on_spectrograms_or_without_noise_is_refused_with_advice(
    run: Path, shards: Path, tones: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp()
    with pytest.raises(
        ConfigError, match="robustness needs the sound; preprocess the same source with --features wave"
    ):
        evaluate(tone_run(base, tones), tone_shards(base, tones), robustness=True)
    replace(ShardIndex.load(shards), noises=()).save(tmp_path)
    with pytest.raises(ConfigError, match=r"no background noise for split 'testing'.* into SOURCE/_background_noise_"):
        evaluate(run, tmp_path, robustness=True)
    with pytest.raises(ConfigError, match="choose validation or testing"):
        evaluate(run, shards, split="training", robustness=True)
