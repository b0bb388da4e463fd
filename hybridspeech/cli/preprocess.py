"""The commands on shards: `preprocess` and `inspect`."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from hybridspeech.cli.app import Command, app
from hybridspeech.cli.options import AUGMENTATION, CLUSTER, INPUT, OUTPUT, argument, option, with_settings
from hybridspeech.cli.parameters import Audio, Json, MaxRejects, Overwrite, Report, Resume, Shards, Source
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.terminal import print_fields, print_json, print_table, print_warning
from hybridspeech.config import WHILE_TRAINING, AugmentConfig, EngineConfig, FeatureConfig
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.config import ShardConfig


@app.command("preprocess", cls=Command, short_help="Compute features of recordings and write shards.")
@with_settings(
    SETTINGS,
    common=("engine", "features", "task", "split", "augment_copies", "shards", "master", "seed", "overwrite", "resume"),
    omit=WHILE_TRAINING,
)
def preprocess_command(
    source: Source,
    out: Annotated[Path, argument("OUT", "Folder to create.")],
    *,
    features: FeatureConfig,
    manifest: ManifestConfig,
    shards: ShardConfig,
    augment: AugmentConfig,
    engine_config: EngineConfig,
    engine: Annotated[
        Literal["local", "spark", "raydp"],
        option("Engine: this machine's processes, Spark, or Spark on Ray.", CLUSTER),
    ] = "spark",
    augment_copies: Annotated[
        int, option("Number of augmented copies of each training clip (stft, logmel).", AUGMENTATION)
    ] = 0,
    exclude: Annotated[
        str | None,
        option("CSV file of clips to leave out, as inspect --audit writes it.", INPUT, metavar="FILE"),
    ] = None,
    max_rejects: MaxRejects = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Decode recordings, compute their features and write them as TFRecord shards.

    Creates OUT with the shards, manifest.parquet, rejects.jsonl (unusable clips) and index.json.
    """
    from hybridspeech.commands.preprocess import preprocess

    with ProgressReporter() as report:
        result = preprocess(
            source,
            out,
            features=features,
            manifest=dataclasses.replace(manifest, seed=shards.seed),
            shards=shards,
            augment=augment,
            augment_copies=augment_copies,
            engine=engine,
            engine_config=engine_config,
            exclude=exclude,
            max_rejects=math.inf if max_rejects is None else max_rejects,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    splits = ", ".join(f"{count:,} {name}" for name, count in result.splits.items())
    return print_fields(
        {
            "shards": f"{result.num_shards} in {result.out}, {result.num_bytes / 1e6:,.1f} MB",
            "clips": f"{result.num_clips:,} ({splits})",
            "rejects": f"{result.num_rejects:,}" + (f" (see {result.out}/rejects.jsonl)" if result.num_rejects else ""),
            **({"cut": f"{result.cut_s:,.1f} s of {result.num_long:,} longer clips"} if result.num_long else {}),
            "time": f"{result.startup_s:.1f} s start, {result.work_s:.1f} s work, {result.clips_per_s:,.0f} clips/s",
            "digest": result.digest,
        }
    )


@app.command("inspect", cls=Command, short_help="Describe, verify and audit shards.")
@with_settings(SETTINGS)
def inspect_command(
    shards: Shards,
    *,
    verify: Annotated[
        bool, option("Compute the checksum of every shard; exit code 1 if one differs.", OUTPUT, "--verify")
    ] = False,
    plot: Annotated[Path | None, option("PNG file for spectrograms of some clips.", OUTPUT)] = None,
    audit: Annotated[
        Path | None,
        option("CSV file for faults of the clips (waveform shards), for preprocess --exclude.", OUTPUT, metavar="FILE"),
    ] = None,
    check_labels: Annotated[
        bool, option("Train networks that doubt labels, for --audit; takes minutes.", OUTPUT)
    ] = True,
    report: Report = None,
    audio: Audio = None,
    json: Json = False,
) -> None:
    """Show counts, settings, rejects and the digest of shards.

    With --audit, list duplicates, silence, clipping, words that are cut off, clips recorded at 8 kHz, and labels that
    cross-validated networks doubt.
    """
    from hybridspeech.commands.inspect import inspect

    with ProgressReporter() as progress:
        result = inspect(
            shards,
            verify=verify,
            plot=plot,
            report=report,
            audio=audio,
            audit=audit,
            check_labels=check_labels,
            on_progress=progress,
        )
    if json:
        print_json(result)
    else:
        for text in result.warnings:
            print_warning(text)
        print_table(*result.table())
        print_fields(result.facts())
    if result.problems:
        raise typer.Exit(1)
