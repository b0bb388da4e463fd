"""The commands that get recordings: `data synthesize` and `data download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

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
    words: Annotated[
        Optional[Path],  # noqa: UP045 - Typer evaluates it
        option(
            "File with a word or phrase per line, and after a tab its label, if that differs.",
            INPUT,
            metavar="FILE",
            default="30 English words",
        ),
    ] = None,
    language: Annotated[
        str, option("Language of espeak-ng, e.g. de, or several with commas; en has seven accents.", INPUT)
    ] = "en",
    negatives: Annotated[
        int,
        option(
            "Number of near misses of each word: texts that sound nearly like it. They get the label _unknown_, and each "
            "a tenth of the clips of a word.",
            INPUT,
        ),
    ] = 0,
    variety: Annotated[
        Literal["similar", "varied"] | None,
        option("Spread of rate, pitch, echo and noise of the speakers.", INPUT, default="similar, with --words varied"),
    ] = None,
    clips_per_word: Annotated[int, option("Number of clips per word.", INPUT)] = 50,
    num_speakers: Annotated[
        int | None, option("Number of synthetic speakers.", INPUT, default="one per clip of a word")
    ] = None,
    clip_duration_ms: Annotated[
        int, option("Longest duration of a clip, in ms. Give the same one to preprocess.", INPUT)
    ] = 1_000,
    seed: Annotated[int, option("Random seed.", INPUT)] = 0,
    num_workers: Annotated[int | None, option("Number of processes.", INPUT, default="number of cores")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Synthesize words with eSpeak NG (extra: demo): the 30 words of Speech Commands, or your own in any of its languages."""
    from hybridspeech.commands.synthesize import synthesize
    from hybridspeech.corpora.synthesis import WORDS

    with ProgressReporter() as report:
        result = synthesize(
            out,
            words=words or WORDS,
            language=language,
            negatives=negatives,
            variety=variety,
            clips_per_word=clips_per_word,
            num_speakers=num_speakers,
            clip_duration_ms=clip_duration_ms,
            seed=seed,
            num_workers=num_workers,
            overwrite=overwrite,
            on_progress=report,
        )
    if json:
        return print_json(result)
    near = f", and {counted(len(result.negatives), 'near miss', 'near misses')}" if result.negatives else ""
    return print_text(
        f"{counted(result.num_clips, 'clip')} of {counted(result.num_words, 'word')}{near}, by "
        f"{counted(result.num_speakers, 'synthetic speaker')}, in {result.out}"
    )


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
