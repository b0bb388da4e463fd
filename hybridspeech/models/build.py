"""ModelConfig -> uncompiled network. Knows nothing of data, clusters and training."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hybridspeech.errors import ConfigError
from hybridspeech.models.config import ModelConfig
from hybridspeech.models.custom_network import build_custom_network, check_custom_network, is_custom
from hybridspeech.models.networks import CAUSAL, MODELS, SMALLEST_INPUT
from hybridspeech.patches.tensorflow_autograph import write_no_bytecode
from hybridspeech.processes.native_stderr import native_errors_muted
from hybridspeech.registry import requires

if TYPE_CHECKING:
    import tf_keras


def check_model(config: ModelConfig) -> None:
    """Check on the driver, without TensorFlow, that `build_model` can build this network.

    Raises
    ------
    ConfigError: the name is unknown, the spectrogram is too small for the network, or as `check_custom_network`.
    """
    if is_custom(config.name):
        check_custom_network(config.name)
    else:
        _check_built_in(config)


def _check_built_in(config: ModelConfig) -> None:
    if config.name not in MODELS:
        raise ConfigError(
            f"model is {config.name!r}; choose one of {', '.join(MODELS)}, or module:function for your own network"
        )
    if config.causal and config.name not in CAUSAL:
        raise ConfigError(f"model {config.name!r} has no causal form; choose one of {', '.join(CAUSAL)}")
    smallest = SMALLEST_INPUT[config.name]
    if min(config.input_shape) < smallest:
        raise ConfigError(
            f"model {config.name!r} needs spectrograms of {smallest} x {smallest} or more, and these are "
            f"{config.input_shape[0]} x {config.input_shape[1]}; preprocess again with a larger n_fft (or n_mels), or a "
            "smaller hop_length"
        )


def build_model(config: ModelConfig) -> tf_keras.Model:
    """Build an uncompiled network.

    Parameters
    ----------
    config : resolved: no field is None

    Returns
    -------
    Model with input float32 [shape=(batch, num_bins, num_frames, 1)] in dB and output float32 [shape=(batch, num_labels)],
    probabilities.

    Raises
    ------
    ConfigError: as `check_model` and `build_custom_network`. MissingExtraError: TensorFlow is not installed.
    """
    if not is_custom(config.name):
        _check_built_in(config)
    with requires("train", f"model {config.name!r}"):
        import_tensorflow()
    return build_custom_network(config) if is_custom(config.name) else MODELS[config.name](config)


def import_tensorflow() -> None:
    """Import TensorFlow and Keras 2 (tf_keras) without the messages of their native code; takes 4 to 10 s the first time.

    Keras 3 can not train under MultiWorkerMirroredStrategy (keras-team/keras#20585).
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with native_errors_muted():
        import tensorflow
        import tf_keras  # noqa: F401

        tensorflow.config.list_physical_devices()
    write_no_bytecode()
