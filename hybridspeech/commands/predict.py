"""The verb `predict`: which words are in these audio files.

Reads and transforms a clip with the very functions of preprocessing, so that a clip gives the answer that `evaluate`
counted. Knows nothing of shards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.audio.decode import read_clip
from hybridspeech.audio.formats import AUDIO_SUFFIXES
from hybridspeech.config import to_json
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.registry import requires
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import tf_keras


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A word and how probable it is, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was heard in one file: `top` are the most probable words, best first, and the first of them is `label`.

    A file that can't be used has an `error`, "reason: detail", and nothing else.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: tuple[Candidate, ...] = ()
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """The JSON object of this file: path, label, probability and top; or path and error."""
        names = ("path", "label", "probability", "top") if self.error is None else ("path", "error")
        return {name: to_json(getattr(self, name)) for name in names}


def predict(
    run: str | Path, files: Iterable[str | Path], *, top_k: int = 3, batch_size: int = 64
) -> Iterator[Prediction]:
    """Recognise the word in each file, in the order given; `batch_size` files are in memory at a time.

    Parameters
    ----------
    files : audio files, and folders, which are searched to any depth, in the order of their names, for files with one
        of AUDIO_SUFFIXES
    top_k : how many words to give for each file

    Raises
    ------
    RunError: the run is not finished. ConfigError: a setting can't work, or there is no file. Both come at once.
    """
    refuse_urls(RUN=run)
    for given in files:
        refuse_urls(FILES=given)
    directory = RunDirectory(run)
    plan = directory.require_finished()
    if top_k < 1 or batch_size < 1:
        raise ConfigError(f"top_k is {top_k} and batch size {batch_size}; expected 1 or more")
    paths = [path for given in files for path in _audio_files(Path(given))]
    if not paths:
        raise ConfigError("no file was given; name audio files, or folders that hold some")
    with requires("train", "predict"):
        from hybridspeech.training.trained_model import load_model

        model = load_model(directory)
    return _predict(model, plan, paths, top_k, batch_size)


def _audio_files(given: Path) -> list[Path]:
    """The file itself, or the audio files of a folder.

    Raises
    ------
    ConfigError: there are none in the folder.
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
    model: tf_keras.Model, plan: TrainPlan, paths: Sequence[Path], top_k: int, batch_size: int
) -> Iterator[Prediction]:
    extractor = FeatureExtractor(plan.features)
    remaining = iter(paths)
    while batch := list(islice(remaining, batch_size)):
        errors, spectrograms = [], []
        for path in batch:
            try:
                spectrograms.append(extractor(read_clip(path, plan.features)).copy())
                errors.append("")
            except AudioError as error:
                errors.append(str(error))
        answers = iter(model.predict_on_batch(np.stack(spectrograms)[..., np.newaxis]) if spectrograms else ())
        for path, message in zip(batch, errors, strict=True):
            if message:
                yield Prediction(path=str(path), error=message)
            else:
                yield _prediction(path, next(answers), plan.labels, top_k)


def _prediction(path: Path, probabilities: np.ndarray, labels: Sequence[str], top_k: int) -> Prediction:
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    top = tuple(Candidate(label=labels[i], probability=float(probabilities[i])) for i in best)
    return Prediction(path=str(path), label=top[0].label, probability=top[0].probability, top=top)
