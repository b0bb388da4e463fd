"""The verb `evaluate`: how well a run does on one split of shards.

    RUN/evaluation-{split}/
      predictions.csv    one line a clip: clip_id, speaker, label, predicted, probability (of the predicted label)
      confusion.csv      true labels down, predicted labels across, in clips
      confusion.png      the same as a picture
      metrics.json       all numbers, the confusion matrix too; written last

Checks all it can before TensorFlow is imported. Knows nothing of how the run was trained.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.config import TrainPlan, to_json
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.inputs import ClipTransform
from hybridspeech.plots import plot_confusion
from hybridspeech.registry import requires
from hybridspeech.runs import RunDirectory, write_atomically
from hybridspeech.shards import ShardIndex

NUM_RESAMPLES = 2000
Z_95 = 1.959964
SMALLEST_PROBABILITY = 1e-7
"""As Keras clips probabilities before their logarithm."""


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One label. A ratio whose denominator is 0 is 0; `num_clips` are the clips that truly have this label."""

    label: str
    precision: float
    recall: float
    f1: float
    num_clips: int


@dataclass(frozen=True, kw_only=True)
class EvaluationFiles:
    """Paths of what an evaluation leaves in its folder."""

    metrics: Path
    confusion_csv: Path
    confusion_png: Path
    predictions: Path


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What `evaluate` found. Ratios are in 0..1; `loss` is the mean cross-entropy in nats.

    `accuracy_ci95` is (low, high). `ci_method` says how: "bootstrap-speakers" resamples whole speakers, since the clips
    of one speaker are right or wrong together; "wilson" takes clips as independent, where speakers are unknown, or all
    clips are right or all wrong. `num_speakers` 0: unknown. `confusion[i][j]` counts clips of label i called j.
    """

    accuracy: float
    accuracy_ci95: tuple[float, float]
    ci_method: str
    num_clips: int
    num_speakers: int
    loss: float
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    split: str
    digest: str
    run: str
    files: EvaluationFiles


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """A split, clip by clip: probabilities float32 [shape=(num_clips, num_labels)], truth int [shape=(num_clips,)]."""

    probabilities: np.ndarray
    truth: np.ndarray
    clip_ids: Sequence[str]
    speakers: Sequence[str]

    @property
    def predicted(self) -> np.ndarray:
        return np.asarray(self.probabilities.argmax(axis=1))


def evaluation_files(folder: Path) -> EvaluationFiles:
    """Where an evaluation in `folder` puts what; the one place that knows these names."""
    return EvaluationFiles(
        metrics=folder / "metrics.json",
        confusion_csv=folder / "confusion.csv",
        confusion_png=folder / "confusion.png",
        predictions=folder / "predictions.csv",
    )


def evaluate(
    run: str | Path,
    shards: str | Path,
    *,
    split: str = "testing",
    batch_size: int = 64,
    out: str | Path | None = None,
) -> Metrics:
    """Measure a finished run on every clip of one split.

    Parameters
    ----------
    run : folder that `train` has written
    shards : folder that `preprocess` has written, with the labels and features of the run
    out : folder for the files; None: RUN/evaluation-{split}. An earlier evaluation there is replaced

    Raises
    ------
    RunError: the run is not finished. ShardError: no shards, or damaged ones. ConfigError: run and shards do not
    fit, or the split is empty.
    """
    directory = RunDirectory(run)
    plan = directory.require_finished()
    index = ShardIndex.load(shards)
    _check_fit(plan, index, split, directory.path, Path(shards))
    if batch_size < 1:
        raise ConfigError(f"batch size is {batch_size}; expected 1 or more")
    answers = _answer(directory, plan, Path(shards), index, split, batch_size)
    folder = Path(out) if out else directory.path / f"evaluation-{split}"
    metrics = _measure(answers, plan, index, split, folder.absolute(), directory.path.absolute())
    _write(metrics, answers)
    return metrics


def _check_fit(plan: TrainPlan, index: ShardIndex, split: str, run: Path, shards: Path) -> None:
    """Raises ConfigError where a run can't be measured on these shards."""
    missing = sorted(set(plan.labels) - set(index.labels))
    unknown = sorted(set(index.labels) - set(plan.labels))
    if tuple(plan.labels) != tuple(index.labels):
        raise ConfigError(
            f"{run} and {shards} have other labels: only the run has {', '.join(missing) or 'none'}; only the shards "
            f"have {', '.join(unknown) or 'none'}; preprocess a source with the words that the run was trained on"
        )
    stored = index.features
    rate_hz, duration_ms = stored.sample_rate_hz, stored.clip_duration_ms
    seen = replace(plan.features, sample_rate_hz=rate_hz, clip_duration_ms=duration_ms)
    seen = seen if stored.kind == "waveform" else stored
    ours, theirs = (to_json(replace(features, kernel="fast")) for features in (plan.features, seen))
    if ours != theirs:
        changed = ", ".join(f"{name} {ours[name]} / {theirs[name]}" for name in ours if ours[name] != theirs[name])
        raise ConfigError(
            f"{run} and {shards} have other features (run / shards): {changed}; preprocess with the settings of the run"
        )
    counts = {name: sum(info.num_examples for info in index.of_split(name)) for name in index.splits}
    if not counts.get(split):
        filled = ", ".join(name for name, count in counts.items() if count)
        raise ConfigError(f"{shards}: split {split!r} has no clips; choose one of {filled}")


def _answer(
    run: RunDirectory, plan: TrainPlan, shards: Path, index: ShardIndex, split: str, batch_size: int
) -> _Answers:
    with requires("train", "evaluate"):
        from hybridspeech.dataset import evaluation_dataset
        from hybridspeech.model import load_model

        model = load_model(run)
        probabilities, truth, clip_ids, speakers = [], [], [], []
        transform = ClipTransform(index.features, plan.features)
        for spectrogram, label, clip_id, speaker in evaluation_dataset(shards, index, split, batch_size, transform):
            probabilities.append(model.predict_on_batch(spectrogram))
            truth.append(label.numpy())
            clip_ids += [name.decode(errors="replace") for name in clip_id.numpy()]
            speakers += [name.decode(errors="replace") for name in speaker.numpy()]
    answers = _Answers(
        probabilities=np.concatenate(probabilities), truth=np.concatenate(truth), clip_ids=clip_ids, speakers=speakers
    )
    if not np.isfinite(answers.probabilities).all():
        raise RunError(f"{run.path}: the network gives probabilities that are not finite; train again")
    return answers


def _measure(answers: _Answers, plan: TrainPlan, index: ShardIndex, split: str, folder: Path, run: Path) -> Metrics:
    num_labels = len(plan.labels)
    confusion = np.zeros((num_labels, num_labels), dtype=np.int64)
    np.add.at(confusion, (answers.truth, answers.predicted), 1)
    right = answers.predicted == answers.truth
    interval, method = accuracy_interval(right, answers.speakers)
    of_truth = answers.probabilities[np.arange(len(right)), answers.truth]
    return Metrics(
        accuracy=float(right.mean()),
        accuracy_ci95=interval,
        ci_method=method,
        num_clips=len(right),
        num_speakers=len(set(answers.speakers)) if all(answers.speakers) else 0,
        loss=float(-np.log(np.maximum(of_truth.astype(np.float64), SMALLEST_PROBABILITY)).mean()),
        classes=class_metrics(confusion, plan.labels),
        confusion=tuple(map(tuple, confusion.tolist())),
        split=split,
        digest=index.digest,
        run=str(run),
        files=evaluation_files(folder),
    )


def class_metrics(confusion: np.ndarray, labels: Sequence[str]) -> tuple[ClassMetrics, ...]:
    """Precision, recall and F1 of every label of a confusion matrix, int [shape=(num_labels, num_labels)]."""
    hits, true, called = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        ClassMetrics(
            label=label,
            precision=float(hits[i] / max(called[i], 1)),
            recall=float(hits[i] / max(true[i], 1)),
            f1=float(2 * hits[i] / max(true[i] + called[i], 1)),
            num_clips=int(true[i]),
        )
        for i, label in enumerate(labels)
    )


def accuracy_interval(
    right: np.ndarray, speakers: Sequence[str], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> tuple[tuple[float, float], str]:
    """95 % interval of an accuracy, and the name of the method (see Metrics).

    Parameters
    ----------
    right : bool [shape=(num_clips,)], whether each clip was recognised
    speakers : who spoke each clip; '' if unknown
    """
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 2 or "" in names or right.all() or not right.any():
        return wilson_interval(int(right.sum()), len(right)), "wilson"
    clips_of, right_of = np.bincount(speaker), np.bincount(speaker, weights=right)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)
    low, high = np.quantile((drawn @ right_of) / (drawn @ clips_of), [0.025, 0.975])
    return (float(low), float(high)), "bootstrap-speakers"


def wilson_interval(num_right: int, num_clips: int) -> tuple[float, float]:
    """95 % interval of a proportion; source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), p. 209."""
    share, weight = num_right / num_clips, Z_95**2 / num_clips
    centre = share + weight / 2
    spread = math.sqrt(share * (1 - share) * weight + weight**2 / 4)
    low, high = (centre - spread) / (1 + weight), (centre + spread) / (1 + weight)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # rounding must not put the share itself outside


def _write(metrics: Metrics, answers: _Answers) -> None:
    files, labels = metrics.files, [record.label for record in metrics.classes]
    files.metrics.parent.mkdir(parents=True, exist_ok=True)
    files.metrics.unlink(missing_ok=True)
    certainty = answers.probabilities.max(axis=1)
    write_atomically(
        files.predictions,
        _csv(
            ["clip_id", "speaker", "label", "predicted", "probability"],
            [
                [clip_id, speaker, labels[truth], labels[predicted], f"{probability:.6f}"]
                for clip_id, speaker, truth, predicted, probability in zip(
                    answers.clip_ids, answers.speakers, answers.truth, answers.predicted, certainty, strict=True
                )
            ],
        ),
    )
    rows = [[label, *row] for label, row in zip(labels, metrics.confusion, strict=True)]
    write_atomically(files.confusion_csv, _csv(["label", *labels], rows))
    plot_confusion(np.asarray(metrics.confusion), labels, _title(metrics), files.confusion_png)
    write_atomically(files.metrics, json.dumps(to_json(metrics), indent=2) + "\n")


def _csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _title(metrics: Metrics) -> str:
    low, high = metrics.accuracy_ci95
    return (
        f"{metrics.split}: {100 * metrics.accuracy:.1f} % of {metrics.num_clips:,} clips "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
    )
