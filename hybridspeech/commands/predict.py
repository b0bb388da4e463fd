"""The verb `predict`: labels of audio files.

Clips are read and transformed by the functions of preprocessing, so that a clip has the label that `evaluate` counts.
Knows nothing of shards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.audio.decode import read_clip
from hybridspeech.audio.formats import AUDIO_SUFFIXES
from hybridspeech.config import OnProgress, Progress, silent, to_json
from hybridspeech.errors import AudioError, ConfigError, RunError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.registry import requires
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory

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
    error : "reason: detail" for an unusable file, else None
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: tuple[Candidate, ...] = ()
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """Return the JSON object of this file: path, label, probability and top; or path and error."""
        names = ("path", "label", "probability", "top") if self.error is None else ("path", "error")
        return {name: to_json(getattr(self, name)) for name in names}


def predict(
    run: str | Path,
    files: Iterable[str | Path],
    *,
    top_k: int = 3,
    batch_size: int = 64,
    model: str | None = None,
    on_progress: OnProgress = silent,
) -> Iterator[Prediction]:
    """Predict the label of each file, in the order given.

    Parameters
    ----------
    run : run directory of a finished training
    files : audio files, and folders; a folder is searched at any depth for files with one of AUDIO_SUFFIXES, in the order
        of their names
    top_k : number of labels in each prediction
    batch_size : number of files in memory at a time
    model : "module:function" of a custom network, which is imported only if it is named here

    Raises
    ------
    RunError: the run is not finished. ConfigError: a setting can not work, or there is no file. Both are raised before the
    first prediction.
    """
    given = list(files)
    refuse_urls(RUN=run)
    for file in given:
        refuse_urls(FILES=file)
    directory = RunDirectory(run)
    plan = directory.require_finished(model)
    if top_k < 1 or batch_size < 1:
        raise ConfigError(f"top_k is {top_k} and batch size {batch_size}; expected 1 or more")
    paths = [path for file in given for path in _audio_files(Path(file))]
    if not paths:
        raise ConfigError("no file was given; name audio files, or folders that contain some")
    on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
    with requires("train", "predict"):
        from hybridspeech.training.trained_model import load_model

        network = load_model(directory, plan)
    return _predict(network, plan, paths, top_k, batch_size, on_progress)


def _audio_files(given: Path) -> list[Path]:
    """Return the file itself, or the audio files of a folder.

    Raises
    ------
    ConfigError: the folder contains none.
    """
    if not given.is_dir():
        return [given]
    found = [Path(folder) / name for folder, _, names in os.walk(given) for name in names]
    audio = sorted(path for path in found if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."))
    if not audio:
        raise ConfigError(
            f"{given}: no audio file in this folder; expected names that end in {', '.join(AUDIO_SUFFIXES)}"
        )
    return audio


def _predict(
    model: tf_keras.Model,
    plan: TrainPlan,
    paths: Sequence[Path],
    top_k: int,
    batch_size: int,
    on_progress: OnProgress,
) -> Iterator[Prediction]:
    extractor = FeatureExtractor(plan.features)
    for first in range(0, len(paths), batch_size):
        batch = paths[first : first + batch_size]
        errors, spectrograms = [], []
        for path in batch:
            try:
                spectrograms.append(extractor(read_clip(path, plan.features)).copy())
                errors.append("")
            except AudioError as error:
                errors.append(str(error))
        probabilities = model.predict_on_batch(np.stack(spectrograms)[..., np.newaxis]) if spectrograms else np.empty(0)
        if not np.isfinite(probabilities).all():
            raise RunError(f"{plan.run}: the network gives probabilities that are not finite; train again")
        answers: Iterator[np.ndarray] = iter(probabilities)
        on_progress(Progress(stage="predict", done=first + len(batch), total=len(paths), unit="files"))
        for path, message in zip(batch, errors, strict=True):
            if message:
                yield Prediction(path=str(path), error=message)
            else:
                yield _prediction(path, next(answers), plan.labels, top_k)


def _prediction(path: Path, probabilities: np.ndarray, labels: Sequence[str], top_k: int) -> Prediction:
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    top = tuple(Candidate(label=labels[i], probability=float(probabilities[i])) for i in best)
    return Prediction(path=str(path), label=top[0].label, probability=top[0].probability, top=top)
