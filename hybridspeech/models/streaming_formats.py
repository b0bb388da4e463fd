"""The formats of a network for streams: the next samples and the state in, probabilities and the next state out.

| format | what it is | batch |
|---|---|---|
| savedmodel-streaming | a folder, without Keras | any: so many streams at once |
| tflite-streaming | a file of builtin operations | 1 |

The signature `serving_default` maps `waveform`, float32 [shape=(batch, hop_samples)], and `state`, float32
[shape=(batch, state_size)], to `probabilities`, float32 [shape=(batch, num_labels)], and `next_state`. At the start of a
stream, `state` is 0. `deployment.json` has `hop_samples` and `state_size`. Knows nothing of runs and shards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.errors import ConfigError
from hybridspeech.models.export_source import (
    METADATA_SIGNATURE,
    OUTPUT_NAME,
    SIGNATURE,
    Classify,
    ExportSource,
    append_assets,
)
from hybridspeech.models.exported_stream import NEXT_STATE_NAME, STATE_NAME, ExportedStream
from hybridspeech.models.frontend import INPUT_NAME, Precision, streaming_front_end, transform_for
from hybridspeech.models.streaming import StreamingNetwork, flat_size, packed, unpacked


class _Classifier:
    """Front-end and network for streams."""

    def __init__(self, source: ExportSource, precision: Precision) -> None:
        features = source.features
        network = StreamingNetwork(source.model)
        num_before = features.n_fft - features.hop_length
        self._network = network
        self._front_end = streaming_front_end(
            features,
            network.frames_per_step,
            precision=precision,
            transform="fft" if precision == "float64" else transform_for(features),
        )
        self._shapes = {INPUT_NAME: (num_before,), **network.state_shapes}
        self.hop_samples = features.hop_length * network.frames_per_step
        self.state_size = flat_size(self._shapes)
        self.variables = [*source.model.variables, *self._front_end.variables]

    def __call__(self, waveform: Any, state: Any) -> dict[str, Any]:
        import tensorflow as tf

        parts = unpacked(state, self._shapes)
        samples = tf.concat([parts.pop(INPUT_NAME), waveform], axis=1)
        probabilities, following = self._network.step(self._front_end(samples), parts)
        last = samples[:, self.hop_samples :]
        return {OUTPUT_NAME: probabilities, NEXT_STATE_NAME: packed({**following, INPUT_NAME: last}, self._shapes)}

    @property
    def settings(self) -> dict[str, Any]:
        """Entries of deployment.json."""
        return {
            "hop_samples": self.hop_samples,
            "state_size": self.state_size,
            "state": STATE_NAME,
            "next_state": NEXT_STATE_NAME,
        }


def write_savedmodel_streaming(source: ExportSource, path: Path) -> dict[str, Any]:
    """Write a folder; its Fourier transform is in double precision."""
    import tensorflow as tf

    classifier, module = _Classifier(source, "float64"), tf.Module()
    module.weights, module.assets = classifier.variables, []
    for name, text in source.assets(**classifier.settings).items():
        path.with_name(name).write_text(text, encoding="utf-8")
        module.assets.append(tf.saved_model.Asset(str(path.with_name(name))))
    hop, size = classifier.hop_samples, classifier.state_size

    def step(waveform: Any, state: Any) -> dict[str, Any]:
        given = (("waveform", tf.shape(waveform)[1], hop), ("state", tf.shape(state)[1], size))
        checks = [tf.debugging.assert_equal(n, m, f"{name}: expected {m} values per step") for name, n, m in given]
        with tf.control_dependencies(checks):
            waveform, state = tf.identity(waveform), tf.identity(state)
        waveform.set_shape((None, hop))
        state.set_shape((None, size))
        return classifier(waveform, state)

    def metadata() -> dict[str, Any]:
        numbers = {"sample_rate_hz": source.features.sample_rate_hz, "hop_samples": hop, "state_size": size}
        return {"labels": tf.constant(source.labels), **{name: tf.constant(n) for name, n in numbers.items()}}

    specs = [tf.TensorSpec((None, None), tf.float32, name=name) for name in (INPUT_NAME, STATE_NAME)]
    module.step = tf.function(step, input_signature=specs)
    module.metadata = tf.function(metadata, input_signature=[])
    signatures = {SIGNATURE: module.step, METADATA_SIGNATURE: module.metadata}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return {**classifier.settings, "input_shape": [None, hop]}


def write_tflite_streaming(source: ExportSource, path: Path) -> dict[str, Any]:
    """Write a file of builtin operations for one stream."""
    import tensorflow as tf

    classifier, module = _Classifier(source, "float32"), tf.Module()
    module.weights = classifier.variables
    sizes = {INPUT_NAME: classifier.hop_samples, STATE_NAME: classifier.state_size}
    specs = [tf.TensorSpec((1, size), tf.float32, name=name) for name, size in sizes.items()]
    module.step = tf.function(lambda waveform, state: classifier(waveform, state), input_signature=specs)
    folder = path.with_name("graph")
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.step})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    path.write_bytes(converter.convert())
    append_assets(path, source.assets(**classifier.settings))
    return {**classifier.settings, "input_shape": [1, classifier.hop_samples]}


def read_savedmodel_streaming(path: Path) -> Classify:
    """Read as a function of clips: the probabilities after their last whole step."""
    return _classify_clips(path)


def read_tflite_streaming(path: Path) -> Classify:
    """Read as a function of clips: the probabilities after their last whole step."""
    return _classify_clips(path)


def _classify_clips(path: Path) -> Classify:
    stream = ExportedStream(path)

    def classify(waves: np.ndarray) -> np.ndarray:
        answers = []
        for wave in waves:
            stream.reset()
            steps = stream(wave)
            if not len(steps):
                raise ConfigError(
                    f"{path}: takes {stream.hop_samples} samples per step, and a clip of the run has only {wave.size}; "
                    "train with a longer clip_duration_ms"
                )
            answers.append(steps[-1])
        return np.stack(answers)

    return classify
