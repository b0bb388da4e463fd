"""The format tflite-micro: an all-int8 network for microcontrollers, which takes the spectrogram of a clip.

It is a folder:

| file | content |
|---|---|
| `model.tflite` | the network; int8 input and output |
| `model.h`, `model.cc` | the same bytes as a C array, the settings as constants, and a function that adds the operators |
| `labels.txt`, `deployment.json` | as in every format; with features, scales, zero points, operators and arena |

The features are outside: `features.fixed_point` computes them in integers. Before the folder is published, the network runs in
the interpreter of TensorFlow Lite for Microcontrollers (TFLM): its outputs equal those of TFLite's own to the bit, and the
size of its arena is measured. Knows nothing of runs and shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.features.fixed_point import FixedPointLogMel, quantized, to_pcm
from hybridspeech.models.export_source import OUTPUT_NAME, SIGNATURE, Classify, ExportSource, read_deployment
from hybridspeech.models.micro_operators import RESOLVER_METHODS
from hybridspeech.models.micro_source import write_c_array
from hybridspeech.records import from_json, to_json
from hybridspeech.registry import requires

SPECTROGRAM_NAME = "spectrogram"
TFLITE_NAME = "model.tflite"
NUM_COMPARED = 8
"""Number of calibration clips on which the two interpreters are compared."""
_ARENA_STEP = 16


def write_tflite_micro(source: ExportSource, path: Path) -> dict[str, Any]:
    """Write the folder.

    Raises
    ------
    ConfigError: the features have no fixed-point form, or the network has an operator that TFLM lacks. RunError: the
    interpreters differ. MissingExtraError: the package tflite-micro is not installed.
    """
    transform = FixedPointLogMel(source.features)
    spectrograms = (
        np.stack([transform(to_pcm(wave)) for wave in source.waves]).astype(np.float32)[..., np.newaxis] / 256
    )
    content = _converted(source, spectrograms, path.with_name("graph"))
    interpreter = _MicroInterpreter(content)
    inputs = interpreter.quantize(spectrograms[:NUM_COMPARED])
    operators = _operators(content)
    _check_equal(content, interpreter, inputs)
    settings = {
        "input": SPECTROGRAM_NAME,
        "input_shape": [1, *source.features.shape, 1],
        "input_scale": interpreter.input_scale,
        "input_zero_point": interpreter.input_zero_point,
        "output_scale": interpreter.output_scale,
        "output_zero_point": interpreter.output_zero_point,
        "features": to_json(source.features),
        "operators": operators,
        "model_bytes": len(content),
        "arena_bytes": _arena_bytes(content, inputs[:1]),
    }
    path.mkdir()
    (path / TFLITE_NAME).write_bytes(content)
    for name, text in source.assets(**settings).items():
        (path / name).write_text(text, encoding="utf-8")
    write_c_array(path, content, source.labels, settings, [RESOLVER_METHODS[name] for name in operators])
    return settings


def read_tflite_micro(path: Path) -> Classify:
    """Read as a function of clips: features in fixed point, and the network in TFLM's interpreter."""
    deployment = read_deployment(path)
    transform = FixedPointLogMel(from_json(FeatureConfig, deployment["features"]))
    interpreter = _MicroInterpreter((path / TFLITE_NAME).read_bytes())

    def classify(waves: np.ndarray) -> np.ndarray:
        return np.concatenate([interpreter(interpreter.from_fixed_point(transform(to_pcm(wave)))) for wave in waves])

    return classify


class _MicroInterpreter:
    """A network in TFLM's interpreter; `arena_bytes` None: ample."""

    def __init__(self, content: bytes, arena_bytes: int | None = None) -> None:
        with requires("micro", "format tflite-micro"):
            from tflite_micro.python.tflite_micro import runtime

        self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
        (self.input_scale, self.input_zero_point), (self.output_scale, self.output_zero_point) = (
            (float(each["scales"][0]), int(each["zero_points"][0]))
            for each in (
                details["quantization_parameters"]
                for details in (self._interpreter.get_input_details(0), self._interpreter.get_output_details(0))
            )
        )

    def run(self, values: np.ndarray) -> np.ndarray:
        """Return the int8 output [shape=(1, num_labels)] of an int8 input with a batch of 1."""
        self._interpreter.set_input(values, 0)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_output(0))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        output = self.run(values).astype(np.float32)
        return (output - np.float32(self.output_zero_point)) * np.float32(self.output_scale)

    def quantize(self, spectrograms: np.ndarray) -> np.ndarray:
        values = np.round(spectrograms / self.input_scale) + self.input_zero_point
        return np.clip(values, -128, 127).astype(np.int8)

    def from_fixed_point(self, decibels: np.ndarray) -> np.ndarray:
        return quantized(decibels, self.input_scale, self.input_zero_point)[np.newaxis, ..., np.newaxis]


def _converted(source: ExportSource, spectrograms: np.ndarray, folder: Path) -> bytes:
    """Convert the network; the spectrograms, float32 [shape=(num_clips, num_bins, num_frames, 1)], set the ranges."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = list(source.model.variables)
    spec = tf.TensorSpec((1, *source.features.shape, 1), tf.float32, name=SPECTROGRAM_NAME)
    module.classify = tf.function(
        lambda spectrogram: {OUTPUT_NAME: source.model(spectrogram, training=False)}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.classify})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])

    def clips() -> Iterator[dict[str, np.ndarray]]:
        return ({SPECTROGRAM_NAME: spectrogram[np.newaxis]} for spectrogram in spectrograms)

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = clips
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _reference_interpreter(content: bytes) -> Any:
    """TFLite's own interpreter with its reference kernels; its optimised ones round in another way."""
    import tensorflow as tf

    kernels = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    return interpreter


def _operators(content: bytes) -> list[str]:
    """Return the operators of a TFLite file, sorted; errors as `write_tflite_micro`."""
    from tflite_micro.python.tflite_micro import runtime

    numbers = {
        runtime.get_builtin_code_from_operator_code(code)
        for code in runtime.convert_bytearray_to_object(content).operatorCodes
    }
    names = {number: name for name, number in vars(runtime.schema_fb.BuiltinOperator).items() if name.isupper()}
    found = sorted(names.get(number, f"operator {number}") for number in numbers)
    if missing := [name for name in found if name not in RESOLVER_METHODS]:
        raise ConfigError(
            f"the network has the operators {', '.join(missing)}, which TensorFlow Lite for Microcontrollers does not have; "
            "export as tflite-int8"
        )
    return found


def _check_equal(content: bytes, interpreter: _MicroInterpreter, inputs: np.ndarray) -> None:
    reference = _reference_interpreter(content)
    (taken,), (given,) = reference.get_input_details(), reference.get_output_details()
    for values in inputs:
        reference.set_tensor(taken["index"], values[np.newaxis])
        reference.invoke()
        expected, found = reference.get_tensor(given["index"]), interpreter.run(values[np.newaxis])
        if not np.array_equal(expected, found):
            difference = np.abs(expected.astype(int) - found.astype(int)).max()
            raise RunError(
                f"the outputs of TFLM differ by up to {difference} of 255 from those of TFLite; nothing was written; export "
                "as tflite-int8"
            )


def _arena_bytes(content: bytes, values: np.ndarray) -> int:
    """Find the smallest tensor arena, in bytes, by bisection; on a 64-bit host, so that a microcontroller needs less."""
    least, enough = 0, 10 * len(content) // _ARENA_STEP
    while enough - least > 1:
        middle = (least + enough) // 2
        try:
            _MicroInterpreter(content, middle * _ARENA_STEP).run(values)
            enough = middle
        except RuntimeError:
            least = middle
    return enough * _ARENA_STEP
