"""The commands on shards: `preprocess` and `inspect`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import (
    BackgroundFrequency,
    BackgroundVolume,
    Conf,
    Gain,
    HopLength,
    Json,
    MaxRejects,
    NFft,
    NMels,
    Overwrite,
    RayAddress,
    Resume,
    Source,
    Speed,
    Split,
    Task,
    TimeShift,
    Verbose,
    pairs_of,
)
from hybridspeech.cli.terminal import ProgressReporter, print_fields, print_json, print_text
from hybridspeech.config import AugmentConfig, EngineConfig, FeatureConfig
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.shards.config import ShardConfig


@app.command(short_help="Recorded words to spectrogram shards.")
def preprocess(
    source: Source,
    out: Annotated[Path, typer.Argument(help="Folder to make: shards, index.json, manifest.parquet, rejects.jsonl.")],
    engine: Annotated[str, typer.Option(help="spark, raydp (Spark on Ray), or local (this process).")] = "spark",
    features: Annotated[
        str, typer.Option(help="stft (spectrogram in dB), logmel, or waveform (train computes them).")
    ] = "stft",
    n_fft: NFft = None,
    hop_length: HopLength = None,
    top_db: Annotated[float, typer.Option(help="Dynamic range in dB below each clip's loudest cell.")] = 80.0,
    n_mels: NMels = 64,
    fmin: Annotated[float, typer.Option(help="logmel: lowest frequency in Hz.")] = 20.0,
    fmax: Annotated[float, typer.Option(help="logmel: highest frequency in Hz.")] = 7600.0,
    sample_rate: Annotated[int, typer.Option(help="Hz; clips of other rates are resampled.")] = 16_000,
    clip_duration_ms: Annotated[
        int, typer.Option(help="Shorter clips are padded with silence, longer ones cut.")
    ] = 1000,
    kernel: Annotated[str, typer.Option(help="fast (float32), or reference (librosa).")] = "fast",
    split: Split = "auto",
    validation_percentage: Annotated[float, typer.Option(help="hash: share of the speakers.")] = 10.0,
    testing_percentage: Annotated[float, typer.Option(help="hash: share of the speakers.")] = 10.0,
    allow_speaker_overlap: Annotated[
        bool, typer.Option("--allow-speaker-overlap", help="Let a speaker be in two splits.")
    ] = False,
    task: Task = "all",
    unknown_percentage: Annotated[float, typer.Option(help="_unknown_: clips, of those of the chosen words.")] = 10.0,
    silence_percentage: Annotated[float, typer.Option(help="_silence_: clips, of those of the chosen words.")] = 10.0,
    augment_copies: Annotated[int, typer.Option(help="Varied copies of each training clip (stft, logmel).")] = 0,
    background_volume: BackgroundVolume = None,
    background_frequency: BackgroundFrequency = None,
    time_shift_ms: TimeShift = None,
    gain_db: Gain = None,
    speed_percent: Speed = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float16.  [default: float32; waveform: int16, PCM]")
    ] = None,
    compression: Annotated[str, typer.Option(help="none or gzip.")] = "none",
    shards: Annotated[
        int | None, typer.Option(help="Shards of each split.  [default: about 64 MiB each, at least 8]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the order of the clips.")] = 0,
    max_rejects: MaxRejects = None,
    master: Annotated[str | None, typer.Option(help="Spark master.  [default: local[*]]")] = None,
    conf: Conf = None,
    num_executors: Annotated[int | None, typer.Option(help="Spark executors.")] = None,
    executor_cores: Annotated[int | None, typer.Option(help="Cores of an executor (local: processes).")] = None,
    executor_memory: Annotated[str | None, typer.Option(help="Memory of an executor, e.g. 2g.")] = None,
    ray_address: RayAddress = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Decode recorded words, compute spectrograms and write TFRecord shards."""
    from hybridspeech.commands.preprocess import preprocess

    with ProgressReporter() as report:
        result = preprocess(
            source,
            out,
            features=FeatureConfig(
                kind=features,  # type: ignore[arg-type]
                n_fft=n_fft,  # type: ignore[arg-type]
                hop_length=hop_length,  # type: ignore[arg-type]
                top_db=top_db,
                n_mels=n_mels,
                fmin_hz=fmin,
                fmax_hz=fmax,
                sample_rate_hz=sample_rate,
                clip_duration_ms=clip_duration_ms,
                kernel=kernel,  # type: ignore[arg-type]
            ),
            manifest=ManifestConfig(
                split=split,  # type: ignore[arg-type]
                validation_percentage=validation_percentage,
                testing_percentage=testing_percentage,
                allow_speaker_overlap=allow_speaker_overlap,
                task=task,
                unknown_percentage=unknown_percentage,
                silence_percentage=silence_percentage,
                seed=seed,
            ),
            shards=ShardConfig(
                dtype=dtype,  # type: ignore[arg-type]
                compression=compression,  # type: ignore[arg-type]
                num_shards=shards,
                seed=seed,
            ),
            augment=AugmentConfig(
                background_volume=background_volume,  # type: ignore[arg-type]
                background_frequency=background_frequency,  # type: ignore[arg-type]
                time_shift_ms=time_shift_ms,  # type: ignore[arg-type]
                gain_db=gain_db,  # type: ignore[arg-type]
                speed_percent=speed_percent,  # type: ignore[arg-type]
            ),
            augment_copies=augment_copies,
            engine=engine,
            engine_config=EngineConfig(
                master=master,
                conf=pairs_of(conf),
                num_executors=num_executors,
                executor_cores=executor_cores,
                executor_memory=executor_memory,
                ray_address=ray_address,
                verbose=verbose,
            ),
            max_rejects=math.inf if max_rejects is None else max_rejects,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    return print_fields(
        {
            "shards": f"{result.num_shards} in {result.out}, {result.num_bytes / 1e6:,.1f} MB",
            "clips": f"{result.num_clips:,} ({', '.join(f'{count:,} {name}' for name, count in result.splits.items())})",
            "rejects": f"{result.num_rejects:,}" + (f" (see {result.out}/rejects.jsonl)" if result.num_rejects else ""),
            "time": f"{result.startup_s:.1f} s start, {result.work_s:.1f} s work, {result.clips_per_s:,.0f} clips/s",
            "digest": result.digest,
        }
    )


@app.command("inspect", short_help="What is in a folder of shards.")
def inspect_command(
    shards: Annotated[Path, typer.Argument(help="Folder that preprocess has written.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash every shard again; exit code 1 if one differs.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="PNG file to draw spectrograms into.")] = None,
    json: Json = False,
) -> None:
    """Counts, sizes, settings, rejects and digest of shards."""
    from hybridspeech.commands.inspect import inspect

    result = inspect(shards, verify=verify, plot=plot)
    if json:
        print_json(result)
    else:
        print_text(result.text())
    if result.problems:
        raise typer.Exit(1)
