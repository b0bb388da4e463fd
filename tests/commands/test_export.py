"""Exports have the predictions of the run, contain the labels, and replace only earlier exports."""

from __future__ import annotations

import json
import shutil
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.small_disk import mounted
from support.trained_runs import SMALL, random_run, sound_run, sound_shards, tone_run, tone_shards

from hybridspeech.commands.evaluate import evaluate
from hybridspeech.commands.export import ExportResult, export
from hybridspeech.commands.predict import predict
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError, OutputExistsError, RunError

LABELS = ("bed", "cat", "sieben und zwanzig", "wow")
NAMES = {"savedmodel": "model", "keras": "model.keras", "tflite": "model.tflite"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_run(tmp_path_factory.mktemp("run"), SMALL, LABELS)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportResult]:
    """The run in each format. Read only."""
    folder = tmp_path_factory.mktemp("exported")
    return {format: export(run, folder / "new" / name, format=format) for format, name in NAMES.items()}


def read_savedmodel(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    return lambda waves: model.signatures["serving_default"](waveform=tf.constant(waves))["probabilities"].numpy()


def read_keras(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tf_keras

    model = tf_keras.models.load_model(path)
    return lambda waves: model(waves).numpy()


def read_tflite(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    runner = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    return lambda waves: runner(waveform=waves)["probabilities"]


READERS = {"savedmodel": read_savedmodel, "keras": read_keras, "tflite": read_tflite}
every_format = pytest.mark.parametrize("format", NAMES)
pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


def raw_samples(path: Path) -> np.ndarray:
    """Read a WAV file of 16-bit PCM without hybridspeech: float32 [shape=(16000,)], full scale = 1.0."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(16_000), "<i2").astype(np.float32) / 32_768
    return np.pad(samples, (0, 16_000 - samples.size))


@pytest.mark.slow
@every_format
@pytest.mark.parametrize("features", [FeatureConfig(), FeatureConfig(kind="logmel")], ids=["1025x50", "logmel"])
def test_export_gives_the_probabilities_of_predict(
    speech_commands: Path, tmp_path: Path, features: FeatureConfig, format: str
) -> None:
    words = tuple(sorted(path.name for path in speech_commands.iterdir() if path.is_dir() and path.name[0] != "_"))
    run = random_run(tmp_path / "run", features, words)
    files = sorted(speech_commands.glob("[a-z]*/*.wav"))[::170]
    export(run, tmp_path / NAMES[format], format=format)
    waves = np.stack([raw_samples(path) for path in files])
    answers = READERS[format](tmp_path / NAMES[format])(waves)
    assert answers.shape == (len(files), 30)
    for prediction, probabilities in zip(predict(run, files, top_k=30), answers, strict=True):
        said = {candidate.label: candidate.probability for candidate in prediction.top}
        np.testing.assert_allclose(probabilities, [said[word] for word in words], atol=1e-3)


@every_format
def test_batch_may_have_any_size(exported: dict[str, ExportResult], format: str) -> None:
    classify = READERS[format](Path(exported[format].path))
    waves = 0.1 * np.random.default_rng(0).standard_normal((5, 16_000)).astype(np.float32)
    together = classify(waves)
    np.testing.assert_allclose(together, np.concatenate([classify(wave[np.newaxis]) for wave in waves]), atol=1e-5)


@every_format
def test_the_export_contains_the_labels(exported: dict[str, ExportResult], format: str) -> None:
    path = Path(exported[format].path)
    if format == "savedmodel":
        text = (path / "assets" / "labels.txt").read_text(encoding="utf-8")
    else:
        text = zipfile.ZipFile(path).read("labels.txt").decode()
    assert text.splitlines() == list(LABELS)


def test_the_weights_of_a_keras_file_are_compressed(run: Path, tmp_path: Path) -> None:
    """Keras reads them while it extracts other members; see `_write_keras` for the Pythons that fail otherwise."""
    export(run, tmp_path / "model.keras", format="keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert archive.getinfo("model.weights.h5").compress_type == zipfile.ZIP_DEFLATED


@every_format
def test_the_export_contains_sample_rate_and_length(exported: dict[str, ExportResult], format: str) -> None:
    path = Path(exported[format].path)
    text = (
        (path / "assets" / "deployment.json").read_text(encoding="utf-8")
        if format == "savedmodel"
        else zipfile.ZipFile(path).read("deployment.json").decode()
    )
    assert json.loads(text) == {
        "labels": list(LABELS),
        "sample_rate_hz": 16_000,
        "num_samples": 16_000,
        "input": "waveform",
        "output": "probabilities",
    }


def test_savedmodel_names_the_expected_length(exported: dict[str, ExportResult]) -> None:
    import tensorflow as tf

    model = tf.saved_model.load(exported["savedmodel"].path)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected 16000 samples \(1 s at 16000 Hz\)"):
        model.signatures["serving_default"](waveform=tf.zeros((1, 8_000)))


@every_format
def test_the_result_describes_the_export(exported: dict[str, ExportResult], format: str) -> None:
    result = exported[format]
    assert Path(result.path).exists()
    assert (Path(result.path).name, result.format, result.labels) == (NAMES[format], format, LABELS)
    assert (result.input_name, result.input_shape, result.sample_rate_hz) == ("waveform", (None, 16_000), 16_000)
    assert result.num_bytes > 100_000
    assert result.max_difference <= 1e-3


@every_format
def test_existing_output_is_refused_or_replaced_with_overwrite(
    run: Path, exported: dict[str, ExportResult], tmp_path: Path, format: str
) -> None:
    path, earlier = tmp_path / NAMES[format], Path(exported[format].path)
    shutil.copytree(earlier, path) if earlier.is_dir() else shutil.copyfile(earlier, path)
    with pytest.raises(OutputExistsError, match="exists already"):
        export(run, path, format=format)
    export(run, path, format=format, overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_folders_and_files_of_other_programs_are_never_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ConfigError, match="is not a savedmodel export"):
        export(run, tmp_path / "photos", overwrite=True)
    with pytest.raises(ConfigError, match="is not a keras export"):
        export(run, tmp_path / "folder.keras", format="keras", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_invalid_names_and_formats_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a tflite export is a file whose name ends in \.tflite"):
        export(run, tmp_path / "model", format="tflite")
    with pytest.raises(ConfigError, match="format 'torch' is unknown; choose one of savedmodel, keras, tflite"):
        export(run, tmp_path / "model", format="torch")
    with pytest.raises(RunError, match=r"no plan\.json"):
        export(tmp_path, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_export_with_other_predictions_is_not_published(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hybridspeech.evaluation.export_comparison.TOLERANCE", -1.0)
    with pytest.raises(RunError, match="nothing was written"):
        export(run, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tones: Path) -> tuple[Path, Path]:
    """Return a dscnn that was trained on waveform shards, and the shards."""
    base = tmp_path_factory.getbasetemp()
    return sound_run(base, tones), sound_shards(base, tones)


@pytest.fixture(scope="module")
def measured(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportResult]:
    """Export the run in each format, measured on the testing clips."""
    (run, shards), folder = trained, tmp_path_factory.mktemp("measured")
    names = {**NAMES, "tflite-int8": "int8.tflite"}
    return {
        format: export(
            run, folder / name, format=format, calibrate=shards if "int8" in format else None, measure=shards
        )
        for format, name in names.items()
    }


@pytest.mark.slow
def test_formats_of_a_run_from_waveforms_predict_as_predict_does(
    trained: tuple[Path, Path], measured: dict[str, ExportResult], tones: Path
) -> None:
    files = sorted(tones.glob("*/*.wav"))[::7]
    waves = np.stack([raw_samples(path) for path in files])
    said = [prediction.label for prediction in predict(trained[0], files)]
    for format, result in measured.items():
        answers = READERS[format.removesuffix("-int8")](Path(result.path))(waves)
        assert [result.labels[i] for i in answers.argmax(axis=1)] == said, format


@pytest.mark.slow
def test_float_formats_have_the_accuracy_of_the_run(
    trained: tuple[Path, Path], measured: dict[str, ExportResult], tmp_path: Path
) -> None:
    metrics = evaluate(*trained, out=tmp_path)
    assert metrics.accuracy >= 0.9
    for format in NAMES:
        found = measured[format].measured
        assert found
        assert (found.accuracy, found.accuracy_ci95) == (metrics.accuracy, metrics.accuracy_ci95)
        assert (found.num_clips, found.num_speakers) == (metrics.num_clips, metrics.num_speakers)
        assert 0 < found.latency_ms < 1000


@pytest.mark.slow
def test_int8_has_half_the_size_and_loses_at_most_one_percentage_point(measured: dict[str, ExportResult]) -> None:
    single, quantized = measured["tflite"], measured["tflite-int8"]
    assert single.measured
    assert quantized.measured
    assert quantized.measured.accuracy >= single.measured.accuracy - 0.01
    assert quantized.num_bytes < 0.55 * single.num_bytes
    assert quantized.agreement >= 0.99


@pytest.mark.slow
def test_int8_computes_the_network_in_int8_and_the_features_in_float(measured: dict[str, ExportResult]) -> None:
    import tensorflow as tf

    tensors = tf.lite.Interpreter(measured["tflite-int8"].path).get_tensor_details()
    network = [t["dtype"] for t in tensors if t["name"].startswith("classifier/dscnn/") and t["shape"].size > 1]
    features = [t["dtype"] for t in tensors if t["name"].startswith("classifier/spectrogram/")]
    assert np.int8 in network
    assert set(network) <= {np.int8, np.int32}  # biases are int32
    assert features.count(np.int8) == 1  # the spectrogram as it enters the network


@pytest.mark.slow
def test_int8_accepts_any_batch_size(measured: dict[str, ExportResult]) -> None:
    classify = read_tflite(Path(measured["tflite-int8"].path))
    waves = 0.1 * np.random.default_rng(0).standard_normal((3, 16_000)).astype(np.float32)
    np.testing.assert_allclose(classify(waves), np.concatenate([classify(w[np.newaxis]) for w in waves]), atol=0.01)


@pytest.mark.slow
def test_a_run_from_spectrograms_can_be_exported_as_int8(
    trained: tuple[Path, Path], tones: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = tone_run(tmp_path_factory.getbasetemp(), tones)
    result = export(run, tmp_path / "cnn.tflite", format="tflite-int8", calibrate=trained[1])
    assert (result.format, result.measured) == ("tflite-int8", None)
    assert result.agreement >= 0.99


@pytest.mark.slow
def test_int8_with_other_predictions_is_not_published(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hybridspeech.evaluation.export_comparison.AGREEMENT", 1.1)
    with pytest.raises(
        RunError, match=r"predicts the same label as the run for .* nothing was written; export as tflite"
    ):
        export(trained[0], tmp_path / "x.tflite", format="tflite-int8", calibrate=trained[1])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_unsuitable_calibration_shards_are_refused(trained: tuple[Path, Path], tones: Path, tmp_path: Path) -> None:
    run, shards = trained
    with pytest.raises(ConfigError, match=r"tflite-int8 needs clips to calibrate on; .* --calibrate SHARDS"):
        export(run, tmp_path / "x.tflite", format="tflite-int8")
    with pytest.raises(ConfigError, match="only tflite-int8 and tflite-micro use them"):
        export(run, tmp_path / "x.tflite", format="tflite", calibrate=shards)
    spectrograms = tone_shards(tmp_path / "base", tones)
    with pytest.raises(ConfigError, match="holds stft spectrograms, and calibration needs the sound"):
        export(run, tmp_path / "x.tflite", format="tflite-int8", calibrate=spectrograms)
    with pytest.raises(ConfigError, match="holds stft spectrograms, and measuring an export needs the sound"):
        export(run, tmp_path / "x", measure=spectrograms)


def test_a_full_disk_is_an_os_error(run: Path, tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=512k", "tmpfs") as disk,
        pytest.raises(OSError, match="No space left on device"),
    ):
        export(run, disk / "model")
