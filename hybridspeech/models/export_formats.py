"""The forms in which a network is exported: how each is written, and read back. Knows nothing of runs and shards.

Every form maps `waveform`, float32 [shape=(batch, num_samples)], full scale = 1.0, to `probabilities`, float32
[shape=(batch, num_labels)], and carries the labels.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.models.quantization import to_int8

if TYPE_CHECKING:
    import tf_keras

LABELS_NAME = "labels.txt"
INPUT_NAME, OUTPUT_NAME, SIGNATURE = "waveform", "probabilities", "serving_default"
MODEL_NAME, FRONT_END_NAME = "classifier", "spectrogram"

Classify = Callable[[np.ndarray], np.ndarray]
"""float32 [shape=(batch, num_samples)] -> float32 [shape=(batch, num_labels)]."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is to be written: a network and what it takes; `waves` are clips that an int8 form is calibrated on."""

    model: tf_keras.Model
    features: FeatureConfig
    labels: tuple[str, ...]
    waves: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))


@dataclass(frozen=True)
class Form:
    """`suffix` is what a file's name ends in; '' means a folder. `is_quantized`: its answers are only close to the run's."""

    suffix: str
    write: Callable[[Subject, Path], None]
    read: Callable[[Path], Classify]
    is_quantized: bool = False


def _with_features(subject: Subject, precision: Literal["float32", "float64"]) -> Any:
    """The network behind the transform: waveform in, probabilities out."""
    import tf_keras

    from hybridspeech.models.frontend import Spectrogram

    waveform = tf_keras.Input((subject.features.num_samples,), name=INPUT_NAME)
    spectrogram = Spectrogram(subject.features, precision, name=FRONT_END_NAME)(waveform)
    return tf_keras.Model(waveform, subject.model(spectrogram), name=MODEL_NAME)


def _write_savedmodel(subject: Subject, path: Path, precision: Literal["float32", "float64"] = "float64") -> None:
    """Variables, one function and the labels, without anything of Keras in it."""
    import tensorflow as tf

    whole = _with_features(subject, precision)
    labels = path.with_name(LABELS_NAME)
    labels.write_text(_lines(subject.labels), encoding="utf-8")
    module = tf.Module()
    module.weights, module.labels = list(whole.variables), tf.saved_model.Asset(str(labels))
    waveform = tf.TensorSpec((None, subject.features.num_samples), tf.float32, name=INPUT_NAME)
    module.classify = tf.function(
        lambda waveform: {OUTPUT_NAME: whole(waveform, training=False)}, input_signature=[waveform]
    )
    tf.saved_model.save(module, str(path), signatures={SIGNATURE: module.classify})


def _read_savedmodel(path: Path) -> Classify:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def classify(waves: np.ndarray) -> np.ndarray:
        return np.asarray(loaded.signatures[SIGNATURE](**{INPUT_NAME: tf.constant(waves)})[OUTPUT_NAME])

    return classify


def _write_keras(subject: Subject, path: Path) -> None:
    _with_features(subject, "float64").save(path)
    _append_labels(path, subject.labels)


def _read_keras(path: Path) -> Classify:
    import tf_keras

    loaded = tf_keras.models.load_model(path, safe_mode=True)
    return lambda waves: np.asarray(loaded.predict_on_batch(waves))


def _write_tflite(subject: Subject, path: Path) -> None:
    import tensorflow as tf

    folder = path.with_name("for-tflite")
    _write_savedmodel(subject, folder, precision="float32")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    path.write_bytes(converter.convert())
    _append_labels(path, subject.labels)


def _write_tflite_int8(subject: Subject, path: Path) -> None:
    folder = path.with_name("for-tflite")
    _write_savedmodel(subject, folder, precision="float32")
    path.write_bytes(to_int8(folder, SIGNATURE, INPUT_NAME, f"{MODEL_NAME}/{FRONT_END_NAME}/", subject.waves))
    _append_labels(path, subject.labels)


def _read_tflite(path: Path) -> Classify:
    """On one thread, as a small device has it."""
    import tensorflow as tf

    runner = tf.lite.Interpreter(str(path), num_threads=1).get_signature_runner(SIGNATURE)
    return lambda waves: np.asarray(runner(**{INPUT_NAME: waves})[OUTPUT_NAME])


FORMS = {
    "savedmodel": Form("", _write_savedmodel, _read_savedmodel),
    "keras": Form(".keras", _write_keras, _read_keras),
    "tflite": Form(".tflite", _write_tflite, _read_tflite),
    "tflite-int8": Form(".tflite", _write_tflite_int8, _read_tflite, is_quantized=True),
}


def _append_labels(path: Path, labels: tuple[str, ...]) -> None:
    """Add labels.txt to the zip that a .keras file is, or to one at the file's end, where TFLite's metadata has it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(LABELS_NAME, _lines(labels))


def _lines(labels: tuple[str, ...]) -> str:
    return "".join(f"{label}\n" for label in labels)
