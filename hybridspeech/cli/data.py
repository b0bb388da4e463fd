"""The commands that get recordings: `data synthesize` and `data download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hybridspeech.cli.app import Command, data_app
from hybridspeech.cli.options import INPUT, argument, option, with_settings
from hybridspeech.cli.parameters import Json, Overwrite
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.terminal import print_fields, print_json, print_text
from hybridspeech.errors import counted

Out = Annotated[Path, argument("OUT", "Folder to create: one folder of WAV files per word.")]


@data_app.command("synthesize", cls=Command, short_help="Synthesize speech with eSpeak NG.")
@with_settings(SETTINGS)
def synthesize_command(
    out: Out,
    *,
    clips_per_word: Annotated[int, option("Number of clips per word.", INPUT)] = 50,
    num_speakers: Annotated[
        int | None, option("Number of synthetic speakers.", INPUT, default="one per clip of a word")
    ] = None,
    seed: Annotated[int, option("Random seed.", INPUT)] = 0,
    num_workers: Annotated[int | None, option("Number of processes.", INPUT, default="number of cores")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Synthesize the 30 words of Speech Commands with eSpeak NG (extra: demo)."""
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
    return print_json(result) if json else print_text(f"{counted(result.num_clips, 'clip')} in {result.out}")


@data_app.command("download", cls=Command, short_help="Download a published data set.")
@with_settings(SETTINGS)
def download_command(
    name: Annotated[
        str,
        argument(
            "NAME",
            "speech-commands-v0.01 (1.5 GB), speech-commands-v0.02 (2.4 GB) or mini-speech-commands (0.2 GB).",
        ),
    ],
    out: Out,
    *,
    url: Annotated[
        str | None, option("URL of a mirror: http, https or file.", INPUT, default="the publisher's")
    ] = None,
    sha256: Annotated[
        str | None, option("SHA-256 of the mirror's archive.", INPUT, "--sha256", default="the published one")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Download a published data set, verify its checksum and unpack it. The same command continues after a failure."""
    from hybridspeech.commands.download import download

    with ProgressReporter() as report:
        result = download(name, out, url=url, sha256=sha256, overwrite=overwrite, on_progress=report)
    if json:
        return print_json(result)
    return print_fields(
        {
            "set": f"{result.name} in {result.out}" + ("" if result.is_new else " (already complete)"),
            "clips": f"{result.num_clips:,} of {counted(result.num_words, 'word')}",
            "archive": f"{result.num_bytes / 1e6:,.1f} MB, SHA-256 {result.sha256} as expected",
            "license": result.license,
            "credit": result.credit,
        }
    )
