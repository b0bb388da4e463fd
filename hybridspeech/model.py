"""ModelConfig -> uncompiled network; and the trained network of a run. Knows nothing of data, clusters and training."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hybridspeech.config import ModelConfig
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.quiet import native_errors_muted
from hybridspeech.registry import requires
from hybridspeech.runs import RunDirectory

if TYPE_CHECKING:
    import tf_keras

BATCH_NORM_MOMENTUM = 0.9


def cnn(config: ModelConfig) -> tf_keras.Model:
    """The network of the report of 2020: two convolutions and two dense layers; 1,935,070 parameters at its defaults.

    96 % of them stand in the first dense layer, which sees every cell of the pooled spectrogram. ReLU comes after the
    pooling: the largest of nine is the same before and after it, and there is a ninth to do. The moving averages of
    BatchNorm follow within about 20 steps (momentum 0.9, where Keras has 0.99), so that a run of a few epochs can be
    evaluated.
    """
    from tf_keras import Sequential, layers

    return Sequential(
        [
            layers.Input((*config.input_shape, 1)),
            layers.Conv2D(16, 3),
            layers.MaxPooling2D(3),
            layers.ReLU(),
            layers.Dropout(config.dropout),
            layers.Conv2D(32, 3),
            layers.MaxPooling2D(3),
            layers.ReLU(),
            layers.Dropout(config.dropout),
            layers.Flatten(),
            layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM),
            layers.Dense(128, activation="relu"),
            layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM),
            layers.Dense(128, activation="relu"),
            layers.Dense(config.num_labels, activation="softmax"),
        ],
        name="cnn",
    )


MODELS: dict[str, Callable[[ModelConfig], Any]] = {"cnn": cnn}


def check_model(config: ModelConfig) -> None:
    """Say on the driver what `build_model` would say in a worker, without importing TensorFlow.

    Raises
    ------
    ConfigError: the name is unknown, or the spectrogram is too small for the network.
    """
    if config.name not in MODELS:
        raise ConfigError(f"model {config.name!r} is unknown; choose one of {', '.join(MODELS)}")
    if min(config.input_shape) < 17:
        raise ConfigError(
            f"model {config.name!r} needs spectrograms of 17 x 17 or more, and these are {config.input_shape[0]} x "
            f"{config.input_shape[1]}; preprocess again with a larger n_fft (or n_mels), or a smaller hop_length"
        )


def build_model(config: ModelConfig) -> tf_keras.Model:
    """Uncompiled network.

    Its input is float32 [shape=(batch, num_bins, num_frames, 1)], dB; its output float32 [shape=(batch, num_labels)],
    probabilities.
    """
    check_model(config)
    with requires("train", f"model {config.name!r}"):
        import_tensorflow()
        return MODELS[config.name](config)


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


def load_model(run: RunDirectory) -> tf_keras.Model:
    """The trained network of a finished run. Reads numbers only: no code comes out of a file.

    Raises
    ------
    RunError: there is no finished run, or its weights do not fit its plan.
    """
    plan = run.require_finished()
    model = build_model(plan.model)
    try:
        model.load_weights(run.weights_path)
    except (OSError, ValueError) as error:
        raise RunError(f"{run.weights_path}: the weights do not fit plan.json ({error}); train again") from error
    return model
