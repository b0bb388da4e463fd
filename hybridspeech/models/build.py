"""ModelConfig -> uncompiled network. Knows nothing of data, clusters and training."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING

from hybridspeech.errors import ConfigError
from hybridspeech.models.config import ModelConfig
from hybridspeech.models.networks import MODELS, SMALLEST_INPUT
from hybridspeech.processes.native_stderr import native_errors_muted
from hybridspeech.registry import requires

if TYPE_CHECKING:
    import tf_keras


def check_model(config: ModelConfig) -> None:
    """Say on the driver what `build_model` would say in a worker, without importing TensorFlow.

    Raises
    ------
    ConfigError: the name is unknown, its module can't be found, or the spectrogram is too small for the network.
    """
    module, separator, function = config.name.partition(":")
    if separator:
        if not (module and function.isidentifier() and _is_there(module)):
            raise ConfigError(
                f"model {config.name!r}: there is no module {module!r} to import; expected module:function, with the module on "
                "PYTHONPATH of the driver and of every worker"
            )
        return
    if config.name not in MODELS:
        raise ConfigError(
            f"model {config.name!r} is unknown; choose one of {', '.join(MODELS)}, or module:function of your own"
        )
    smallest = SMALLEST_INPUT[config.name]
    if min(config.input_shape) < smallest:
        raise ConfigError(
            f"model {config.name!r} needs spectrograms of {smallest} x {smallest} or more, and these are "
            f"{config.input_shape[0]} x {config.input_shape[1]}; preprocess again with a larger n_fft (or n_mels), or a "
            "smaller hop_length"
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def build_model(config: ModelConfig) -> tf_keras.Model:
    """Uncompiled network.

    Its input is float32 [shape=(batch, num_bins, num_frames, 1)], dB; its output float32 [shape=(batch, num_labels)],
    probabilities.

    Raises
    ------
    ConfigError: as `check_model`; or the function of your own is not there, or makes a model of other shapes.
    """
    check_model(config)
    with requires("train", f"model {config.name!r}"):
        import_tensorflow()
    if ":" not in config.name:
        return MODELS[config.name](config)
    module, _, function = config.name.partition(":")
    build = getattr(importlib.import_module(module), function, None)
    if build is None:
        raise ConfigError(f"model {config.name!r}: module {module!r} has no function {function!r}")
    model = build(config)
    wanted = ((None, *config.input_shape, 1), (None, config.num_labels))
    if (given := (model.input_shape, model.output_shape)) != wanted:
        raise ConfigError(
            f"model {config.name!r} takes {given[0]} and gives {given[1]}; expected {wanted[0]} and {wanted[1]}: build it "
            "from config.input_shape and config.num_labels"
        )
    return model


def import_tensorflow() -> None:
    """Import TensorFlow and Keras 2 (tf_keras), without what their native code tells everybody at its start.

    Keras 3 can't fit under MultiWorkerMirroredStrategy (keras-team/keras#20585). Slow the first time: 4 to 10 s.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with native_errors_muted():
        import tensorflow
        import tf_keras  # noqa: F401

        tensorflow.config.list_physical_devices()
