"""The command `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from hybridspeech.cli.app import Command, app
from hybridspeech.cli.options import CLUSTER, OPTIMIZATION, OUTPUT, argument, option, with_settings
from hybridspeech.cli.parameters import Json, Overwrite
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.terminal import print_fields, print_json, print_table


@app.command("demo", cls=Command, short_help="Run all steps on synthetic speech.")
@with_settings(SETTINGS)
def demo_command(
    out: Annotated[Path, argument("OUT", "Folder to create.")] = Path("demo"),
    *,
    backend: Annotated[
        Literal["tfos", "ray", "local"],
        option("Spark and TensorFlowOnSpark, Spark on Ray and Ray Train, or this machine's processes.", CLUSTER),
    ] = "tfos",
    seed: Annotated[int, option("Seed of the speech, the shards and the training.", OPTIMIZATION)] = 0,
    overwrite: Overwrite = False,
    verbose: Annotated[bool, option("Show the logs of Spark, Ray and TensorFlow.", OUTPUT, "-v", "--verbose")] = False,
    json: Json = False,
) -> None:
    """Synthesize speech, preprocess it, train on two workers, evaluate, export, predict and listen."""
    from hybridspeech.commands.demo import demo

    with ProgressReporter() as report:
        result = demo(out, backend=backend, seed=seed, overwrite=overwrite, verbose=verbose, on_progress=report)
    if json:
        return print_json(result)
    print_fields(result.facts())
    print_table(*result.table())
    return print_table(*result.timeline())
