"""The commands that get a set of recorded words: `data synthesize` and `data download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import data_app
from hybridspeech.cli.options import Json, Overwrite
from hybridspeech.cli.terminal import ProgressReporter, print_fields, print_json, print_text


@data_app.command("synthesize", short_help="Words spoken by espeak-ng voices.")
def synthesize_command(
    out: Annotated[Path, typer.Argument(help="Folder to make: one folder of WAV files per word.")],
    clips_per_word: Annotated[int, typer.Option(help="Clips of each of the 30 words.")] = 50,
    num_speakers: Annotated[int | None, typer.Option(help="Voices.  [default: one a clip of a word]")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    num_workers: Annotated[int | None, typer.Option(help="Processes.  [default: cores]")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Speak the 30 words of Speech Commands with espeak-ng voices (extra: demo)."""
    from hybridspeech.commands.synthesize import synthesize

    with ProgressReporter() as report:
        result = synthesize(
            out,
            clips_per_word=clips_per_word,
            num_speakers=num_speakers,
            seed=seed,
            num_workers=num_workers,
            overwrite=overwrite,
            on_progress=report,
        )
    return print_json(result) if json else print_text(f"{result.num_clips:,} clips in {result.out}")


@data_app.command("download", short_help="A published set, checked and unpacked.")
def download_command(
    name: Annotated[
        str,
        typer.Argument(
            help="speech-commands-v0.01 (1.5 GB), speech-commands-v0.02 (2.4 GB) or mini-speech-commands (0.2 GB)."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make: one folder of WAV files per word.")],
    url: Annotated[
        str | None, typer.Option(help="A mirror: http, https or file.  [default: the publisher's address]")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Of the mirror's archive.  [default: the published one]")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Fetch a published set of recorded words, check and unpack it; the same command goes on after a failure."""
    from hybridspeech.commands.download import download

    with ProgressReporter() as report:
        result = download(name, out, url=url, sha256=sha256, overwrite=overwrite, on_progress=report)
    if json:
        return print_json(result)
    return print_fields(
        {
            "set": f"{result.name} in {result.out}" + ("" if result.is_new else " (was there already)"),
            "clips": f"{result.num_clips:,} of {result.num_words} words",
            "archive": f"{result.num_bytes / 1e6:,.1f} MB, SHA-256 {result.sha256} as expected",
            "license": result.license,
            "credit": result.credit,
        }
    )
