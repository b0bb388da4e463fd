"""The result of an evaluation: all metrics of one split, and where they are written. Knows nothing of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridspeech.evaluation.intervals import accuracy_interval, count_speakers
from hybridspeech.evaluation.metrics import (
    CalibrationMetrics,
    ClassMetrics,
    ReliabilityBin,
    SpeakerSpread,
    calibration_metrics,
    class_metrics,
    speaker_metrics,
    speaker_spread,
)
from hybridspeech.evaluation.predictions import Predictions
from hybridspeech.evaluation.robustness import RobustnessMetrics
from hybridspeech.storage.locations import is_url, join


@dataclass(frozen=True, kw_only=True)
class EvaluationFiles:
    """Paths or URLs of the files of an evaluation; `robustness` exists only if robustness was measured."""

    metrics: Path | str
    confusion_csv: Path | str
    confusion_png: Path | str
    predictions: Path | str
    speakers: Path | str
    reliability_png: Path | str
    robustness: Path | str


@dataclass(frozen=True, kw_only=True)
class EvaluateResult:
    """Accuracy with a confidence interval, per class and per speaker, and calibration, on one split.

    Ratios are 0 to 1. `accuracy_ci95` is (low, high), and `ci_method` its method (see `accuracy_interval`).
    `num_speakers` is 0 and `speaker_spread` None if the speaker of a clip is unknown. `loss` is the mean cross-entropy in
    nats. `ece` is the expected calibration error over the bins of `reliability`. These three are those after temperature
    scaling with `temperature`; `uncalibrated` has those before. `confusion[i][j]` is the number of clips
    with true label i and predicted label j. `robustness` is empty if it was not measured. `warnings` names what makes the
    accuracy misleading.
    """

    accuracy: float
    accuracy_ci95: tuple[float, float]
    ci_method: str
    labels: tuple[str, ...]
    split: str
    num_clips: int
    num_speakers: int
    speaker_spread: SpeakerSpread | None
    loss: float
    ece: float
    reliability: tuple[ReliabilityBin, ...]
    temperature: float
    uncalibrated: CalibrationMetrics
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    robustness: tuple[RobustnessMetrics, ...]
    digest: str
    run: str
    files: EvaluationFiles
    warnings: tuple[str, ...] = ()


def evaluation_files(folder: Path | str) -> EvaluationFiles:
    """Return the files of an evaluation in `folder`, a local path or a URL."""

    def place(name: str) -> Path | str:
        return join(folder, name) if is_url(folder) else Path(folder) / name

    return EvaluationFiles(
        metrics=place("metrics.json"),
        confusion_csv=place("confusion.csv"),
        confusion_png=place("confusion.png"),
        predictions=place("predictions.csv"),
        speakers=place("speakers.csv"),
        reliability_png=place("reliability.png"),
        robustness=place("robustness.csv"),
    )


def summarize(
    predictions: Predictions,
    uncalibrated: Predictions,
    labels: Sequence[str],
    digest: str,
    run: Path | str,
    folder: Path | str,
) -> EvaluateResult:
    """Compute all metrics of the predictions on a split, without robustness.

    Parameters
    ----------
    predictions, uncalibrated : with and without temperature scaling
    labels : names of the labels, in index order
    digest : digest of the shards
    run : path of the run
    folder : folder for the files of the evaluation
    """
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (predictions.truth, predictions.predicted), 1)
    speakers = predictions.voices(labels)
    interval, method = accuracy_interval(predictions.correct, speakers)
    calibrated = calibration_metrics(predictions.probabilities, predictions.truth)
    return EvaluateResult(
        accuracy=float(predictions.correct.mean()),
        accuracy_ci95=interval,
        ci_method=method,
        labels=tuple(labels),
        split=predictions.split,
        num_clips=len(predictions.truth),
        num_speakers=count_speakers(speakers),
        speaker_spread=speaker_spread(speaker_metrics(predictions.correct, speakers)),
        loss=calibrated.loss,
        ece=calibrated.ece,
        reliability=calibrated.reliability,
        temperature=predictions.temperature,
        uncalibrated=calibration_metrics(uncalibrated.probabilities, uncalibrated.truth),
        classes=class_metrics(confusion, labels),
        confusion=tuple(map(tuple, confusion.tolist())),
        robustness=(),
        digest=digest,
        run=str(run),
        files=evaluation_files(folder),
    )
