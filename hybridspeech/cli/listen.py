"""The command `listen`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridspeech.cli.app import Command, app
from hybridspeech.cli.options import DETECTION, INPUT, OUTPUT, argument, option, with_settings
from hybridspeech.cli.parameters import CustomModel, Overwrite, Resume, Run, TableEngine
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.terminal import print_fields, print_json, print_text
from hybridspeech.config import EngineConfig
from hybridspeech.detection.config import DetectionConfig, Thresholds
from hybridspeech.errors import ConfigError, counted

if TYPE_CHECKING:
    from hybridspeech.commands.listen_table import ListenTableResult
    from hybridspeech.detection.listener import Event


@app.command("listen", cls=Command, short_help="Find words in continuous sound.")
@with_settings(SETTINGS, common=("threshold", "json", "plot", "out", "engine", "master", "overwrite", "resume"))
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
    out: Annotated[
        Path | None, option("Parquet file to create, with one row per event, instead of printing.", OUTPUT)
    ] = None,
    engine: TableEngine = "local",
    engine_config: EngineConfig,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Annotated[
        bool, option("Print one line of JSON per event; with --out, its summary.", OUTPUT, "--json")
    ] = False,
) -> None:
    """Find words in files of any length, or in live sound, and print when each was spoken.

    Exit code 1 if a file is unusable. With --out, an engine reads any number of files, and an unusable file has a row with
    its error.
    """
    scores = thresholds_of(threshold or [])
    settings = None if detection == DetectionConfig() else detection
    if out is not None:
        from hybridspeech.commands.listen_table import listen_table

        if plot is not None:
            raise ConfigError("--plot shows the events of one file; give it without --out")
        with ProgressReporter() as report:
            result = listen_table(
                run,
                files,
                out,
                thresholds=scores,
                detection=settings,
                model=model,
                engine=engine,
                engine_config=engine_config,
                overwrite=overwrite,
                resume=resume,
                on_progress=report,
            )
        return _print_table_result(result, json)
    if engine != "local" or overwrite or resume:
        raise ConfigError("--engine, --overwrite and --resume need --out; name the Parquet file to create")
    from hybridspeech.commands.listen import listen

    is_unusable = False
    with ProgressReporter() as report:
        events = listen(
            run,
            files,
            thresholds=scores,
            detection=settings,
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
    return None


def _print_table_result(result: ListenTableResult, json: bool) -> None:
    if json:
        return print_json(result)
    return print_fields(
        {
            "table": result.out,
            "events": f"{result.num_events:,}",
            "files": f"{result.num_files:,} in {counted(result.num_segments, 'segment')} ({result.num_computed:,} read now)",
            "unusable": f"{result.num_unusable:,}" + (" (see the column error)" if result.num_unusable else ""),
            "time": f"{result.startup_s:.1f} s start, {result.work_s:.1f} s work",
        }
    )


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
