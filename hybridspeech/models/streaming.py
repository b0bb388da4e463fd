"""A causal network as a function of the next frames of a stream and its state. Knows nothing of files, runs and sound.

The layers of the network are applied to a few frames instead of a clip, with the same weights. Two of them need earlier
frames, and keep them in the state:

| layer | of a clip | of a stream |
|---|---|---|
| ZeroPadding2D | zeros before the first frame | the last frames of the step before; zeros at the start |
| GlobalAveragePooling2D | mean over all frames | mean over the last frames, as many as a clip has, or all there are so far |

So the output after n frames, at most as many as a clip has, is that of the network on a clip of these n frames; later
outputs are those of the network without an end, with a moving average. One step takes as many frames as the network
reduces to one by its strides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hybridspeech.errors import ConfigError

if TYPE_CHECKING:
    import tf_keras

State = dict[str, Any]
"""Tensors of the state by layer; float32 [shape=(batch, ...)]. Zeros at the start of a stream."""


class StreamingNetwork:
    """A causal Keras network, for streams.

    Parameters
    ----------
    model : network with input float32 [shape=(batch, num_bins, num_frames, 1)] and output probabilities

    Attributes
    ----------
    frames_per_step : number of frames of one step
    state_shapes : shape of each tensor of the state, without the batch

    Raises
    ------
    ConfigError: a layer needs the whole clip, or is unknown.
    """

    def __init__(self, model: tf_keras.Model) -> None:
        self._model = model
        self._strides = dict(_strides(model))
        self.frames_per_step = max(self._strides.values())
        self.state_shapes: dict[str, tuple[int, ...]] = dict(_state_shapes(model))

    def step(self, frames: Any, state: State) -> tuple[Any, State]:
        """Apply the network to the next frames.

        Parameters
        ----------
        frames : float32 [shape=(batch, num_bins, frames_per_step, 1)], dB
        state : state after the step before

        Returns
        -------
        probabilities, float32 [shape=(batch, num_labels)], and the next state
        """
        values, following = {id(self._model.input): frames}, dict(state)
        for layer in _layers(self._model):
            given = layer.input
            inputs = [values[id(each)] for each in given] if isinstance(given, list) else values[id(given)]
            kind = type(layer).__name__
            if layer.name not in self.state_shapes:
                result = layer(inputs, training=False)
            elif kind == "ZeroPadding2D":
                result, following[layer.name] = _padded(layer, inputs, state[layer.name])
            else:
                result, following[layer.name] = _averaged(layer, inputs, state[layer.name])
            values[id(layer.output)] = result
        return values[id(self._model.output)], following


FRAME_BY_FRAME = (
    *("Activation", "Add", "BatchNormalization", "Concatenate", "Dense", "Dropout", "Multiply", "Permute", "ReLU"),
    *("Rescaling", "Softmax", "SpatialDropout2D"),
)
"""Layers that treat each frame alone."""
WINDOWED = ("AveragePooling2D", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "SeparableConv2D")


def _layers(model: tf_keras.Model) -> Iterator[Any]:
    return (layer for layer in model.layers if type(layer).__name__ != "InputLayer")


def _strides(model: tf_keras.Model) -> Iterator[tuple[int, int]]:
    """Yield the id of each tensor and the number of input frames per frame of it; errors as `StreamingNetwork`."""
    strides, padding = {id(model.input): 1}, dict[int, int]()
    for layer in _layers(model):
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        if problem := _problem(layer, padding.get(id(given[0]), 0)):
            raise ConfigError(
                f"network {model.name!r}: its layer {layer.name!r} ({type(layer).__name__}) {problem}, so that it has no "
                "streaming form; train a causal network (--causal with dscnn or bcresnet)"
            )
        own = layer.strides[1] if type(layer).__name__ in WINDOWED else 1
        strides[id(layer.output)] = own * max(strides[id(each)] for each in given)
        if type(layer).__name__ == "ZeroPadding2D":
            padding[id(layer.output)] = layer.padding[1][0]
    yield from strides.items()


def _problem(layer: Any, num_before: int) -> str:
    """Return why a layer can not be applied to a few frames, or an empty text; `num_before` frames are padded before it."""
    kind = type(layer).__name__
    if kind in FRAME_BY_FRAME:
        axes = getattr(layer, "axis", ())
        uses_time = kind != "Dense" and 2 in (axes if isinstance(axes, (list, tuple)) else [axes])
        return "treats frames of a clip differently" if uses_time and len(layer.output.shape) == 4 else ""
    if kind == "Reshape":
        return "" if -1 in layer.target_shape else "has a fixed number of frames"
    if kind == "GlobalAveragePooling2D":
        return ""
    if kind == "ZeroPadding2D":
        return "uses later frames" if layer.padding[1][1] else ""
    if kind not in WINDOWED:
        return "is not known to treat a stream as a clip"
    size = layer.pool_size[1] if hasattr(layer, "pool_size") else layer.kernel_size[1]
    reach = (size - 1) * getattr(layer, "dilation_rate", (1, 1))[1] + 1
    if reach > 1 and layer.padding != "valid":
        return "uses later frames"
    missing = reach - layer.strides[1] - num_before
    return f"needs {missing} more frames of zero padding before the first frame" if missing else ""


def _state_shapes(model: tf_keras.Model) -> Iterator[tuple[str, tuple[int, ...]]]:
    for layer in _layers(model):
        kind = type(layer).__name__
        if kind == "ZeroPadding2D" and layer.padding[1][0]:
            bands, _, channels = layer.input.shape[1:]
            yield layer.name, (bands, layer.padding[1][0], channels)
        elif kind == "GlobalAveragePooling2D":
            _, frames, channels = layer.input.shape[1:]
            yield layer.name, (frames, channels + 1)  # the additional channel is 1 for frames since the start


def _padded(layer: Any, x: Any, before: Any) -> tuple[Any, Any]:
    """Put the last frames of the step before in front of the new ones."""
    import tensorflow as tf

    x = tf.concat([before, x], axis=2)
    return tf.pad(x, [[0, 0], list(layer.padding[0]), [0, 0], [0, 0]]), x[:, :, -before.shape[2] :]


def _averaged(layer: Any, x: Any, before: Any) -> tuple[Any, Any]:
    """Average over the bands and the last frames."""
    import tensorflow as tf

    means = tf.reduce_mean(x, axis=1)
    counted = tf.concat([means, tf.ones_like(means[:, :, :1])], axis=2)
    last = tf.concat([before, counted], axis=1)[:, -before.shape[1] :]
    total = tf.reduce_sum(last, axis=1)
    return total[:, :-1] / total[:, -1:], last


def flat_size(shapes: dict[str, tuple[int, ...]]) -> int:
    """Return the number of values of a state."""
    return sum(math.prod(shape) for shape in shapes.values())


def unpacked(flat: Any, shapes: dict[str, tuple[int, ...]]) -> State:
    """Split one tensor, float32 [shape=(batch, flat_size(shapes))], into those of a state."""
    import tensorflow as tf

    parts = tf.split(flat, [math.prod(shape) for shape in shapes.values()], axis=1)
    return {name: tf.reshape(part, (-1, *shape)) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}


def packed(state: State, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Join the tensors of a state into one; the inverse of `unpacked`."""
    import tensorflow as tf

    return tf.concat([tf.reshape(state[name], (-1, math.prod(shape))) for name, shape in shapes.items()], axis=1)
