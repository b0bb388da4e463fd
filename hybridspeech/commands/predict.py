"""The verb `predict`: labels of audio files.

Clips are read and transformed by the functions of preprocessing, so that a clip has the label that `evaluate` counts.
Knows nothing of shards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.audio.decode import DecodedClip, decode_bytes, decode_file
from hybridspeech.audio.formats import AUDIO_SUFFIXES, converted_originals, is_recording
from hybridspeech.audio.long_clips import describe_cut
from hybridspeech.config import FeatureConfig, OnProgress, Progress, silent, to_json
from hybridspeech.errors import AudioError, ConfigError, RunError, counted
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.registry import requires
from hybridspeech.storage.copies import fetched
from hybridspeech.storage.locations import is_url, join, normalized
from hybridspeech.storage.objects import is_file, list_files, read_many
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import FINISHED_RUN_NAMES, RunDirectory

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
    run : run directory of a finished training; a local path or a URL
    files : audio files, and folders, local or URLs; a folder is searched at any depth for files with one of
        AUDIO_SUFFIXES or UNSUPPORTED_SUFFIXES, in the order of their names; a file that can't be decoded has an error as
        result
    top_k : number of labels in each prediction
    batch_size : number of files in memory at a time
    model : "module:function" of a custom network, which is imported only if it is named here

    Raises
    ------
    RunError: the run is not finished. ConfigError: a setting can not work, or there is no file. Both are raised before the
    first prediction.
    """
    given = list(files)
    if top_k < 1 or batch_size < 1:
        raise ConfigError(f"top_k is {top_k} and batch size {batch_size}; expected 1 or more")
    with fetched(run, *FINISHED_RUN_NAMES) as local_run:
        directory = RunDirectory(local_run)
        plan = directory.require_finished(model)
        paths = [path for file in given for path in _audio_files(file)]
        if not paths:
            raise ConfigError("no file was given; name audio files, or folders that contain some")
        on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
        with requires("train", "predict"):
            from hybridspeech.training.trained_model import load_model

            network = load_model(directory, plan)
    return _predict(network, plan, paths, top_k, batch_size, on_progress)


def _audio_files(given: str | Path) -> list[str]:
    """Return the file itself, or the audio files of a folder or below a URL.

    Raises
    ------
    ConfigError: the folder contains none.
    """
    location = normalized(given) if is_url(given) else str(given)
    if is_url(location) and not is_file(location):
        names = [stat.name for stat in list_files(location)]
        found = [(join(location, name), name.rpartition("/")[2]) for name in names]
    elif Path(location).is_dir():
        found = [(str(Path(folder) / name), name) for folder, _, names in os.walk(location) for name in names]
    else:
        return [location]
    recordings = {path for path, name in found if is_recording(name) and not name.startswith(".")}
    audio = sorted(recordings - converted_originals(recordings))
    if not audio:
        raise ConfigError(
            f"{given}: no audio file in this folder; expected names that end in {', '.join(AUDIO_SUFFIXES)}"
        )
    return audio


def _read_clips(paths: Sequence[str], features: FeatureConfig) -> Iterator[DecodedClip | AudioError]:
    """Yield the clip of each file, or why it is unusable; files of an object store are requested ahead."""
    contents = read_many(path for path in paths if is_url(path))
    for path in paths:
        try:
            if not is_url(path):
                yield decode_file(path, features)
                continue
            content = next(contents)
            if isinstance(content, FileNotFoundError):
                raise AudioError("missing", f"{path}: no such file")
            if isinstance(content, Exception):
                raise content
            yield decode_bytes(content, features, path)
        except AudioError as error:
            yield error


def _predict(
    model: tf_keras.Model,
    plan: TrainPlan,
    paths: Sequence[str],
    top_k: int,
    batch_size: int,
    on_progress: OnProgress,
) -> Iterator[Prediction]:
    extractor = FeatureExtractor(plan.features)
    clips = _read_clips(paths, plan.features)
    cuts_s: list[float] = []
    for first in range(0, len(paths), batch_size):
        batch = paths[first : first + batch_size]
        decoded = [next(clips) for _ in batch]
        spectrograms = [extractor(clip.wave).copy() for clip in decoded if isinstance(clip, DecodedClip)]
        probabilities = model.predict_on_batch(np.stack(spectrograms)[..., np.newaxis]) if spectrograms else np.empty(0)
        if not np.isfinite(probabilities).all():
            raise RunError(f"{plan.run}: the network gives probabilities that are not finite; train again")
        answers: Iterator[np.ndarray] = iter(probabilities)
        on_progress(Progress(stage="predict", done=first + len(batch), total=len(paths), unit="files"))
        for path, clip in zip(batch, decoded, strict=True):
            if isinstance(clip, AudioError):
                yield Prediction(path=path, error=str(clip))
                continue
            cuts_s += [clip.cut_s] if clip.cut_s else []
            yield replace(_prediction(path, next(answers), plan.labels, top_k), cut_s=clip.cut_s)
    if cut := describe_cut(cuts_s, counted(len(paths), "file"), plan.features.clip_duration_ms):
        on_progress(Progress(stage="predict", message=f"{cut}; only the start of these files was used"))


def _prediction(path: str, probabilities: np.ndarray, labels: Sequence[str], top_k: int) -> Prediction:
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    top = tuple(Candidate(label=labels[i], probability=float(probabilities[i])) for i in best)
    return Prediction(path=path, label=top[0].label, probability=top[0].probability, top=top)
