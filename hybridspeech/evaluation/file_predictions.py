"""The network of a finished run, applied to audio files. Knows nothing of engines and shards.

Clips are read and transformed by the functions of preprocessing, so that a clip has the label that `evaluate` counts.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.audio.decode import DecodedClip
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError, RunError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.records import to_json
from hybridspeech.registry import requires
from hybridspeech.storage.copies import fetched
from hybridspeech.training.run_directory import FINISHED_RUN_NAMES, RunDirectory
from hybridspeech.training.tensorflow_setup import limit_threads

if TYPE_CHECKING:
    import tf_keras


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A label and its probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction for one file.

    Parameters
    ----------
    label, probability : the most probable label; None for an unusable file
    top : the most probable labels in descending order; the first one is `label`
    cut_s : duration, in seconds, that was cut off the end of a file that is longer than the clip duration; else 0
    error : "reason: detail" for an unusable file, else None
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: tuple[Candidate, ...] = ()
    cut_s: float = 0.0
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """Return the JSON object of this file: path, label, probability, top and cut_s; or path and error."""
        names = ("path", "label", "probability", "top", "cut_s") if self.error is None else ("path", "error")
        return {name: to_json(getattr(self, name)) for name in names}


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run whose network is loaded."""

    run: str
    network: tf_keras.Model
    features: FeatureConfig
    labels: tuple[str, ...]

    @functools.cached_property
    def _extractor(self) -> FeatureExtractor:
        return FeatureExtractor(self.features)

    @functools.cached_property
    def _classify(self) -> Any:
        """The network as one graph: predict_on_batch takes 1.7 times as long per window in batches of 32, and 3 times alone."""
        import tensorflow as tf

        signature = [tf.TensorSpec((None, *self.features.shape, 1), tf.float32)]
        return tf.function(
            lambda inputs: self.network(inputs, training=False), input_signature=signature, autograph=False
        )

    def predict(self, paths: Sequence[str], clips: Sequence[DecodedClip | AudioError], top_k: int) -> list[Prediction]:
        """Return the predictions for one batch of clips, in their order.

        Parameters
        ----------
        paths : names of the clips, for the predictions
        clips : each clip, or why it is unusable

        Raises
        ------
        RunError: a probability is not finite.
        """
        inputs = [self._extractor(clip.wave).copy() for clip in clips if isinstance(clip, DecodedClip)]
        probabilities = self.probabilities(np.stack(inputs)) if inputs else np.empty(0)
        answers: Iterator[np.ndarray] = iter(probabilities)
        return [
            Prediction(path=path, error=str(clip))
            if isinstance(clip, AudioError)
            else replace(self._prediction(path, next(answers), top_k), cut_s=clip.cut_s)
            for path, clip in zip(paths, clips, strict=True)
        ]

    def probabilities(self, spectrograms: np.ndarray) -> np.ndarray:
        """Return the probabilities of the labels, float32 [shape=(batch, num_labels)].

        Parameters
        ----------
        spectrograms : float32 [shape=(batch, num_bins, num_frames)], dB

        Raises
        ------
        RunError: a probability is not finite.
        """
        probabilities: np.ndarray = self._classify(spectrograms[..., np.newaxis]).numpy()
        if not np.isfinite(probabilities).all():
            raise RunError(f"{self.run}: the network gives probabilities that are not finite; train again")
        return probabilities

    def _prediction(self, path: str, probabilities: np.ndarray, top_k: int) -> Prediction:
        best = np.argsort(-probabilities, kind="stable")[:top_k]
        top = tuple(Candidate(label=self.labels[i], probability=float(probabilities[i])) for i in best)
        return Prediction(path=path, label=top[0].label, probability=top[0].probability, top=top)


def check_finished(run: str | Path, model: str | None = None) -> str:
    """Check on the driver, without TensorFlow, that `load_run` can load a run; return a hash of its files.

    Raises
    ------
    RunError, ConfigError: as `load_run`.
    """
    with fetched(run, *FINISHED_RUN_NAMES) as local_run:
        directory = RunDirectory(local_run)
        directory.require_finished(model)
        files = (directory.plan_path, directory.weights_path, directory.calibration_path)
        contents = [path.read_bytes() if path.is_file() else b"" for path in files]
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


def load_run(run: str | Path, model: str | None = None) -> TrainedRun:
    """Load the network of a finished run.

    Parameters
    ----------
    run : local path or URL
    model : "module:function" of a custom network, which is imported only if it is named here

    Raises
    ------
    RunError: the run is not finished. ConfigError: as `RunDirectory.require_finished`.
    """
    with fetched(run, *FINISHED_RUN_NAMES) as local_run:
        directory = RunDirectory(local_run)
        plan = directory.require_finished(model)
        with requires("train", "predict"):
            from hybridspeech.training.trained_model import load_model

            network = load_model(directory, plan)
    return TrainedRun(run=str(run), network=network, features=plan.features, labels=tuple(plan.labels))


@functools.lru_cache(maxsize=1)
def loaded_run(run: str, key: str, model: str | None, num_threads: int) -> TrainedRun:
    """Return the network as `load_run` does, loaded once in a process.

    Parameters
    ----------
    key : hash that `check_finished` has returned; another one loads the network again
    num_threads : of TensorFlow in this process; 0: as many as there are cores
    """
    if num_threads:
        with requires("train", "predict"):
            limit_threads(num_threads)
    return load_run(run, model)
