"""The verb `predict` on usable and unusable files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.trained_runs import random_run, tone_run

from hybridspeech.audio.decode import read_clip
from hybridspeech.commands.predict import predict
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.trained_model import load_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> Path:
    return tone_run(tmp_path_factory.getbasetemp(), tones)


def test_tones_are_recognised(run: Path, tones: Path) -> None:
    files = [tones / word / "00000001_nohash_0.wav" for word in ("low", "high", "middle")]
    assert [prediction.label for prediction in predict(run, files)] == ["low", "high", "middle"]


def test_top_is_sorted_and_its_first_is_the_label(run: Path, tones: Path) -> None:
    (prediction,) = predict(run, [tones / "low" / "00000001_nohash_0.wav"], top_k=2)
    first, second = prediction.top
    assert (first.label, first.probability) == (prediction.label, prediction.probability)
    assert 1 >= first.probability >= second.probability >= 0


def test_top_k_above_the_number_of_labels_gives_all_labels(run: Path, tones: Path) -> None:
    (prediction,) = predict(run, [tones / "low" / "00000001_nohash_0.wav"], top_k=99)
    assert sorted(candidate.label for candidate in prediction.top) == ["high", "low", "middle"]
    assert sum(candidate.probability for candidate in prediction.top) == pytest.approx(1, abs=1e-5)


def test_folders_are_searched_in_the_order_of_names(run: Path, tones: Path) -> None:
    found = [Path(prediction.path) for prediction in predict(run, [tones])]
    assert found == sorted(tones.rglob("*.wav"))


def test_only_audio_files_of_folders_are_used(run: Path, tones: Path, tmp_path: Path) -> None:
    clip = (tones / "low" / "00000001_nohash_0.wav").read_bytes()
    for name in ("b/clip.WAV", "a note.txt", "ä ü/clip.wav", ".hidden.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(clip)
    found = [Path(prediction.path).relative_to(tmp_path).as_posix() for prediction in predict(run, [tmp_path])]
    assert found == ["b/clip.WAV", "ä ü/clip.wav"]


def test_an_unusable_file_has_its_reason_and_the_others_have_labels(run: Path, tones: Path, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.touch()
    text.write_text("not a sound at all, " * 20)
    good = tones / "high" / "00000002_nohash_0.wav"
    lines = [prediction.line() for prediction in predict(run, [empty, good, text, tmp_path / "none.wav"])]
    assert [set(line) for line in lines] == [
        {"path", "error"},
        {"path", "label", "probability", "top", "cut_s"},
        {"path", "error"},
        {"path", "error"},
    ]
    assert lines[0]["error"].startswith("empty: ")
    assert lines[1]["label"] == "high"
    assert lines[3]["error"].startswith("missing: ")


def test_what_is_cut_off_a_long_file_is_reported(run: Path, tones: Path, tmp_path: Path) -> None:
    short = min((tones / "low").iterdir())
    wave, rate_hz = soundfile.read(short, dtype="float32")
    soundfile.write(tmp_path / "long.wav", np.resize(wave, 3 * rate_hz), rate_hz, subtype="PCM_16")
    notes: list[str] = []
    answers = list(predict(run, [short, tmp_path / "long.wav"], on_progress=lambda p: notes.append(p.message)))
    assert [answer.cut_s for answer in answers] == [0, 2]
    assert answers[0].top == answers[1].top
    assert notes[-1].startswith(
        "1 of 2 files is longer than the clip duration of 1,000 ms: 2.0 s in total were cut off"
    )


def test_batch_size_changes_no_prediction(run: Path, tones: Path) -> None:
    files = sorted(tones.rglob("*.wav"))[::9]
    whole, singly = (list(predict(run, files, batch_size=size)) for size in (64, 1))
    assert [prediction.path for prediction in whole] == [prediction.path for prediction in singly]
    np.testing.assert_allclose([p.probability for p in whole], [p.probability for p in singly], atol=1e-5)


def test_another_sample_rate_and_two_channels_give_the_same_label(run: Path, tmp_path: Path) -> None:
    times = np.arange(44_100) / 44_100
    noise = 0.02 * np.random.default_rng(0).standard_normal(times.size)
    wave = 0.4 * np.sin(2 * np.pi * 660 * times) + noise
    soundfile.write(tmp_path / "clip.flac", np.stack([wave, wave], axis=1), 44_100)
    (prediction,) = predict(run, [tmp_path / "clip.flac"])
    assert prediction.label == "middle"


def test_real_clips_are_read_as_in_preprocessing(speech_commands: Path, tmp_path: Path) -> None:
    features = FeatureConfig()
    run = random_run(tmp_path / "run", features, ("bed", "cat", "wow"))
    files = sorted((speech_commands / "wow").glob("*.wav"))[:4]
    spectrograms = [FeatureExtractor(features)(read_clip(path, features)) for path in files]
    expected = load_model(RunDirectory(run), RunDirectory(run).require_finished()).predict_on_batch(
        np.stack(spectrograms)[..., np.newaxis]
    )
    answers = [{candidate.label: candidate.probability for candidate in p.top} for p in predict(run, files)]
    np.testing.assert_allclose(
        [[answer[label] for label in ("bed", "cat", "wow")] for answer in answers], expected, atol=1e-6
    )


def test_invalid_settings_are_refused_before_the_first_prediction(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file was given"):
        predict(run, [])
    with pytest.raises(ConfigError, match="no audio file in this folder"):
        predict(run, [tmp_path])
    with pytest.raises(ConfigError, match="top_k is 0"):
        predict(run, ["clip.wav"], top_k=0)
    with pytest.raises(RunError, match=r"no plan\.json"):
        predict(tmp_path, ["clip.wav"])
