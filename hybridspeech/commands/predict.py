"""The verb `predict`: labels of audio files. Knows nothing of shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hybridspeech.audio.long_clips import describe_cut
from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.errors import ConfigError, counted
from hybridspeech.evaluation.audio_files import find_audio_files, read_clips
from hybridspeech.evaluation.file_predictions import Prediction, TrainedRun, check_finished, load_run


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
    check_finished(run, model)
    paths = [file.path for file in find_audio_files(given)]
    on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
    return _predict(load_run(run, model), paths, top_k, batch_size, on_progress)


def _predict(
    trained: TrainedRun, paths: Sequence[str], top_k: int, batch_size: int, on_progress: OnProgress
) -> Iterator[Prediction]:
    clips = read_clips(paths, trained.features)
    cuts_s: list[float] = []
    for first in range(0, len(paths), batch_size):
        batch = paths[first : first + batch_size]
        predictions = trained.predict(batch, [next(clips) for _ in batch], top_k)
        on_progress(Progress(stage="predict", done=first + len(batch), total=len(paths), unit="files"))
        cuts_s += [prediction.cut_s for prediction in predictions if prediction.cut_s]
        yield from predictions
    if cut := describe_cut(cuts_s, counted(len(paths), "file"), trained.features.clip_duration_ms):
        on_progress(Progress(stage="predict", message=f"{cut}; only the start of these files was used"))
