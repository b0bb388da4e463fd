"""Files of an evaluation: CSV tables, plots and metrics.json. Knows nothing of networks.

predictions.csv    clip_id, speaker, label, predicted, probability (of the predicted label); one line per clip
speakers.csv       speaker, clips, accuracy; one line per speaker
confusion.csv      true labels by row, predicted labels by column, in clips
confusion.png      the same as a plot
reliability.png    reliability diagram
robustness.csv     accuracy under noise and time shifts, if measured
metrics.json       all metrics, the confusion matrix and every speaker; written last
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.evaluation.metrics import speaker_metrics
from hybridspeech.evaluation.plots import plot_confusion, plot_reliability
from hybridspeech.evaluation.predictions import Predictions
from hybridspeech.evaluation.summary import EvaluateResult, EvaluationFiles, evaluation_files
from hybridspeech.records import to_json
from hybridspeech.storage.objects import write_bytes


def write_files(metrics: EvaluateResult, predictions: Predictions, folder: Path) -> None:
    """Write all files of an evaluation into a local folder; an earlier evaluation there is replaced.

    Raises
    ------
    ConfigError: a plot can't be written.
    """
    files, labels = evaluation_files(folder), metrics.labels
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in (files.metrics, files.robustness):
        Path(earlier).unlink(missing_ok=True)
    write_bytes(str(files.predictions), _csv(*_prediction_rows(predictions, labels)))
    speakers = speaker_metrics(predictions.correct, predictions.speakers)
    rows: list[list[Any]] = [[each.speaker, each.num_clips, f"{each.accuracy:.6f}"] for each in speakers]
    write_bytes(str(files.speakers), _csv(["speaker", "clips", "accuracy"], rows))
    rows = [[label, *row] for label, row in zip(labels, metrics.confusion, strict=True)]
    write_bytes(str(files.confusion_csv), _csv(["label", *labels], rows))
    _plot(metrics, files)
    if metrics.robustness:
        write_bytes(str(files.robustness), _csv(*_robustness_rows(metrics)))
    content = {**to_json(metrics), "speakers": to_json(speakers)}
    write_bytes(str(files.metrics), json.dumps(content, indent=2) + "\n")


def _plot(metrics: EvaluateResult, files: EvaluationFiles) -> None:
    low, high = metrics.accuracy_ci95
    title = (
        f"{metrics.split}: {100 * metrics.accuracy:.1f} % of {metrics.num_clips:,} clips "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
    )
    plot_confusion(np.asarray(metrics.confusion), metrics.labels, title, Path(files.confusion_png))
    plot_reliability(
        [(each.confidence, each.accuracy, each.num_clips) for each in metrics.reliability if each.num_clips],
        f"{metrics.split}: expected calibration error {100 * metrics.ece:.1f} %",
        Path(files.reliability_png),
    )


def _prediction_rows(predictions: Predictions, labels: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    confidence = predictions.probabilities.max(axis=1)
    rows: list[list[Any]] = [
        [clip_id, speaker, labels[truth], labels[predicted], f"{probability:.6f}"]
        for clip_id, speaker, truth, predicted, probability in zip(
            predictions.clip_ids,
            predictions.speakers,
            predictions.truth,
            predictions.predicted,
            confidence,
            strict=True,
        )
    ]
    return ["clip_id", "speaker", "label", "predicted", "probability"], rows


def _robustness_rows(metrics: EvaluateResult) -> tuple[list[str], list[list[Any]]]:
    rows: list[list[Any]] = [
        [each.disturbance, each.level, each.unit, f"{each.accuracy:.6f}", *map("{:.6f}".format, each.accuracy_ci95)]
        for each in metrics.robustness
    ]
    return ["disturbance", "level", "unit", "accuracy", "ci95_low", "ci95_high"], rows


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
