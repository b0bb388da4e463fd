"""Runs a streaming export on sound that arrives in chunks of any size. Knows nothing of how the export was made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.models.build import import_tensorflow
from hybridspeech.models.export_source import OUTPUT_NAME, SIGNATURE, read_deployment
from hybridspeech.models.frontend import INPUT_NAME
from hybridspeech.registry import requires

STATE_NAME, NEXT_STATE_NAME = "state", "next_state"


class ExportedStream:
    """A stream of sound through an export of format savedmodel-streaming or tflite-streaming.

    Parameters
    ----------
    path : folder, or file *.tflite

    Attributes
    ----------
    labels : labels in the order of the probabilities
    sample_rate_hz : sample rate of the sound
    hop_samples : number of samples of one step

    Raises
    ------
    ConfigError: `path` is not a streaming export. MissingExtraError: TensorFlow is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        deployment = read_deployment(Path(path))
        if "hop_samples" not in deployment:
            raise ConfigError(
                f"{path}: takes whole clips; export with --format savedmodel-streaming or tflite-streaming"
            )
        self.labels: tuple[str, ...] = tuple(deployment["labels"])
        self.sample_rate_hz: int = deployment["sample_rate_hz"]
        self.hop_samples: int = deployment["hop_samples"]
        self._state_size: int = deployment["state_size"]
        with requires("train", "a streaming export"):
            import_tensorflow()
        self._step = _step_of(Path(path))
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._state: Any = np.zeros((1, self._state_size), np.float32)
        self._waiting = np.zeros(0, np.float32)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples of the stream.

        Samples that do not fill a step wait for the next call.

        Parameters
        ----------
        samples : float32 [shape=(num_samples,)], any number, full scale = 1.0, mono, at `sample_rate_hz`

        Returns
        -------
        float32 [shape=(num_steps, num_labels)], probabilities after each step that became complete; maybe no step

        Raises
        ------
        ConfigError: the samples have another type or shape. AudioError: a sample is not finite.
        """
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise ConfigError(f"samples are {samples.dtype} {samples.shape}; expected float32 with one dimension")
        if not np.isfinite(samples).all():
            raise AudioError("not-finite", "a sample is not finite; expected full scale 1.0")  # the state would keep it
        waiting = np.concatenate([self._waiting, samples.astype(np.float32)])
        num_steps = len(waiting) // self.hop_samples
        steps = waiting[: num_steps * self.hop_samples].reshape(num_steps, 1, self.hop_samples)
        self._waiting = waiting[num_steps * self.hop_samples :]
        answers = np.empty((num_steps, len(self.labels)), np.float32)
        for number, step in enumerate(steps):
            made = self._step(**{INPUT_NAME: step, STATE_NAME: self._state})
            answers[number], self._state = made[OUTPUT_NAME][0], made[NEXT_STATE_NAME]
        return answers


def _step_of(path: Path) -> Callable[..., dict[str, Any]]:
    """Return the signature of an export; TFLite with one thread, as on a small device."""
    import tensorflow as tf

    if path.is_dir():
        loaded = tf.saved_model.load(str(path))
        signature = loaded.signatures[SIGNATURE]
        # `loaded` must live as long as its signature
        return lambda **inputs: (loaded, signature(**{name: tf.constant(x) for name, x in inputs.items()}))[1]
    runner: Callable[..., dict[str, Any]] = tf.lite.Interpreter(str(path), num_threads=1).get_signature_runner(
        SIGNATURE
    )
    return runner
