"""The verb `evaluate`: measure a finished run on one split of shards.

Makes every check that does not need TensorFlow before importing it. Knows nothing of how the run was trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.evaluation.data_warnings import data_warnings
from hybridspeech.evaluation.predictions import Predictions, predict_split
from hybridspeech.evaluation.recordings import read_recordings
from hybridspeech.evaluation.reports.clips import ClipSource
from hybridspeech.evaluation.reports.evaluation_report import write_evaluation_report
from hybridspeech.evaluation.result_files import write_files
from hybridspeech.evaluation.robustness import NUM_DISTURBANCES, RobustnessMetrics, measure_robustness, split_noises
from hybridspeech.evaluation.shard_checks import check_fit
from hybridspeech.evaluation.summary import EvaluateResult, EvaluationFiles, summarize
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.registry import requires
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.local_copies import fetched_split
from hybridspeech.storage.copies import fetched, uploaded
from hybridspeech.storage.locations import is_url, join, normalized, refuse_urls
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import FINISHED_RUN_NAMES, RunDirectory
from hybridspeech.training.temperature import read_calibration

if TYPE_CHECKING:
    import tf_keras

__all__ = ["EvaluateResult", "EvaluationFiles", "evaluate"]


def evaluate(
    run: str | Path,
    shards: str | Path,
    *,
    split: str = "testing",
    batch_size: int = 64,
    robustness: bool = False,
    out: str | Path | None = None,
    report: str | Path | None = None,
    audio: str | Path | None = None,
    model: str | None = None,
    on_progress: OnProgress = silent,
) -> EvaluateResult:
    """Measure a finished run on every clip of one split.

    Parameters
    ----------
    run : run directory of a finished training; a local path or a URL, as `shards` and `out`
    shards : folder written by `preprocess`, with the labels and features of the run
    split : training, validation or testing
    batch_size : number of clips in memory at a time
    robustness : measure also under background noise of the split and under time shifts (see RobustnessMetrics); needs
        shards of waveforms, and takes as long as nine more evaluations
    out : folder for the files; None: RUN/evaluation-{split}. An earlier evaluation there is replaced
    report : HTML file for a report with the worst mistakes; it is self-contained
    audio : source of the shards, a folder of audio files, for the players of the report; shards of waveforms need none
    model : "module:function" of a custom network, which is imported only if it is named here

    Raises
    ------
    RunError: the run is not finished, or its probabilities are not finite. ShardError: there are no shards, or they are
    damaged. ConfigError: run and shards do not fit, the split is empty, or robustness can't be measured. AudioError: a
    noise recording can't be read.
    """
    refuse_urls(report=report, audio=audio)
    place = str(out) if out else join(run, RunDirectory(run).evaluation_dir(split).name)
    with (
        fetched(run, *FINISHED_RUN_NAMES) as local_run,
        fetched_split(shards, split) as folder,
        uploaded(place) as files,
    ):
        subject = replace(_subject(RunDirectory(local_run), folder, split, batch_size, model), name=str(run))
        noise_paths = split_noises(subject.index, folder, split) if robustness else ()
        uncalibrated, network = _predict(subject, on_progress)
        predictions = uncalibrated.calibrated(read_calibration(subject.run.calibration_path).temperature)
        labels, digest = subject.plan.labels, subject.index.digest
        result = summarize(predictions, uncalibrated, labels, digest, _shown(run), _shown(place))
        result = replace(
            result,
            warnings=data_warnings(subject.index, predictions),
            robustness=_measure_robustness(subject, network, noise_paths, on_progress) if robustness else (),
        )
        write_files(result, predictions, files)
        if report:
            source = ClipSource(
                shards=folder, index=subject.index, features=subject.plan.features, audio=Path(audio) if audio else None
            )
            write_evaluation_report(Path(report), result, predictions, subject.plan, source)
    return result


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """A finished run, and the split that it is measured on; both are local. `name` is the location of the run, as given."""

    name: str
    run: RunDirectory
    plan: TrainPlan
    shards: Path
    index: ShardIndex
    split: str
    batch_size: int


def _subject(run: RunDirectory, shards: Path, split: str, batch_size: int, model: str | None) -> _Subject:
    """Check the settings, and that the run is finished and fits the shards; errors as `evaluate`."""
    if batch_size < 1:
        raise ConfigError(f"batch size is {batch_size}; expected 1 or more")
    plan, index = run.require_finished(model), ShardIndex.load(shards)
    check_fit(plan, index, split, run.path, shards)
    return _Subject(
        name=str(run.path), run=run, plan=plan, shards=shards, index=index, split=split, batch_size=batch_size
    )


def _shown(location: str | Path) -> str | Path:
    """Return a location as the result names it: an absolute path or a URL."""
    return normalized(str(location)) if is_url(location) else Path(location).absolute()


def _predict(subject: _Subject, on_progress: OnProgress) -> tuple[Predictions, tf_keras.Model]:
    """Compute the predictions without temperature scaling; return them and the network."""
    on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
    with requires("train", "evaluate"):
        from hybridspeech.training.trained_model import load_model

        network = load_model(subject.run, subject.plan, calibrated=False)
    classify = _counted(network.predict_on_batch, subject.index.splits[subject.split], "evaluate", on_progress)
    transform = ClipTransform(subject.index.features, subject.plan.features)
    predictions = predict_split(classify, subject.shards, subject.index, subject.split, transform, subject.batch_size)
    if not np.isfinite(predictions.probabilities).all():
        raise RunError(f"{subject.name}: the network gives probabilities that are not finite; train again")
    return predictions, network


def _measure_robustness(
    subject: _Subject, network: tf_keras.Model, noise_paths: tuple[str, ...], on_progress: OnProgress
) -> tuple[RobustnessMetrics, ...]:
    total = NUM_DISTURBANCES * subject.index.splits[subject.split]
    classify = _counted(network.predict_on_batch, total, "robustness", on_progress)
    recordings = read_recordings(subject.shards, subject.index, subject.split, subject.batch_size)
    return measure_robustness(classify, recordings, noise_paths, subject.plan.features)


def _counted(
    classify: Callable[[Any], np.ndarray], total: int, stage: str, on_progress: OnProgress
) -> Callable[[Any], np.ndarray]:
    """Return `classify` with a report of the number of clips after each batch."""
    done = 0

    def classify_and_report(batch: Any) -> np.ndarray:
        nonlocal done
        probabilities = classify(batch)
        done += len(probabilities)
        on_progress(Progress(stage=stage, done=done, total=total, unit="clips"))
        return probabilities

    return classify_and_report
