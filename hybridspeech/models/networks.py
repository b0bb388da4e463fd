"""The networks: ModelConfig -> uncompiled Keras model. Spectrograms in dB go in, probabilities come out.

float32 [shape=(batch, num_bins, num_frames, 1)] -> float32 [shape=(batch, num_labels)]. Knows nothing of data and training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from hybridspeech.models.config import ModelConfig

if TYPE_CHECKING:
    import tf_keras

BATCH_NORM_MOMENTUM = 0.9
"""The moving averages adapt within about 20 steps; with Keras' 0.99 they need 200, too many for a run of a few epochs."""

CAUSAL_FLOOR_DB = -70.0
"""Lower limit of the input of a causal network, in dB. Causal features have no limit relative to the loudest part of a clip; of
a clip of average level, -70 dB is the limit that the default of `top_db`, 80 dB, gives."""


def cnn(config: ModelConfig) -> tf_keras.Model:
    """Network of the 2020 student report: two convolutions and two dense layers; 1,935,070 parameters by default.

    96 % of the parameters are in the first dense layer. ReLU follows the pooling: the result is the same as before it, with a
    ninth of the operations.
    """
    from tf_keras import Sequential, layers

    return Sequential(
        [
            layers.Input((*config.input_shape, 1)),
            *_standardised_clip(config),
            layers.Conv2D(_wide(16, config), 3),
            layers.MaxPooling2D(3),
            layers.ReLU(),
            layers.Dropout(config.dropout),
            layers.Conv2D(_wide(32, config), 3),
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


def dscnn(config: ModelConfig) -> tf_keras.Model:
    """Depthwise-separable convolutions with residual connections; 104,924 parameters with 12 labels on 64 bands.

    After DS-CNN ("Hello Edge", arXiv:1711.07128), with the residual connections of MobileNetV2 (arXiv:1801.04381). The
    first convolution and the first block of each stage halve both axes, since the time on a CPU grows with the size of the
    feature maps. The input is standardised per band. The causal form has one output per 8 frames of a stream.
    """
    from tf_keras import Model, layers

    spectrogram = layers.Input((*config.input_shape, 1))
    x = _standardised(spectrogram, config)
    x = layers.ReLU()(_normalised(_convolved(x, _wide(48, config), 5, config, strides=2)))
    for channels, blocks in ((_wide(96, config), 2), (_wide(144, config), 4)):
        for block in range(blocks):
            x = _separable_block(x, channels, config, strides=1 if block else 2)
    x = layers.Dropout(config.dropout)(layers.GlobalAveragePooling2D()(x))
    return Model(spectrogram, layers.Dense(config.num_labels, activation="softmax")(x), name="dscnn")


def _separable_block(x: Any, channels: int, config: ModelConfig, strides: int) -> Any:
    from tf_keras import layers

    y = layers.ReLU()(_normalised(_filtered(x, (3, 3), config, strides=strides)))
    y = _normalised(_convolved(y, channels, 1, config))
    return layers.ReLU()(layers.Add()([x, y]) if x.shape == y.shape else y)


def bcresnet(config: ModelConfig) -> tf_keras.Model:
    """BC-ResNet (broadcasted residual learning), after arXiv:2106.04140, table 1; `width` is its tau.

    A block has a 2-D part along frequency. The mean of its output over the bands passes a 1-D part along time and is added
    to every band. Normalisation is per sub-band: five if the number of bands allows it, as in the paper (40 bands), else four.
    The causal form has one output per 2 frames of a stream.
    """
    from tf_keras import Model, layers

    spectrogram = layers.Input((*config.input_shape, 1))
    x = _standardised(spectrogram, config)
    x = layers.ReLU()(_normalised(_convolved(x, _wide(16, config), 5, config, strides=2)))
    for channels, blocks, is_halving, dilation in (
        (8, 2, False, 1),
        (12, 2, True, 2),
        (16, 4, True, 4),
        (20, 4, False, 8),
    ):
        for block in range(blocks):
            x = _broadcast_block(x, _wide(channels, config), is_halving and block == 0, dilation, config, block == 0)
    x = _filtered(x, (5, 5), config)
    x = layers.ReLU()(_normalised(_convolved(x, _wide(32, config), 1, config)))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(spectrogram, layers.Dense(config.num_labels, activation="softmax")(x), name="bcresnet")


def _broadcast_block(
    x: Any, channels: int, is_halving: bool, dilation: int, config: ModelConfig, is_transition: bool
) -> Any:
    """Return one block of figure 2; a transition block changes the number of channels and has no identity connection."""
    from tf_keras import layers

    y = layers.ReLU()(_normalised(_convolved(x, channels, 1, config))) if is_transition else x
    y = _filtered(y, (3, 1), config)
    if is_halving:  # TensorFlow has no depthwise convolution with two strides on a CPU
        y = layers.MaxPooling2D((1, 1), strides=(2, 1))(y)
    y = _normalised_by_sub_bands(y)
    z = layers.AveragePooling2D((y.shape[1], 1))(y)
    z = _filtered(z, (1, 3), config, dilation=dilation)
    z = layers.Activation("swish")(_normalised(z))
    z = layers.SpatialDropout2D(config.dropout)(_convolved(z, channels, 1, config))
    return layers.ReLU()(layers.Add()([y, z] if is_transition else [x, y, z]))


def _normalised_by_sub_bands(x: Any) -> Any:
    """Apply sub-spectral normalisation (arXiv:2103.13620): BatchNorm of each channel in each group of bands."""
    from tf_keras import layers

    bands, channels = x.shape[1], x.shape[3]
    groups = next(count for count in (5, 4, 2, 1) if bands % count == 0)
    # Groups and channels become the last axis: on any other TensorFlow has no fused BatchNorm. A stream has other numbers
    # of frames than a clip: -1
    x = layers.Permute((2, 3, 1, 4))(layers.Reshape((groups, bands // groups, -1, channels))(x))
    x = _normalised(layers.Reshape((bands // groups, -1, groups * channels))(x))
    x = layers.Permute((3, 1, 2, 4))(layers.Reshape((bands // groups, -1, groups, channels))(x))
    return layers.Reshape((bands, -1, channels))(x)


def _standardised(spectrogram: Any, config: ModelConfig) -> Any:
    """Normalise each band to mean 0 and variance 1, without trainable weights (docs/design/decisions/dscnn-layout.md)."""
    from tf_keras import layers

    for layer in _standardised_clip(config):
        spectrogram = layer(spectrogram)
    if config.causal:
        spectrogram = layers.ReLU()(layers.Rescaling(1.0, offset=-CAUSAL_FLOOR_DB)(spectrogram))
    return layers.BatchNormalization(axis=1, momentum=BATCH_NORM_MOMENTUM, center=False, scale=False)(spectrogram)


def _standardised_clip(config: ModelConfig) -> list[tf_keras.layers.Layer]:
    """Return the layer, without weights, that shifts and scales each spectrogram to mean 0 and variance 1, if it is on."""
    from tf_keras import layers

    if config.standardize != "clip":
        return []
    # With a larger epsilon, Keras uses a fused operation in NCHW
    return [layers.LayerNormalization(axis=(1, 2, 3), epsilon=1e-6, center=False, scale=False)]


def _normalised(x: Any) -> Any:
    from tf_keras import layers

    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)


def _convolved(x: Any, channels: int, size: int, config: ModelConfig, strides: int = 1) -> Any:
    from tf_keras import layers

    x, padding = _padded(x, (size, size), strides, 1, config)
    return layers.Conv2D(channels, size, strides=strides, padding=padding, use_bias=False)(x)


def _filtered(x: Any, size: tuple[int, int], config: ModelConfig, strides: int = 1, dilation: int = 1) -> Any:
    """Apply a depthwise convolution; `size` is (bands, frames), and the dilation is along the frames."""
    from tf_keras import layers

    x, padding = _padded(x, size, strides, dilation, config)
    filters = layers.DepthwiseConv2D(
        size, strides=strides, padding=padding, dilation_rate=(1, dilation), use_bias=False
    )
    return filters(x)


def _padded(
    x: Any, size: tuple[int, int], strides: int, dilation: int, config: ModelConfig
) -> tuple[Any, Literal["same", "valid"]]:
    """Return the input of a convolution, and its argument `padding`.

    The causal form has zeros before the frames only. An output of a convolution with strides then depends on the frame that
    arrives with it, and not on the first one of its `strides` frames: a stream has no additional delay.
    """
    from tf_keras import layers

    before = (size[1] - 1) * dilation + 1 - strides
    if not config.causal or before <= 0:
        return x, "same"
    bands = x.shape[1]
    total = max(size[0] + (math.ceil(bands / strides) - 1) * strides - bands, 0)
    return layers.ZeroPadding2D(((total // 2, total - total // 2), (before, 0)))(x), "valid"


def _wide(channels: int, config: ModelConfig) -> int:
    return max(1, round(channels * config.width))


CAUSAL = ("dscnn", "bcresnet")
"""Networks with a causal form."""
MODELS: dict[str, Callable[[ModelConfig], Any]] = {"cnn": cnn, "dscnn": dscnn, "bcresnet": bcresnet}
SMALLEST_INPUT = {"cnn": 17, "dscnn": 8, "bcresnet": 8}
"""Least number of bins and of frames that a network needs."""
