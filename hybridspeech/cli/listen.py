"""The command `listen`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridspeech.cli.app import Command, app
from hybridspeech.cli.options import DETECTION, INPUT, OUTPUT, argument, option, with_settings
from hybridspeech.cli.parameters import CustomModel, Run
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.terminal import print_json, print_text
from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.errors import ConfigError

if TYPE_CHECKING:
    from hybridspeech.detection.listener import Event


@app.command("listen", cls=Command, short_help="Find words in continuous sound.")
@with_settings(SETTINGS, common=("threshold", "json", "plot"))
def listen_command(
    run: Run,
    files: Annotated[
        list[Path],
        argument("FILES", "Audio files of any length, and folders. A single dash is standard input (mono PCM 16)."),
    ],
    *,
    threshold: Annotated[
        list[str] | None,
        option(
            "Lowest score of an event, 0 to 1; or LABEL=SCORE for one label. May be repeated.",
            DETECTION,
            metavar="SCORE",
            default="that of evaluate --stream, else 0.8",
        ),
    ] = None,
    detection: DetectionConfig,
    input_rate: Annotated[int, option("Sample rate of standard input, in Hz.", INPUT)] = 16_000,
    model: CustomModel = None,
    plot: Annotated[Path | None, option("PNG file for a timeline of one file.", OUTPUT)] = None,
    json: Annotated[bool, option("Print one line of JSON per event.", OUTPUT, "--json")] = False,
) -> None:
    """Find words in files of any length, or in live sound, and print when each was spoken.

    Exit code 1 if a file is unusable.
    """
    from hybridspeech.commands.listen import listen

    is_unusable = False
    with ProgressReporter() as report:
        events = listen(
            run,
            files,
            thresholds=thresholds_of(threshold or []),
            detection=None if detection == DetectionConfig() else detection,
            pipe_rate_hz=input_rate,
            plot=plot,
            model=model,
            on_progress=report,
        )
        if not json:
            print_text(HEADER)
        for event in events:
            is_unusable |= event.error is not None
            _print_event(event, json)
    if is_unusable:
        raise typer.Exit(1)


HEADER = f"{'start_s':>10}  {'end_s':>10}  {'score':>5}  {'label':<12}  file"


def _print_event(event: Event, json: bool) -> None:
    """Print an event when it is known: a table whose columns have a fixed width."""
    if json:
        print_json(event.line())
    elif event.error is not None:
        sys.stderr.write(f"unusable: {event.file}: {event.error}\n")
    else:
        print_text(f"{event.start_s:10.2f}  {event.end_s:10.2f}  {event.score:5.3f}  {event.label:<12}  {event.file}")
        sys.stdout.flush()


def thresholds_of(given: Sequence[str]) -> Thresholds | None:
    """Return thresholds from SCORE and LABEL=SCORE items; None if there is none.

    Raises
    ------
    ConfigError: an item is no score.
    """
    scores: dict[str, float] = {}
    for item in given:
        label, separator, score = item.rpartition("=")
        try:
            if separator and not label:
                raise ValueError
            scores[label] = float(score)
        except ValueError:
            raise ConfigError(f"threshold {item!r}: expected SCORE or LABEL=SCORE, such as 0.8 or yes=0.7") from None
    if not scores:
        return None
    default = {"default": scores.pop("")} if "" in scores else {}
    return Thresholds(**default, labels=scores)
