"""Exports answer as the run does, carry the labels, and take the place of nothing that is not theirs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from trained import SMALL, random_run

from hybridspeech.audio import read_clip
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError, OutputExistsError, RunError
from hybridspeech.export import export
from hybridspeech.predict import predict

LABELS = ("bed", "cat", "sieben und zwanzig", "wow")
NAMES = {"savedmodel": "model", "keras": "model.keras", "tflite": "model.tflite"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_run(tmp_path_factory.mktemp("run"), SMALL, LABELS)


def read_savedmodel(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    return lambda waves: model.signatures["serving_default"](waveform=tf.constant(waves))["probabilities"].numpy()


def read_keras(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tf_keras

    import hybridspeech.frontend

    assert hybridspeech.frontend.Spectrogram
    model = tf_keras.models.load_model(path)
    return lambda waves: model(waves).numpy()


def read_tflite(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    runner = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    return lambda waves: runner(waveform=waves)["probabilities"]


READERS = {"savedmodel": read_savedmodel, "keras": read_keras, "tflite": read_tflite}
every_format = pytest.mark.parametrize("format", NAMES)
pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


@every_format
@pytest.mark.parametrize("features", [FeatureConfig(), FeatureConfig.of("logmel")], ids=["1025x50", "logmel"])
def test_export_gives_the_probabilities_of_predict(
    speech_commands: Path, tmp_path: Path, features: FeatureConfig, format: str
) -> None:
    words = tuple(sorted(path.name for path in speech_commands.iterdir() if path.is_dir() and path.name[0] != "_"))
    run = random_run(tmp_path / "run", features, words)
    files = sorted(speech_commands.glob("[a-z]*/*.wav"))[::170]
    export(run, tmp_path / NAMES[format], format=format)
    waves = np.stack([read_clip(path, features) for path in files])
    answers = READERS[format](tmp_path / NAMES[format])(waves)
    assert answers.shape == (len(files), 30)
    for prediction, probabilities in zip(predict(run, files, top_k=30), answers, strict=True):
        said = {candidate.label: candidate.probability for candidate in prediction.top}
        np.testing.assert_allclose(probabilities, [said[word] for word in words], atol=1e-3)


@every_format
def test_batch_may_have_any_size(run: Path, tmp_path: Path, format: str) -> None:
    export(run, tmp_path / NAMES[format], format=format)
    classify = READERS[format](tmp_path / NAMES[format])
    waves = 0.1 * np.random.default_rng(0).standard_normal((5, 16_000)).astype(np.float32)
    together = classify(waves)
    np.testing.assert_allclose(together, np.concatenate([classify(wave[np.newaxis]) for wave in waves]), atol=1e-5)


@every_format
def test_labels_are_inside(run: Path, tmp_path: Path, format: str) -> None:
    path = tmp_path / NAMES[format]
    export(run, path, format=format)
    if format == "savedmodel":
        text = (path / "assets" / "labels.txt").read_text(encoding="utf-8")
    else:
        text = zipfile.ZipFile(path).read("labels.txt").decode()
    assert text.splitlines() == list(LABELS)


@every_format
def test_result_says_what_was_made(run: Path, tmp_path: Path, format: str) -> None:
    result = export(run, tmp_path / "new" / NAMES[format], format=format)
    assert (result.path, result.format, result.labels) == (str(tmp_path / "new" / NAMES[format]), format, LABELS)
    assert (result.input_name, result.input_shape, result.sample_rate_hz) == ("waveform", (None, 16_000), 16_000)
    assert result.num_bytes > 100_000
    assert result.max_difference <= 1e-3


@every_format
def test_existing_output_is_refused_and_replaced_if_asked(run: Path, tmp_path: Path, format: str) -> None:
    path = tmp_path / NAMES[format]
    export(run, path, format=format)
    with pytest.raises(OutputExistsError, match="is there already"):
        export(run, path, format=format)
    export(run, path, format=format, overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_other_peoples_folders_and_files_are_never_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ConfigError, match="is no savedmodel export"):
        export(run, tmp_path / "photos", overwrite=True)
    with pytest.raises(ConfigError, match="is no keras export"):
        export(run, tmp_path / "folder.keras", format="keras", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_names_and_formats_that_can_not_work_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a tflite export is a file whose name ends in \.tflite"):
        export(run, tmp_path / "model", format="tflite")
    with pytest.raises(ConfigError, match="format 'onnx' is unknown; choose one of savedmodel, keras, tflite"):
        export(run, tmp_path / "model", format="onnx")
    with pytest.raises(RunError, match=r"no plan\.json"):
        export(tmp_path, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_export_that_answers_otherwise_is_not_published(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hybridspeech.export.TOLERANCE", -1.0)
    with pytest.raises(RunError, match="nothing was written"):
        export(run, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_savedmodel_needs_nothing_of_this_package(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "model")
    code = (
        "import sys\nsys.modules['hybridspeech'] = sys.modules['tf_keras'] = None\nimport tensorflow as tf\n"
        f"model = tf.saved_model.load({str(tmp_path / 'model')!r})\n"
        "answer = model.signatures['serving_default'](waveform=tf.zeros((2, 16000)))['probabilities']\n"
        "sys.exit(answer.shape != (2, 4))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300, capture_output=True).returncode == 0
