"""`evaluate --stream`: a threshold is chosen, stored in the run, used by `listen` and carried by exports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.trained_runs import random_run, tone_run, tone_shards

import hybridspeech as hs
from hybridspeech.detection.threshold_file import settings_of
from hybridspeech.errors import ConfigError, RunError

pytestmark = pytest.mark.slow
FEATURES = hs.FeatureConfig(kind="logmel", n_mels=24, hop_length=320)
DETECTION = hs.DetectionConfig(hop_ms=200)


@pytest.fixture(scope="module")
def shards(noisy_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stream") / "shards"
    manifest = hs.ManifestConfig(
        task="words:high,low,_unknown_", validation_percentage=25, testing_percentage=25, unknown_percentage=100
    )
    hs.preprocess(noisy_tones, out, features=hs.FeatureConfig(kind="waveform"), manifest=manifest, engine="local")
    return out


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_run(tmp_path_factory.mktemp("stream-run") / "run", FEATURES, ("_unknown_", "high", "low"))


@pytest.fixture(scope="module")
def result(run: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> hs.StreamResult:
    report = tmp_path_factory.mktemp("report") / "stream.html"
    found = hs.evaluate_stream(run, shards, hours=0.005, detection=DETECTION, report=report)
    assert "data:image/png;base64," in report.read_text(encoding="utf-8")
    return found


def test_both_conditions_are_measured_on_the_testing_split(result: hs.StreamResult) -> None:
    assert [(condition.name, condition.snr_db) for condition in result.conditions] == [("clean", None), ("10 dB", 10.0)]
    for condition in result.conditions:
        assert condition.num_words == 2 * condition.num_speakers > 0
        assert condition.hours >= 0.005
        assert condition.chosen.threshold == result.threshold
        assert [curve.label for curve in condition.labels] == ["high", "low"]
    written = json.loads(Path(result.metrics).read_text(encoding="utf-8"))
    assert written["threshold"] == result.threshold
    assert Path(result.det).read_bytes()[:4] == b"\x89PNG"
    assert any("too short for 1 false accepts per hour" in text for text in result.warnings)


def test_the_threshold_is_stored_and_used(run: Path, result: hs.StreamResult, noisy_tones: Path) -> None:
    thresholds, detection = settings_of(run, None, None)
    assert (thresholds, detection) == (hs.Thresholds(default=result.threshold), DETECTION)
    assert settings_of(run, hs.Thresholds(default=0.1), hs.DetectionConfig()) == (
        hs.Thresholds(default=0.1),
        hs.DetectionConfig(),
    )
    events = list(hs.listen(run, noisy_tones / "high"))
    assert all((event.score or 0) >= result.threshold - 1e-6 for event in events)


def test_an_export_carries_the_threshold(run: Path, result: hs.StreamResult, tmp_path: Path) -> None:
    hs.export(run, tmp_path / "model")
    (deployment,) = (tmp_path / "model").rglob("deployment.json")
    listen = json.loads(deployment.read_text(encoding="utf-8"))["listen"]
    assert listen["thresholds"] == {"default": result.threshold, "labels": {}}
    assert listen["detection"]["hop_ms"] == 200


def test_a_damaged_threshold_file_is_named(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "model" / "thresholds.json").write_text('{"thresholds": {"default": 7}}', encoding="utf-8")
    with pytest.raises(RunError, match=r"thresholds\.json: can't be read .*run evaluate --stream again"):
        settings_of(copy, None, None)


def test_shards_without_sound_or_other_words_are_refused(
    tones: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp()
    with pytest.raises(
        ConfigError, match="continuous sound needs the sound; preprocess the same source with --features"
    ):
        hs.evaluate_stream(tone_run(base, tones), tone_shards(base, tones), hours=0.01)
    with pytest.raises(ConfigError, match="hours is 0; expected more than 0"):
        hs.evaluate_stream(tone_run(base, tones), shards, hours=0)
