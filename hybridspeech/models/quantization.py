"""A TFLite file whose network computes in int8, while the spectrogram before it stays in float32.

The samples of a clip and the powers of its spectrum span more orders of magnitude than 256 steps can hold (docs/LOG.md),
and decibels do not: the border is where the spectrogram enters the network. Knows nothing of runs and shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np


def to_int8(savedmodel: Path, signature: str, input_name: str, front_end: str, waves: np.ndarray) -> bytes:
    """Convert a SavedModel of builtin operations; weights (by channel) and activations behind the front-end become int8.

    Parameters
    ----------
    input_name : of the signature's only input, float32 [shape=(batch, num_samples)]
    front_end : scope of the operations that stay in float32, e.g. "classifier/spectrogram/"
    waves : float32 [shape=(num_clips, num_samples)], clips whose activations decide the ranges
    """
    import tensorflow as tf

    def clips() -> Iterator[dict[str, np.ndarray]]:
        return ({input_name: wave[np.newaxis]} for wave in waves)

    def converter() -> tf.lite.TFLiteConverter:
        made = tf.lite.TFLiteConverter.from_saved_model(str(savedmodel), signature_keys=[signature])
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return made

    single = tf.lite.Interpreter(model_content=converter().convert())
    kept = [tensor["name"] for tensor in single.get_tensor_details() if tensor["name"].startswith(front_end)]
    quantizing = converter()
    quantizing.optimizations = [tf.lite.Optimize.DEFAULT]
    quantizing.representative_dataset = clips
    quantizing.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    # The debugger is the converter's only public way to leave single operations in float
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=kept)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=quantizing, debug_dataset=clips, debug_options=options
    )
    return bytes(debugger.get_nondebug_quantized_model())
