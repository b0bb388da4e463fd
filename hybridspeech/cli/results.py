"""The commands on a finished run: `evaluate`, `predict` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import Json, Overwrite
from hybridspeech.terminal import print_fields, print_json, print_table, print_text


@app.command(short_help="How well it does on a split.")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished training.")],
    shards: Annotated[Path, typer.Argument(help="Shards with the same labels and features.")],
    split: Annotated[str, typer.Option(help="training, validation or testing.")] = "testing",
    batch_size: Annotated[int, typer.Option(help="Clips at a time.")] = 64,
    json: Json = False,
) -> None:
    """Accuracy with a 95 % interval, per-class figures, confusion matrix (JSON, CSV, PNG)."""
    from hybridspeech.evaluate import evaluate

    result = evaluate(run, shards, split=split, batch_size=batch_size)
    if json:
        return print_json(result)
    print_table(
        ("label", "precision", "recall", "f1", "clips"),
        [(c.label, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", c.num_clips) for c in result.classes],
    )
    low, high = result.accuracy_ci95
    return print_fields(
        {
            "accuracy": f"{result.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}, {result.ci_method})",
            "loss": f"{result.loss:.4f}",
            "clips": f"{result.num_clips:,} of split {result.split}",
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
    from hybridspeech.predict import predict

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
    format: Annotated[str, typer.Option(help="savedmodel, keras or tflite; all take raw audio.")] = "savedmodel",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """A model to deploy: raw audio in, probabilities out, with the features and the labels inside."""
    from hybridspeech.export import export

    result = export(run, out, format=format, overwrite=overwrite)
    if json:
        return print_json(result)
    return print_text(f"{result.format} in {result.path}, {result.num_bytes / 1e6:.1f} MB, {len(result.labels)} labels")
