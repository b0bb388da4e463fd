"""The commands on a finished run: `evaluate`, `predict` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import Json, Overwrite
from hybridspeech.cli.terminal import print_fields, print_json, print_table, print_text

if TYPE_CHECKING:
    from hybridspeech.commands.evaluate import EvaluateResult
    from hybridspeech.evaluation.exported_model import Measured


@app.command(short_help="How well it does on a split.")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished training.")],
    shards: Annotated[Path, typer.Argument(help="Shards with the same labels and features.")],
    split: Annotated[str, typer.Option(help="training, validation or testing.")] = "testing",
    batch_size: Annotated[int, typer.Option(help="Clips at a time.")] = 64,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Also under background noise and time shifts; waveform shards only.")
    ] = False,
    json: Json = False,
) -> None:
    """Accuracy with a 95 % interval, figures by class and speaker, calibration, confusion matrix (JSON, CSV, PNG)."""
    from hybridspeech.commands.evaluate import evaluate

    result = evaluate(run, shards, split=split, batch_size=batch_size, robustness=robustness)
    if json:
        return print_json(result)
    print_table(
        ("label", "precision", "recall", "f1", "clips"),
        [(c.label, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", c.num_clips) for c in result.classes],
    )
    if result.robustness:
        print_table(
            ("disturbance", "level", "accuracy", "95 % interval"),
            [
                (
                    r.disturbance,
                    f"{r.level:g} {r.unit}",
                    f"{r.accuracy:.4f}",
                    "{:.4f} to {:.4f}".format(*r.accuracy_ci95),
                )
                for r in result.robustness
            ],
        )
    spread = result.speaker_spread
    return print_fields(
        {
            "accuracy": _accuracy(result),
            "by speaker": (
                f"mean {spread.mean:.4f}, median {spread.median:.4f}, lowest tenth {spread.tenth_percentile:.4f} or less, "
                f"lowest {spread.lowest:.4f}"
                if spread
                else "unknown"
            ),
            "calibration": f"error {result.ece:.4f} (ECE), loss {result.loss:.4f} nats",
            "task": f"{len(result.labels)} labels: {', '.join(result.labels)}",
            "clips": _clips(result),
            "files": result.files.metrics.parent,
        }
    )


@app.command(short_help="Which words are in audio files.")
def predict(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished training.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.")],
    top_k: Annotated[int, typer.Option(help="Labels to name for each file.")] = 3,
    json: Json = True,
) -> None:
    """Labels of audio files, as JSON lines on stdout. Exit code 1 if a file could not be used."""
    from hybridspeech.commands.predict import predict

    failed = False
    for prediction in predict(run, files, top_k=top_k):
        print_json(prediction.line())
        failed = failed or prediction.error is not None
    if failed:
        raise typer.Exit(1)


@app.command(short_help="A model to deploy: raw audio in.")
def export(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished training.")],
    out: Annotated[Path, typer.Argument(help="Folder (savedmodel) or file (keras, tflite) to make.")],
    format: Annotated[
        str, typer.Option(help="savedmodel, keras, tflite or tflite-int8; all take raw audio.")
    ] = "savedmodel",
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="SHARDS", help="Waveform shards whose training clips tflite-int8 is fitted to."),
    ] = None,
    measure: Annotated[
        Path | None, typer.Option(metavar="SHARDS", help="Waveform shards whose testing clips the export is tried on.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """A model to deploy: raw audio in, probabilities out, with the features and the labels inside."""
    from hybridspeech.commands.export import export

    result = export(run, out, format=format, calibrate=calibrate, measure=measure, overwrite=overwrite)
    if json:
        return print_json(result)
    print_text(f"{result.format} in {result.path}, {result.num_bytes / 1e6:.2f} MB, {len(result.labels)} labels")
    if calibrate:
        print_text(f"the run's own label for {100 * result.agreement:.1f} % of the calibration clips")
    if result.measured:
        print_fields(
            {
                "accuracy": _accuracy(result.measured),
                "clips": _clips(result.measured),
                "latency": f"{result.measured.latency_ms:.2f} ms a clip, on one core",
            }
        )
    return None


def _accuracy(result: EvaluateResult | Measured) -> str:
    low, high = result.accuracy_ci95
    return f"{result.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}, {result.ci_method})"


def _clips(result: EvaluateResult | Measured) -> str:
    speakers = f"{result.num_speakers:,} speakers" if result.num_speakers else "unknown speakers"
    return f"{result.num_clips:,} of {speakers}, split {result.split}"
