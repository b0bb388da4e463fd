"""The verb `evaluate`: metrics, files and errors."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.trained_runs import SMALL, tone_run, tone_shards
from typer.testing import CliRunner

from hybridspeech.cli import app
from hybridspeech.commands.evaluate import EvaluateResult, evaluate
from hybridspeech.commands.export import export
from hybridspeech.commands.predict import predict
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.errors import ConfigError, RunError, ShardError
from hybridspeech.records import to_json
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.temperature import Calibration, write_calibration


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_shards(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_run(tmp_path_factory.getbasetemp(), tones)


@pytest.fixture(scope="module")
def metrics(run: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateResult:
    """Of the training split, since all of its labels have clips."""
    return evaluate(run, shards, split="training", out=tmp_path_factory.mktemp("evaluation"))


def test_every_clip_of_the_split_counts_once(metrics: EvaluateResult, shards: Path) -> None:
    assert metrics.num_clips == ShardIndex.load(shards).splits["training"] == sum(map(sum, metrics.confusion))
    assert [record.num_clips for record in metrics.classes] == [sum(row) for row in metrics.confusion]


def test_tones_are_recognised(metrics: EvaluateResult) -> None:
    assert metrics.accuracy >= 0.9
    assert metrics.loss < 0.5


def test_accuracy_lies_in_its_interval(metrics: EvaluateResult) -> None:
    low, high = metrics.accuracy_ci95
    assert 0 <= low <= metrics.accuracy <= high <= 1


def test_batch_size_changes_no_number(metrics: EvaluateResult, run: Path, shards: Path, tmp_path: Path) -> None:
    again = evaluate(run, shards, split="training", batch_size=7, out=tmp_path)
    assert again.confusion == metrics.confusion
    assert again.loss == pytest.approx(metrics.loss, abs=1e-6)


def test_files_have_the_numbers_of_the_result(metrics: EvaluateResult) -> None:
    written = json.loads(metrics.files.metrics.read_text())
    assert len(written.pop("speakers")) == metrics.num_speakers
    assert written == json.loads(json.dumps(to_json(metrics)))
    with metrics.files.confusion_csv.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["label", "high", "low", "middle"]
    assert [tuple(map(int, row[1:])) for row in rows] == list(metrics.confusion)
    for picture in (metrics.files.confusion_png, metrics.files.reliability_png):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_predictions_name_every_clip(metrics: EvaluateResult) -> None:
    with metrics.files.predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["clip_id"] for row in rows}) == metrics.num_clips
    assert sum(row["label"] == row["predicted"] for row in rows) == round(metrics.accuracy * metrics.num_clips)


def test_every_speaker_has_a_line(metrics: EvaluateResult) -> None:
    with metrics.files.speakers.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == metrics.num_speakers
    assert sum(int(row["clips"]) for row in rows) == metrics.num_clips
    assert metrics.speaker_spread
    assert metrics.speaker_spread.mean == pytest.approx(np.mean([float(row["accuracy"]) for row in rows]), abs=1e-6)


def test_the_task_and_the_calibration_are_printed_with_the_accuracy(metrics: EvaluateResult) -> None:
    assert metrics.labels == ("high", "low", "middle")
    assert 0 <= metrics.ece <= 1
    assert sum(each.num_clips for each in metrics.reliability) == metrics.num_clips


@pytest.fixture(scope="module")
def calibrated(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the run, with a temperature other than 1."""
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(run, folder)
    write_calibration(RunDirectory(folder).calibration_path, Calibration(temperature=0.4, num_clips=30))
    return folder


def test_temperature_changes_the_calibration_and_no_label(
    metrics: EvaluateResult, calibrated: Path, shards: Path, tmp_path: Path
) -> None:
    scaled = evaluate(calibrated, shards, split="training", out=tmp_path)
    assert (scaled.temperature, metrics.temperature) == (0.4, 1.0)
    assert scaled.confusion == metrics.confusion
    assert scaled.loss < metrics.loss
    assert (scaled.uncalibrated.loss, scaled.uncalibrated.ece) == (metrics.loss, metrics.ece)


def test_predict_and_export_use_the_temperature(calibrated: Path, shards: Path, tones: Path, tmp_path: Path) -> None:
    scaled = evaluate(calibrated, shards, out=tmp_path / "evaluation")
    with scaled.files.predictions.open(newline="") as file:
        row = next(csv.DictReader(file))
    said = next(iter(predict(calibrated, [tones / row["clip_id"]])))
    assert said.probability == pytest.approx(float(row["probability"]), abs=1e-4)
    assert export(calibrated, tmp_path / "model").max_difference <= 1e-4


def test_unknown_speakers_are_reported_in_the_result_and_on_stderr(run: Path, tones: Path, tmp_path: Path) -> None:
    for clip in tones.glob("*/*.wav"):
        copy = tmp_path / "words" / clip.parent.name / clip.name.replace("_nohash_", "_take_")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, copy)
    preprocess(tmp_path / "words", tmp_path / "shards", features=SMALL, engine="local")
    done = CliRunner().invoke(app, ["evaluate", str(run), str(tmp_path / "shards"), "--split", "training", "--json"])
    (text,) = json.loads(done.stdout)["warnings"]
    num_clips = ShardIndex.load(tmp_path / "shards").splits["training"]
    assert text.startswith(f"the speaker of {num_clips} of {num_clips} clips is unknown")
    done = CliRunner().invoke(app, ["evaluate", str(run), str(tmp_path / "shards"), "--split", "training"])
    assert f"warning: {text}" in done.stderr


def test_files_go_into_the_run_by_default(run: Path, shards: Path) -> None:
    assert evaluate(run, shards).files.metrics == run / "evaluation-testing" / "metrics.json"


def test_unfinished_run_is_refused(run: Path, shards: Path, tmp_path: Path) -> None:
    RunDirectory(tmp_path).create(RunDirectory(run).read_plan())
    with pytest.raises(RunError, match="training has not ended"):
        evaluate(tmp_path, shards)


def test_folder_without_shards_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"index\.json"):
        evaluate(run, tmp_path)


def test_unknown_split_is_refused_with_the_existing_ones(run: Path, shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"split 'test' has no clips; choose one of .*testing"):
        evaluate(run, shards, split="test")


def copy_with(shards: Path, folder: Path, **changes: object) -> Path:
    """Write a changed index without shards, for checks that are made before shards are read."""
    replace(ShardIndex.load(shards), **changes).save(folder)  # type: ignore[arg-type]
    return folder


def test_other_labels_are_listed(run: Path, shards: Path, tmp_path: Path) -> None:
    other = copy_with(shards, tmp_path, labels=("high", "low", "shrill"))
    with pytest.raises(ConfigError, match="only the run has middle; only the shards have shrill"):
        evaluate(run, other)


def test_other_features_are_listed(run: Path, shards: Path, tmp_path: Path) -> None:
    features = replace(ShardIndex.load(shards).features, hop_length=128)
    with pytest.raises(ConfigError, match="hop_length 256 / 128"):
        evaluate(run, copy_with(shards, tmp_path, features=features))


def test_shards_of_the_other_kernel_have_the_same_features(run: Path, shards: Path, tmp_path: Path) -> None:
    features = replace(ShardIndex.load(shards).features, kernel="reference")
    with pytest.raises(ConfigError, match="has no clips"):
        evaluate(run, copy_with(shards, tmp_path, features=features), split="nowhere")


def test_checks_come_before_tensorflow(run: Path, shards: Path) -> None:
    code = (
        "import sys\nfrom hybridspeech.errors import ConfigError\nfrom hybridspeech.commands.evaluate import evaluate\n"
        f"try:\n    evaluate({str(run)!r}, {str(shards)!r}, split='none')\n"
        "except ConfigError:\n    sys.exit('tensorflow' in sys.modules)\nsys.exit('no error')"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
