"""The report of an evaluation as one HTML page: accuracy, confusions, speakers, calibration, noise, worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hybridspeech.evaluation.metrics import SpeakerMetrics, speaker_metrics
from hybridspeech.evaluation.predictions import Predictions
from hybridspeech.evaluation.reports.charts import Series, line_chart
from hybridspeech.evaluation.reports.clips import ClipSource, clip_card, clip_grid, read_positions
from hybridspeech.evaluation.reports.page import (
    Html,
    element,
    facts,
    joined,
    listed,
    percent,
    section,
    table,
    warning_list,
    write_page,
)
from hybridspeech.evaluation.summary import EvaluateResult
from hybridspeech.records import to_json
from hybridspeech.training.plan import TrainPlan

NUM_MISTAKES = 20
NUM_SPEAKERS = 20
"""Speakers with the lowest accuracy that are shown before the others."""


def write_evaluation_report(
    path: Path, result: EvaluateResult, predictions: Predictions, plan: TrainPlan, source: ClipSource
) -> None:
    """Write the report of an evaluation.

    Parameters
    ----------
    path : HTML file to write
    predictions : those of the result, with temperature scaling
    plan : plan of the run
    source : the evaluated clips

    Raises
    ------
    ConfigError: the file can't be written. ShardError: a shard is damaged.
    """
    write_page(
        path,
        f"{plan.model.name}, {result.split}: {percent(result.accuracy)}",
        _head(result, plan),
        warning_list(result.warnings),
        section("Confusion matrix", _confusion(result)),
        section("Labels", _classes(result)),
        section("Speakers", *_speakers(predictions, result.labels)),
        section("Calibration", *_calibration(result)),
        section("Background noise and time shifts", *_robustness(result)) if result.robustness else None,
        section("Worst mistakes", *_mistakes(predictions, result.labels, source)),
        section("Settings", _settings(result, plan)),
    )


def _head(result: EvaluateResult, plan: TrainPlan) -> Html:
    low, high = result.accuracy_ci95
    speakers = f"{result.num_speakers:,} speakers" if result.num_speakers else "unknown speakers"
    headline = element(
        "div",
        element("strong", percent(result.accuracy)),
        element("span", f"95 % interval {100 * low:.1f} to {100 * high:.1f} % ({result.ci_method})"),
        element("span", f"{result.num_clips:,} clips of {speakers}", class_="muted"),
        class_="headline",
    )
    title = element("h1", f"Accuracy of {plan.model.name} on the {result.split} split")
    return element("header", title, headline)


def _confusion(result: EvaluateResult) -> Html:
    counts = np.array(result.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = []
    for label, row, of_label in zip(result.labels, counts.tolist(), shares.tolist(), strict=True):
        cells = [
            element("td", count or "", style=f"--share:{share:.3f}", class_="strong" if share > 0.5 else None)
            for count, share in zip(row, of_label, strict=True)
        ]
        rows.append(element("tr", element("th", label, scope="row"), *cells))
    names = [element("th", element("span", label), scope="col") for label in result.labels]
    head = element("thead", element("tr", element("th", "true / predicted", scope="col"), *names))
    whole = element("table", head, element("tbody", *rows), class_="confusion")
    note = element("p", "Clips by true label (row) and predicted label (column); the shade is the share of the row.")
    return joined(note, element("div", whole, class_="scroll", tabindex=0))


def _classes(result: EvaluateResult) -> Html:
    rows = [
        (each.label, f"{each.num_clips:,}", *map(percent, (each.precision, each.recall, each.f1)))
        for each in result.classes
    ]
    return table(("label", "clips", "precision", "recall", "F1"), rows)


def _speakers(predictions: Predictions, labels: Sequence[str]) -> list[Html]:
    records = sorted(
        speaker_metrics(predictions.correct, predictions.voices(labels)), key=lambda each: (each.accuracy, each.speaker)
    )
    parts = [_speaker_table(records[:NUM_SPEAKERS])]
    if rest := records[NUM_SPEAKERS:]:
        summary = element("summary", f"{len(rest):,} speakers with a higher accuracy")
        parts.append(element("details", summary, _speaker_table(rest)))
    return parts


def _speaker_table(records: Sequence[SpeakerMetrics]) -> Html:
    rows = [(each.speaker or "(unknown)", f"{each.num_clips:,}", percent(each.accuracy)) for each in records]
    return table(("speaker", "clips", "accuracy"), rows)


def _calibration(result: EvaluateResult) -> list[Html]:
    before, after = result.uncalibrated, result
    series = [
        Series(
            points=[(each.confidence, each.accuracy) for each in bins if each.num_clips],
            weights=[each.num_clips for each in bins if each.num_clips],
            style=style,
        )
        for bins, style in ((before.reliability, "before"), (after.reliability, "after"))
    ]
    ticks = [(share, f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)]
    chart = line_chart(series, ticks, ("highest probability", "accuracy"), diagonal=True)
    rows = [
        ("before temperature scaling (grey)", percent(before.ece), f"{before.loss:.4f} nats"),
        (f"with temperature {result.temperature:g} (blue)", percent(after.ece), f"{after.loss:.4f} nats"),
    ]
    numbers = table(("", "calibration error (ECE)", "cross-entropy"), rows)
    note = element(
        "p",
        "Accuracy of the clips whose highest probability is in the same of 15 bins. The area of a dot is the number of "
        "clips; on the diagonal, probability and accuracy agree.",
    )
    return [note, element("div", element("figure", chart), numbers, class_="charts")]


def _robustness(result: EvaluateResult) -> list[Html]:
    rows = [
        (
            f"{each.disturbance} {each.level:g} {each.unit}",
            percent(each.accuracy),
            f"{100 * each.accuracy_ci95[0]:.1f} to {100 * each.accuracy_ci95[1]:.1f} %",
        )
        for each in result.robustness
    ]
    noise = [each for each in result.robustness if each.disturbance == "noise"]
    positions = np.linspace(0, 1, len(noise) + 1).tolist()
    series = Series(
        points=list(zip(positions, [result.accuracy, *(each.accuracy for each in noise)], strict=True)),
        bars=[result.accuracy_ci95, *(each.accuracy_ci95 for each in noise)],
        style="after",
    )
    ticks = list(zip(positions, ["clean", *(f"{each.level:g} dB" for each in noise)], strict=True))
    chart = line_chart([series], ticks, ("signal-to-noise ratio", "accuracy"))
    numbers = table(("disturbance", "accuracy", "95 % interval"), rows)
    return [element("div", element("figure", chart), numbers, class_="charts")]


def _mistakes(predictions: Predictions, labels: Sequence[str], source: ClipSource) -> list[Html]:
    wrong = np.flatnonzero(~predictions.correct)
    confidence = predictions.probabilities.max(axis=1)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:NUM_MISTAKES].tolist()
    if not worst:
        return [element("p", "Every clip has the right label.")]
    examples = read_positions(source, predictions.split, worst)
    cards = []
    for position in worst:
        truth, predicted = int(predictions.truth[position]), int(predictions.predicted[position])
        probabilities = predictions.probabilities[position]
        cards.append(
            clip_card(
                source,
                examples[position],
                joined(element("strong", labels[predicted]), f" predicted, {percent(probabilities[predicted])}"),
                joined(element("strong", labels[truth]), f" is the true label, {percent(probabilities[truth])}"),
                element("span", predictions.clip_ids[position], class_="muted"),
            )
        )
    note = f"{len(worst)} of {len(wrong):,} wrong clips, those with the highest probability of the wrong label first."
    return [element("p", note), clip_grid(cards)]


def _settings(result: EvaluateResult, plan: TrainPlan) -> Html:
    return facts(
        [
            ("run", result.run),
            ("network", listed(to_json(plan.model))),
            ("features", listed(to_json(plan.features))),
            ("training", listed(to_json(plan.fit))),
            ("workers", f"{plan.cluster.num_workers} on {plan.backend}"),
            ("trained on shards", plan.digest or "unknown"),
            ("evaluated on shards", result.digest),
            ("versions", listed(plan.versions)),
        ]
    )
