"""Quantisation: a TFLite model whose network computes in int8 and whose spectrogram in float32.

The samples of a clip and the powers of its spectrum span more orders of magnitude than int8 can represent (docs/LOG.md);
decibels do not. So the quantised part begins where the spectrogram enters the network. Knows nothing of runs and shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np


def to_int8(savedmodel: Path, signature: str, input_name: str, front_end: str, waves: np.ndarray) -> bytes:
    """Convert a SavedModel of builtin operations; weights (per channel) and activations after the front-end become int8.

    Parameters
    ----------
    savedmodel : folder of the model
    signature : name of the signature to convert
    input_name : name of its only input, float32 [shape=(batch, num_samples)]
    front_end : scope of the operations that stay in float32, e.g. "classifier/spectrogram/"
    waves : float32 [shape=(num_clips, num_samples)], clips whose activations set the ranges

    Returns
    -------
    content of the TFLite file
    """
    import tensorflow as tf

    def clips() -> Iterator[dict[str, np.ndarray]]:
        return ({input_name: wave[np.newaxis]} for wave in waves)

    def make_converter() -> tf.lite.TFLiteConverter:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(savedmodel), signature_keys=[signature])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter

    single = tf.lite.Interpreter(model_content=make_converter().convert())
    in_float = [tensor["name"] for tensor in single.get_tensor_details() if tensor["name"].startswith(front_end)]
    quantizing = make_converter()
    quantizing.optimizations = [tf.lite.Optimize.DEFAULT]
    quantizing.representative_dataset = clips
    quantizing.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    # The debugger is the only public interface that keeps single operations in float
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=in_float)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=quantizing, debug_dataset=clips, debug_options=options
    )
    return bytes(debugger.get_nondebug_quantized_model())
