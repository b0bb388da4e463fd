"""The command `run`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import (
    CheckpointSteps,
    Conf,
    Deterministic,
    HopLength,
    Json,
    MaxRejects,
    MaxRestarts,
    Model,
    NFft,
    NMels,
    NumWorkers,
    Overwrite,
    RayAddress,
    Resume,
    Source,
    Split,
    StartTimeout,
    Task,
    TfosMaster,
    TfosMemory,
    ThreadsPerWorker,
    TrainingSeed,
    Verbose,
    pairs_of,
)
from hybridspeech.cli.terminal import ProgressReporter, print_fields, print_json
from hybridspeech.cli.train import training_facts
from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.training.config import FitConfig


@app.command(short_help="Recorded words to a trained classifier, without shards on disk.")
def run(
    source: Source,
    run: Annotated[Path, typer.Argument(help="Run directory to make, on storage that every worker reaches.")],
    backend: Annotated[
        str, typer.Option(help="tfos (Spark feeds TensorFlowOnSpark) or ray (Spark on Ray feeds Ray Train).")
    ] = "tfos",
    memory_per_worker: Annotated[
        str, typer.Option(help="Records that each worker keeps in memory; the rest goes to a scratch file.")
    ] = "1g",
    features: Annotated[str, typer.Option(help="stft (spectrogram in dB) or logmel.")] = "stft",
    n_fft: NFft = None,
    hop_length: HopLength = None,
    n_mels: NMels = 64,
    split: Split = "auto",
    task: Task = "all",
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    shards: Annotated[
        int | None, typer.Option(help="Parts of each split that workers share.  [default: as many as preprocess makes]")
    ] = None,
    max_rejects: MaxRejects = None,
    num_workers: NumWorkers = 1,
    model: Model = None,
    epochs: Annotated[
        int | None, typer.Option(help="Times that every training clip is seen.  [default: as train]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step of each worker.  [default: as train]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest one.  [default: as train]")] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of cells left out in training.  [default: 0.2]")] = None,
    seed: TrainingSeed = 0,
    deterministic: Deterministic = False,
    checkpoint_steps: CheckpointSteps = None,
    threads_per_worker: ThreadsPerWorker = None,
    master: TfosMaster = None,
    conf: Conf = None,
    executor_memory: TfosMemory = ClusterConfig.executor_memory,
    ray_address: RayAddress = None,
    max_restarts: MaxRestarts = 0,
    start_timeout: StartTimeout = 300.0,
    stall_timeout: Annotated[
        float, typer.Option(help="Seconds that features or a worker may be without progress.")
    ] = 300.0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Preprocess on Spark and train on what it makes, in one program; the curve is that of preprocess and train."""
    from hybridspeech.commands.run import run as run_

    with ProgressReporter() as report:
        result = run_(
            source,
            run,
            features=FeatureConfig(
                kind=features,  # type: ignore[arg-type]
                n_fft=n_fft,  # type: ignore[arg-type]
                hop_length=hop_length,  # type: ignore[arg-type]
                n_mels=n_mels,
            ),
            manifest=ManifestConfig(split=split, task=task),  # type: ignore[arg-type]
            shards=ShardConfig(dtype=dtype, num_shards=shards),  # type: ignore[arg-type]
            model=ModelConfig(name=model, dropout=dropout),  # type: ignore[arg-type]
            fit=FitConfig(
                epochs=epochs,  # type: ignore[arg-type]
                batch_size=batch_size,  # type: ignore[arg-type]
                learning_rate=learning_rate,  # type: ignore[arg-type]
                seed=seed,
                deterministic=deterministic,
                checkpoint_steps=checkpoint_steps,  # type: ignore[arg-type]
            ),
            cluster=ClusterConfig(
                num_workers=num_workers,
                master=master,
                conf=pairs_of(conf),
                ray_address=ray_address,
                threads_per_worker=threads_per_worker,
                executor_memory=executor_memory,
                max_restarts=max_restarts,
                start_timeout_s=start_timeout,
                stall_timeout_s=stall_timeout,
                verbose=verbose,
            ),
            backend=backend,
            memory_per_worker=memory_per_worker,
            max_rejects=math.inf if max_rejects is None else max_rejects,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    return print_fields(
        {
            "run": result.run_dir,
            "clips": f"{result.num_clips:,} for training and validation, {result.num_rejects:,} rejected",
            "records": f"{result.memory_bytes / 1e6:,.0f} MB in memory, {result.spilled_bytes / 1e6:,.0f} MB in scratch files",
            **training_facts(result),
        }
    )
