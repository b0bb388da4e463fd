"""The formats of an exported network: how each is written, and read back. Knows nothing of runs and shards.

| format | what it is | labels and settings | how to read it |
|---|---|---|---|
| savedmodel | a folder, without Keras | `assets/`; signature `metadata` | `tf.saved_model.load` |
| keras | a file of tf_keras, without Lambda code | in its zip archive | `tf_keras.models.load_model` |
| tflite | a file of builtin operations | in the zip archive at its end | `tf.lite.Interpreter` |
| tflite-int8 | tflite; the network computes in int8, the features in float32 | the same | the same |
| onnx | a file of ONNX operations | in its metadata | `onnxruntime.InferenceSession` |

Every format maps `waveform`, float32 [shape=(batch, num_samples)], full scale = 1.0, to `probabilities`, float32
[shape=(batch, num_labels)], by the signature `serving_default` (keras, onnx: by the model itself). `labels.txt` has one label
per line; `deployment.json` has the labels, the sample rate, the number of samples, and the names of input and output. None
needs this package. A TFLite file starts with a batch of 1; its signature runner accepts any batch size.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.models.frontend import FRONT_END_NAME, INPUT_NAME, front_end
from hybridspeech.models.quantization import to_int8
from hybridspeech.registry import requires

if TYPE_CHECKING:
    import tf_keras

LABELS_NAME, DEPLOYMENT_NAME = "labels.txt", "deployment.json"
OUTPUT_NAME, SIGNATURE, METADATA_SIGNATURE = "probabilities", "serving_default", "metadata"
MODEL_NAME = "classifier"
ONNX_OPSET = 18

Precision = Literal["float32", "float64"]
Classify = Callable[[np.ndarray], np.ndarray]
"""float32 [shape=(batch, num_samples)] -> float32 [shape=(batch, num_labels)]."""


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """A network, its input features and its labels; `waves` are the calibration clips of an int8 format."""

    model: tf_keras.Model
    features: FeatureConfig
    labels: tuple[str, ...]
    waves: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def assets(self) -> dict[str, str]:
        """Return the text files that every format contains, by name."""
        deployment = {
            "labels": self.labels,
            "sample_rate_hz": self.features.sample_rate_hz,
            "num_samples": self.features.num_samples,
            "input": INPUT_NAME,
            "output": OUTPUT_NAME,
        }
        return {
            LABELS_NAME: "".join(f"{label}\n" for label in self.labels),
            DEPLOYMENT_NAME: json.dumps(deployment, indent=2, ensure_ascii=False) + "\n",
        }


@dataclass(frozen=True)
class ExportFormat:
    """How a format is written and read. `suffix` is that of the file, '' for a folder.

    The predictions of a format that `is_quantized` are close to those of the run, not equal within rounding.
    """

    suffix: str
    write: Callable[[ExportSource, Path], None]
    read: Callable[[Path], Classify]
    is_quantized: bool = False


def _classifier(source: ExportSource, precision: Precision, transform: Literal["fft", "matrix"] = "fft") -> Any:
    """Join front-end and network: waveform in, probabilities out."""
    import tf_keras

    waveform = tf_keras.Input((source.features.num_samples,), name=INPUT_NAME)
    spectrogram = front_end(source.features, precision=precision, transform=transform)(waveform)
    return tf_keras.Model(waveform, source.model(spectrogram), name=MODEL_NAME)


def _write_savedmodel(source: ExportSource, path: Path) -> None:
    import tensorflow as tf

    module, classifier = tf.Module(), _classifier(source, "float64")
    num_samples, rate_hz = source.features.num_samples, source.features.sample_rate_hz
    seconds = source.features.clip_duration_ms / 1000
    module.weights, module.assets = list(classifier.variables), []
    for name, text in source.assets().items():
        path.with_name(name).write_text(text, encoding="utf-8")
        module.assets.append(tf.saved_model.Asset(str(path.with_name(name))))

    def classify(waveform: Any) -> dict[str, Any]:
        given = tf.shape(waveform)[1]
        expected = (
            f"expected {num_samples} samples ({seconds:g} s at {rate_hz} Hz), padded with zeros at the end or cut"
        )
        with tf.control_dependencies([tf.debugging.assert_equal(given, num_samples, f"waveform: {expected}")]):
            waveform = tf.identity(waveform)
        waveform.set_shape((None, num_samples))
        return {OUTPUT_NAME: classifier(waveform, training=False)}

    def metadata() -> dict[str, Any]:
        return {
            "labels": tf.constant(source.labels),
            "sample_rate_hz": tf.constant(rate_hz),
            "num_samples": tf.constant(num_samples),
        }

    # A static length would be checked later, by an operation whose error does not name the expected length
    spec = tf.TensorSpec((None, None), tf.float32, name=INPUT_NAME)
    module.classify = tf.function(classify, input_signature=[spec])
    module.metadata = tf.function(metadata, input_signature=[])
    signatures = {SIGNATURE: module.classify, METADATA_SIGNATURE: module.metadata}
    tf.saved_model.save(module, str(path), signatures=signatures)


def _read_savedmodel(path: Path) -> Classify:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def classify(waves: np.ndarray) -> np.ndarray:
        return np.asarray(loaded.signatures[SIGNATURE](**{INPUT_NAME: tf.constant(waves)})[OUTPUT_NAME])

    return classify


def _write_keras(source: ExportSource, path: Path) -> None:
    """Write a .keras file whose members are compressed; Keras stores them as they are.

    Keras reads the weights while it extracts the other members. `zipfile` of Python 3.12.0 to 3.12.8, 3.13.0 and 3.13.1
    then seeks to a wrong position in an uncompressed member (python/cpython#127847), and loading ends with an EOFError.
    """
    uncompressed = path.with_name("uncompressed.keras")
    _classifier(source, "float64").save(uncompressed)
    with zipfile.ZipFile(uncompressed) as saved, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in saved.namelist():
            archive.writestr(name, saved.read(name))
    _append_assets(path, source)


def _read_keras(path: Path) -> Classify:
    import tf_keras

    loaded = tf_keras.models.load_model(path, safe_mode=True)
    return lambda waves: np.asarray(loaded.predict_on_batch(waves))


def _write_graph(source: ExportSource, folder: Path) -> None:
    """Write the SavedModel that a converter to another format reads: float32, with a static number of samples."""
    import tensorflow as tf

    n_fft = source.features.n_fft
    has_fft = n_fft & (n_fft - 1) == 0  # TFLite's RFFT2D takes powers of two only
    classifier = _classifier(source, "float32", "fft" if has_fft else "matrix")
    module = tf.Module()
    module.weights = list(classifier.variables)
    spec = tf.TensorSpec((None, source.features.num_samples), tf.float32, name=INPUT_NAME)
    module.classify = tf.function(
        lambda waveform: {OUTPUT_NAME: classifier(waveform, training=False)}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.classify})


def _write_tflite(source: ExportSource, path: Path) -> None:
    import tensorflow as tf

    folder = path.with_name("graph")
    _write_graph(source, folder)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    path.write_bytes(converter.convert())
    _append_assets(path, source)


def _write_tflite_int8(source: ExportSource, path: Path) -> None:
    folder = path.with_name("graph")
    _write_graph(source, folder)
    path.write_bytes(to_int8(folder, SIGNATURE, INPUT_NAME, f"{MODEL_NAME}/{FRONT_END_NAME}/", source.waves))
    _append_assets(path, source)


def _read_tflite(path: Path) -> Classify:
    """Read with one thread, as on a small device."""
    import tensorflow as tf

    runner = tf.lite.Interpreter(str(path), num_threads=1).get_signature_runner(SIGNATURE)
    return lambda waves: np.asarray(runner(**{INPUT_NAME: waves})[OUTPUT_NAME])


def _write_onnx(source: ExportSource, path: Path) -> None:
    """Write with the matrix of the Fourier transform: tf2onnx converts no FFT whose real and imaginary parts are used."""
    with requires("onnx", "format onnx"):
        import tf2onnx
    import tensorflow as tf

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    classifier = _classifier(source, "float32", "matrix")
    spec = [tf.TensorSpec((None, source.features.num_samples), tf.float32, name=INPUT_NAME)]
    classify = tf.function(lambda waveform: {OUTPUT_NAME: classifier(waveform, training=False)}, input_signature=spec)
    model, _ = tf2onnx.convert.from_function(classify, input_signature=spec, opset=ONNX_OPSET)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    for name, text in source.assets().items():
        model.metadata_props.add(key=name, value=text)
    path.write_bytes(model.SerializeToString())


def _read_onnx(path: Path) -> Classify:
    """Read with one thread, as on a small device."""
    with requires("onnx", "format onnx"):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda waves: np.asarray(session.run([OUTPUT_NAME], {INPUT_NAME: waves})[0])


FORMATS = {
    "savedmodel": ExportFormat("", _write_savedmodel, _read_savedmodel),
    "keras": ExportFormat(".keras", _write_keras, _read_keras),
    "tflite": ExportFormat(".tflite", _write_tflite, _read_tflite),
    "tflite-int8": ExportFormat(".tflite", _write_tflite_int8, _read_tflite, is_quantized=True),
    "onnx": ExportFormat(".onnx", _write_onnx, _read_onnx),
}


def _append_assets(path: Path, source: ExportSource) -> None:
    """Add the assets to the zip archive that a .keras file is, or to one at the end of a file, as in TFLite's metadata."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in source.assets().items():
            archive.writestr(name, text)
