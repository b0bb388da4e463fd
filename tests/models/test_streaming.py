"""Any network of causal layers has a streaming form; a layer that needs the whole clip is named."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from hybridspeech.errors import ConfigError
from hybridspeech.models.streaming import StreamingNetwork, flat_size, packed, unpacked

NUM_FRAMES = 24


def network(*middle: layers.Layer) -> tf_keras.Model:
    return tf_keras.Sequential(
        [
            layers.Input((6, NUM_FRAMES, 1)),
            *middle,
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ],
        name="own",
    )


def padded(num_before: int) -> layers.Layer:
    return layers.ZeroPadding2D(((0, 0), (num_before, 0)))


FITTING = {
    "strides and dilation": [
        padded(1),
        layers.Conv2D(4, 3, strides=2),
        padded(4),
        layers.DepthwiseConv2D((1, 3), dilation_rate=(1, 2)),
        layers.AveragePooling2D((1, 2)),
    ],
    "no frames before": [layers.Conv2D(4, (2, 3), strides=(1, 3)), layers.ReLU(), layers.MaxPooling2D((2, 1))],
    "one layer": [padded(2), layers.Conv2D(4, (6, 3))],
}
FRAMES_PER_STEP = {"strides and dilation": 4, "no frames before": 3, "one layer": 1}


@pytest.mark.parametrize("case", FITTING)
def test_a_causal_network_of_a_user_equals_its_streaming_form(case: str) -> None:
    frames_per_step, model = FRAMES_PER_STEP[case], network(*FITTING[case])
    stream = StreamingNetwork(model)
    assert stream.frames_per_step == frames_per_step
    spectrograms = np.random.default_rng(0).normal(size=(2, 6, NUM_FRAMES, 1)).astype(np.float32)
    state = np.zeros((2, flat_size(stream.state_shapes)), np.float32)
    for first in range(0, NUM_FRAMES, frames_per_step):
        frames = spectrograms[:, :, first : first + frames_per_step]
        probabilities, following = stream.step(frames, unpacked(state, stream.state_shapes))
        state = packed(following, stream.state_shapes)
    np.testing.assert_allclose(probabilities, model(spectrograms), atol=1e-6)


REFUSED = [
    ([layers.Conv2D(4, 3, padding="same")], r"'conv2d\w*' \(Conv2D\) uses later frames"),
    ([layers.Conv2D(4, 3)], r"\(Conv2D\) needs 2 more frames of zero padding before the first frame"),
    ([layers.ZeroPadding2D(((0, 0), (1, 1))), layers.Conv2D(4, 3)], r"\(ZeroPadding2D\) uses later frames"),
    ([layers.BatchNormalization(axis=2)], "treats frames of a clip differently"),
    ([layers.LayerNormalization(axis=(1, 2, 3))], "is not known to treat a stream as a clip"),
    ([layers.Reshape((3, 2 * NUM_FRAMES, 1))], "has a fixed number of frames"),
]


@pytest.mark.parametrize(("middle", "message"), REFUSED)
def test_a_layer_that_needs_the_whole_clip_is_named(middle: list[layers.Layer], message: str) -> None:
    with pytest.raises(ConfigError, match=f"network 'own': its layer .*{message}.*train a causal network"):
        StreamingNetwork(network(*middle))
