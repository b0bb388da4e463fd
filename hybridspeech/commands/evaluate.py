"""The verb `evaluate`: how well a run does on one split of shards.

    RUN/evaluation-{split}/
      predictions.csv    one line a clip: clip_id, speaker, label, predicted, probability (of the predicted label)
      speakers.csv       one line a speaker: speaker, clips, accuracy
      confusion.csv      true labels down, predicted labels across, in clips
      confusion.png      the same as a picture
      reliability.png    how often the network is right when it is so sure
      robustness.csv     with robustness: accuracy under noise and shifts
      metrics.json       all numbers, the confusion matrix and every speaker too; written last

Checks all it can before TensorFlow is imported. Knows nothing of how the run was trained.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridspeech.config import to_json
from hybridspeech.errors import ConfigError, RunError
from hybridspeech.evaluation.metrics import (
    ClassMetrics,
    ReliabilityBin,
    SpeakerSpread,
    accuracy_interval,
    class_metrics,
    expected_calibration_error,
    reliability,
    speaker_metrics,
    speaker_spread,
)
from hybridspeech.evaluation.plots import plot_confusion, plot_reliability
from hybridspeech.evaluation.robustness import RobustnessMetrics, measure_robustness, split_noises
from hybridspeech.evaluation.shard_checks import check_fit, read_sounds
from hybridspeech.features.clip_transform import ClipTransform
from hybridspeech.registry import requires
from hybridspeech.shards.index import ShardIndex
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.storage.small_files import write_atomically
from hybridspeech.training.plan import TrainPlan
from hybridspeech.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import tf_keras

SMALLEST_PROBABILITY = 1e-7
"""As Keras clips probabilities before their logarithm."""


@dataclass(frozen=True, kw_only=True)
class EvaluationFiles:
    """Paths of what an evaluation leaves in its folder; `robustness` is there if it was asked for."""

    metrics: Path
    confusion_csv: Path
    confusion_png: Path
    predictions: Path
    speakers: Path
    reliability_png: Path
    robustness: Path


@dataclass(frozen=True, kw_only=True)
class EvaluateResult:
    """What `evaluate` found. Ratios are in 0..1; `loss` is the mean cross-entropy (negative log-likelihood) in nats.

    `labels` are the task. `accuracy_ci95` is (low, high). `ci_method` says how: "bootstrap-speakers" resamples whole speakers,
    since the clips of one speaker are right or wrong together; "wilson" takes clips as independent, where speakers are
    unknown, or all clips are right or all wrong. `num_speakers` 0 and `speaker_spread` None: unknown. `ece` is the expected
    calibration error over the bins of `reliability`. `confusion[i][j]` counts clips of label i called j. `robustness` is empty
    if it was not asked for.
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
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    robustness: tuple[RobustnessMetrics, ...]
    digest: str
    run: str
    files: EvaluationFiles


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """A split, clip by clip: probabilities float32 [shape=(num_clips, num_labels)], truth int [shape=(num_clips,)]."""

    split: str
    probabilities: np.ndarray
    truth: np.ndarray
    clip_ids: Sequence[str]
    speakers: Sequence[str]

    @property
    def predicted(self) -> np.ndarray:
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def right(self) -> np.ndarray:
        return np.asarray(self.predicted == self.truth)


def evaluation_files(folder: Path) -> EvaluationFiles:
    """Where an evaluation in `folder` puts what; the one place that knows these names."""
    return EvaluationFiles(
        metrics=folder / "metrics.json",
        confusion_csv=folder / "confusion.csv",
        confusion_png=folder / "confusion.png",
        predictions=folder / "predictions.csv",
        speakers=folder / "speakers.csv",
        reliability_png=folder / "reliability.png",
        robustness=folder / "robustness.csv",
    )


def evaluate(
    run: str | Path,
    shards: str | Path,
    *,
    split: str = "testing",
    batch_size: int = 64,
    robustness: bool = False,
    out: str | Path | None = None,
) -> EvaluateResult:
    """Measure a finished run on every clip of one split.

    Parameters
    ----------
    run : folder that `train` has written
    shards : folder that `preprocess` has written, with the labels and features of the run
    robustness : also under background noise of the split and under shifts in time (see RobustnessMetrics); shards of
        waveforms only. Takes as long as nine more evaluations
    out : folder for the files; None: RUN/evaluation-{split}. An earlier evaluation there is replaced

    Raises
    ------
    RunError: the run is not finished. ShardError: no shards, or damaged ones. ConfigError: run and shards do not
    fit, the split is empty, or its robustness can't be measured. AudioError: a recording of noise can't be read.
    """
    refuse_urls(RUN=run, SHARDS=shards, out=out)
    directory, folder = RunDirectory(run), Path(shards)
    plan = directory.require_finished()
    index = ShardIndex.load(folder)
    check_fit(plan, index, split, directory.path, folder)
    if batch_size < 1:
        raise ConfigError(f"batch size is {batch_size}; expected 1 or more")
    noise_paths = split_noises(index, folder, split) if robustness else ()
    with requires("train", "evaluate"):
        from hybridspeech.training.trained_model import load_model

        model = load_model(directory)
    answers = _answer(model, plan, folder, index, split, batch_size)
    if not np.isfinite(answers.probabilities).all():
        raise RunError(f"{run}: the network gives probabilities that are not finite; train again")
    target = Path(out) if out else directory.evaluation_dir(split)
    metrics = _measure(answers, plan.labels, index.digest, directory.path.absolute(), target.absolute())
    if robustness:
        sounds = read_sounds(folder, index, split, batch_size)
        disturbed = measure_robustness(model.predict_on_batch, sounds, noise_paths, plan.features)
        metrics = replace(metrics, robustness=disturbed)
    _write(metrics, answers)
    return metrics


def _answer(
    model: tf_keras.Model, plan: TrainPlan, shards: Path, index: ShardIndex, split: str, batch_size: int
) -> _Answers:
    from hybridspeech.training.dataset import evaluation_dataset

    probabilities, truth, clip_ids, speakers = [], [], [], []
    transform = ClipTransform(index.features, plan.features)
    for spectrogram, label, clip_id, speaker in evaluation_dataset(shards, index, split, batch_size, transform):
        probabilities.append(model.predict_on_batch(spectrogram))
        truth.append(label.numpy())
        clip_ids += [name.decode(errors="replace") for name in clip_id.numpy()]
        speakers += [name.decode(errors="replace") for name in speaker.numpy()]
    return _Answers(
        split=split,
        probabilities=np.concatenate(probabilities),
        truth=np.concatenate(truth),
        clip_ids=clip_ids,
        speakers=speakers,
    )


def _measure(answers: _Answers, labels: Sequence[str], digest: str, run: Path, folder: Path) -> EvaluateResult:
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (answers.truth, answers.predicted), 1)
    interval, method = accuracy_interval(answers.right, answers.speakers)
    of_truth = answers.probabilities[np.arange(len(answers.truth)), answers.truth]
    bins = reliability(answers.probabilities.max(axis=1), answers.right)
    return EvaluateResult(
        accuracy=float(answers.right.mean()),
        accuracy_ci95=interval,
        ci_method=method,
        labels=tuple(labels),
        split=answers.split,
        num_clips=len(answers.truth),
        num_speakers=len(set(answers.speakers)) if all(answers.speakers) else 0,
        speaker_spread=speaker_spread(speaker_metrics(answers.right, answers.speakers)),
        loss=float(-np.log(np.maximum(of_truth.astype(np.float64), SMALLEST_PROBABILITY)).mean()),
        ece=expected_calibration_error(bins),
        reliability=bins,
        classes=class_metrics(confusion, labels),
        confusion=tuple(map(tuple, confusion.tolist())),
        robustness=(),
        digest=digest,
        run=str(run),
        files=evaluation_files(folder),
    )


def _write(metrics: EvaluateResult, answers: _Answers) -> None:
    files, labels = metrics.files, metrics.labels
    files.metrics.parent.mkdir(parents=True, exist_ok=True)
    for earlier in (files.metrics, files.robustness):
        earlier.unlink(missing_ok=True)
    write_atomically(files.predictions, _csv(*_predictions(answers, labels)))
    speakers = speaker_metrics(answers.right, answers.speakers)
    rows: list[list[Any]] = [[each.speaker, each.num_clips, f"{each.accuracy:.6f}"] for each in speakers]
    write_atomically(files.speakers, _csv(["speaker", "clips", "accuracy"], rows))
    rows = [[label, *row] for label, row in zip(labels, metrics.confusion, strict=True)]
    write_atomically(files.confusion_csv, _csv(["label", *labels], rows))
    plot_confusion(np.asarray(metrics.confusion), labels, _title(metrics), files.confusion_png)
    filled = [each for each in metrics.reliability if each.num_clips]
    plot_reliability(
        [(each.confidence, each.accuracy, each.num_clips) for each in filled],
        f"{metrics.split}: expected calibration error {100 * metrics.ece:.1f} %",
        files.reliability_png,
    )
    if metrics.robustness:
        rows = [
            [each.disturbance, each.level, each.unit, f"{each.accuracy:.6f}", *map("{:.6f}".format, each.accuracy_ci95)]
            for each in metrics.robustness
        ]
        write_atomically(
            files.robustness, _csv(["disturbance", "level", "unit", "accuracy", "ci95_low", "ci95_high"], rows)
        )
    content = {**to_json(metrics), "speakers": to_json(speakers)}
    write_atomically(files.metrics, json.dumps(content, indent=2) + "\n")


def _predictions(answers: _Answers, labels: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """The head and the rows of predictions.csv."""
    certainty = answers.probabilities.max(axis=1)
    rows: list[list[Any]] = [
        [clip_id, speaker, labels[truth], labels[predicted], f"{probability:.6f}"]
        for clip_id, speaker, truth, predicted, probability in zip(
            answers.clip_ids, answers.speakers, answers.truth, answers.predicted, certainty, strict=True
        )
    ]
    return ["clip_id", "speaker", "label", "predicted", "probability"], rows


def _csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _title(metrics: EvaluateResult) -> str:
    low, high = metrics.accuracy_ci95
    return (
        f"{metrics.split}: {100 * metrics.accuracy:.1f} % of {metrics.num_clips:,} clips "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f})"
    )
