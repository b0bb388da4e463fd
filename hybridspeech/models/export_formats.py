"""The formats of an exported network: how each is written, and read back. Knows nothing of runs and shards.

| format | what it is | labels and settings | how to read it |
|---|---|---|---|
| savedmodel | a folder, without Keras | `assets/`; signature `metadata` | `tf.saved_model.load` |
| keras | a file of tf_keras, without Lambda code | in its zip archive | `tf_keras.models.load_model` |
| tflite | a file of builtin operations | in the zip archive at its end | `tf.lite.Interpreter` |
| tflite-int8 | tflite; the network computes in int8, the features in float32 | the same | the same |
| onnx | a file of ONNX operations | in its metadata | `onnxruntime.InferenceSession` |
| savedmodel-streaming, tflite-streaming | see `streaming_formats` | as above | as above |
| tflite-micro | a folder, see `micro_format` | in the folder | TFLM's interpreter |

Every format but the last three maps `waveform`, float32 [shape=(batch, num_samples)], full scale = 1.0, to
`probabilities`, float32 [shape=(batch, num_labels)], by the signature `serving_default` (keras, onnx: by the model itself).
`labels.txt` has one label per line; `deployment.json` has the labels, the sample rate, the number of samples, and the names
of input and output. None needs this package. A TFLite file starts with a batch of 1; its signature runner accepts any batch
size, but not that of tflite-streaming.
"""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.models.export_source import (
    METADATA_SIGNATURE,
    OUTPUT_NAME,
    SIGNATURE,
    Classify,
    ExportFormat,
    ExportSource,
    append_assets,
)
from hybridspeech.models.frontend import FRONT_END_NAME, INPUT_NAME, Precision, Transform, front_end, transform_for
from hybridspeech.models.micro_format import TFLITE_NAME, read_tflite_micro, write_tflite_micro
from hybridspeech.models.quantization import to_int8
from hybridspeech.models.streaming_formats import (
    read_savedmodel_streaming,
    read_tflite_streaming,
    write_savedmodel_streaming,
    write_tflite_streaming,
)
from hybridspeech.registry import requires

MODEL_NAME = "classifier"
ONNX_OPSET = 18


def _classifier(source: ExportSource, precision: Precision, transform: Transform = "fft") -> Any:
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
    append_assets(path, source.assets())


def _read_keras(path: Path) -> Classify:
    import tf_keras

    loaded = tf_keras.models.load_model(path, safe_mode=True)
    return lambda waves: np.asarray(loaded.predict_on_batch(waves))


def _write_graph(source: ExportSource, folder: Path) -> None:
    """Write the SavedModel that a converter to another format reads: float32, with a static number of samples."""
    import tensorflow as tf

    classifier = _classifier(source, "float32", transform_for(source.features))
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
    append_assets(path, source.assets())


def _write_tflite_int8(source: ExportSource, path: Path) -> None:
    folder = path.with_name("graph")
    _write_graph(source, folder)
    path.write_bytes(to_int8(folder, SIGNATURE, INPUT_NAME, f"{MODEL_NAME}/{FRONT_END_NAME}/", source.waves))
    append_assets(path, source.assets())


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
    "savedmodel-streaming": ExportFormat("", write_savedmodel_streaming, read_savedmodel_streaming, is_streaming=True),
    "tflite-streaming": ExportFormat(".tflite", write_tflite_streaming, read_tflite_streaming, is_streaming=True),
    "tflite-micro": ExportFormat("", write_tflite_micro, read_tflite_micro, is_quantized=True, main_file=TFLITE_NAME),
}
