"""The verb `evaluate`: measure a finished run on one split of shards.

Makes every check that does not need TensorFlow before importing it. Knows nothing of how the run was trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.evaluation.data_warnings import data_warnings
from hybridspeech.evaluation.predictions import predict_split
from hybridspeech.evaluation.recordings import read_recordings
from hybridspeech.evaluation.reports.clips import ClipSource
from hybridspeech.evaluation.reports.evaluation_report import write_evaluation_report
from hybridspeech.evaluation.result_files import write_files
from hybridspeech.evaluation.robustness import NUM_DISTURBANCES, measure_robustness, split_noises
from hybridspeech.evaluation.shard_checks import check_fit
from hybridspeech.evaluation.summary import EvaluateResult, EvaluationFiles, summarize
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.registry import requires
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.local_copies import fetched_split
from hybridspeech.storage.copies import fetched, uploaded
from hybridspeech.storage.locations import is_url, join, normalized, refuse_urls
from hybridspeech.training.run_directory import FINISHED_RUN_NAMES, RunDirectory
from hybridspeech.training.temperature import read_calibration

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
    if batch_size < 1:
        raise ConfigError(f"batch size is {batch_size}; expected 1 or more")
    place = str(out) if out else join(run, RunDirectory(run).evaluation_dir(split).name)
    shown = normalized(place) if is_url(place) else Path(place).absolute()
    with (
        fetched(run, *FINISHED_RUN_NAMES) as local_run,
        fetched_split(shards, split) as folder,
        uploaded(place) as files,
    ):
        directory = RunDirectory(local_run)
        plan, index = directory.require_finished(model), ShardIndex.load(folder)
        check_fit(plan, index, split, directory.path, folder)
        noise_paths = split_noises(index, folder, split) if robustness else ()
        temperature = read_calibration(directory.calibration_path).temperature
        on_progress(Progress(stage="start", message="importing TensorFlow and loading the network"))
        with requires("train", "evaluate"):
            from hybridspeech.training.trained_model import load_model

            network = load_model(directory, plan, calibrated=False)
        num_clips = index.splits[split]
        classify = _counted(network.predict_on_batch, num_clips, "evaluate", on_progress)
        transform = ClipTransform(index.features, plan.features)
        uncalibrated = predict_split(classify, folder, index, split, transform, batch_size)
        if not np.isfinite(uncalibrated.probabilities).all():
            raise RunError(f"{run}: the network gives probabilities that are not finite; train again")
        predictions = uncalibrated.calibrated(temperature)
        run_shown = normalized(run) if is_url(run) else directory.path.absolute()
        metrics = summarize(predictions, uncalibrated, plan.labels, index.digest, run_shown, shown)
        metrics = replace(metrics, warnings=data_warnings(index, predictions))
        if robustness:
            recordings = read_recordings(folder, index, split, batch_size)
            classify = _counted(network.predict_on_batch, NUM_DISTURBANCES * num_clips, "robustness", on_progress)
            disturbed = measure_robustness(classify, recordings, noise_paths, plan.features)
            metrics = replace(metrics, robustness=disturbed)
        write_files(metrics, predictions, files)
        if report:
            sounds = Path(audio) if audio else None
            source = ClipSource(shards=folder, index=index, features=plan.features, audio=sounds)
            write_evaluation_report(Path(report), metrics, predictions, plan, source)
    return metrics


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
