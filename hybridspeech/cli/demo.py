"""The command `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import Json, Overwrite, Verbose
from hybridspeech.cli.terminal import ProgressReporter, print_json, print_text


@app.command(short_help="The whole way on synthesised words.")
def demo(
    out: Annotated[Path, typer.Argument(help="Folder to make.")] = Path("demo"),
    backend: Annotated[str, typer.Option(help="tfos: Spark and TensorFlowOnSpark; ray: RayDP and Ray Train.")] = "tfos",
    seed: Annotated[int, typer.Option(help="Decides voices, shards and training.")] = 0,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """The whole way on synthesised words: voices, shards, training on two workers, evaluation, prediction."""
    from hybridspeech.commands.demo import demo

    with ProgressReporter() as report:
        result = demo(out, backend=backend, seed=seed, overwrite=overwrite, verbose=verbose, on_progress=report)
    if json:
        return print_json(result)
    return print_text(result.story())
